"""Budgets and deadlines: what the clock ends, whatever a destination does.

A `decide` is answered in time or has its default: one timer for each delivery with a budget, from when it could start.
Wherever the delivery is when it fires (waiting for a seat, waiting to be tried again, under way), it ends there and
then; what its lane says of it later counts no more. Past a deadline no attempt begins; one under way goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.model import Delivery, FailureClass, Outcome, SkipReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.run.dispatch import Lane
    from pipeline.run.settle import Settlement

SPENT: Final = "budget_spent"
"""Detail of what ended so."""


class Budgets:
    """Of one worker. A timer is the loop's: a delivery ends at most a turn of the loop after its budget."""

    def __init__(self, lanes: Mapping[str, Lane], settlement: Settlement) -> None:
        self._lanes = lanes
        self._settlement = settlement

    def start(self, delivery: Delivery) -> None:
        """Let a delivery that could start now have its step's budget; before it is offered to its lane."""
        budget_ms = delivery.step.budget_ms
        # No retry is planned for later than this: so one that does not fit ends the delivery at once.
        delivery.expires_ms = min(delivery.expires_ms, self._settlement.clock() // 1_000_000 + budget_ms)
        delivery.budget = asyncio.get_running_loop().call_later(budget_ms / 1_000, self._spent, delivery)

    def _spent(self, delivery: Delivery) -> None:
        if delivery.run.flight.tracker.closed:
            return  # another worker's by now
        self._lanes[delivery.step.destination].withdraw(delivery, begun=True)
        self._settlement.finish(delivery, Outcome.DEAD, FailureClass.TIMEOUT, SPENT)
        delivery.over = True

    def until(self, delivery: Delivery, deadline_ms: int) -> bool:
        """Let no attempt of a delivery begin from `deadline_ms` (Unix ms) on; False if that is now."""
        left_ms = deadline_ms - self._settlement.clock() // 1_000_000
        if left_ms <= 0:
            return False
        delivery.deadline_ms = deadline_ms
        if delivery.step.batch is None and delivery.step.mark is None:  # of a batch, it is asked when that closes
            delivery.expiry = asyncio.get_running_loop().call_later(left_ms / 1_000, self._expired, delivery)
        return True

    def _expired(self, delivery: Delivery) -> None:
        if delivery.run.flight.tracker.closed:
            return
        if self._lanes[delivery.step.destination].withdraw(delivery, begun=False):
            self._settlement.skip(delivery, SkipReason.EXPIRED)
            delivery.over = True
