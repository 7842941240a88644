"""Asks the gates again for one lane, right before a request is written, about what waited since they were asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.model import Delivery, Hold, Outcome
from pipeline.run.asking import GATE_FRESH_NS
from pipeline.run.batch import Batch, Batching

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Gate
    from pipeline.ports import LaneStats, Settler
    from pipeline.run.backlog import Backlog
    from pipeline.run.health import Health


class Recheck:
    """Of one lane. Settles, through the lane's settler, what may not go any more or not now: no attempt is used."""

    def __init__(
        self,
        again: Callable[[Delivery, int], Gate] | None,
        backlog: Backlog,
        health: Health,
        settler: Settler,
        batching: Batching | None,
        stats: LaneStats,
    ) -> None:
        """`again` asks about a delivery at a time (Unix ns), and notes it in one it lets pass. None: nobody asks."""
        self._again = again
        self._backlog = backlog
        self._health = health
        self._settler = settler
        self._batching = batching
        self._stats = stats

    def passes(self, delivery: Delivery, now_ns: int, *, begun: bool) -> bool:
        """Whether its request may be written; if not, it is settled. `begun`: its attempt was counted already."""
        if self._again is None or now_ns - delivery.asked_ns <= GATE_FRESH_NS:
            return True
        attempts = delivery.attempts
        delivery.attempts -= begun
        if isinstance(delivery, Batch):
            assert self._batching is not None
            passes = self._batching.passes(delivery, now_ns)
        else:
            gate = self._again(delivery, now_ns)
            passes = gate is None
            if isinstance(gate, Hold):
                self._settler.later(delivery, gate.until_ms, gate.why, parked=False)
            elif gate is not None:
                self._settler.finish(delivery, Outcome.SKIPPED, gate, "")
        if passes:
            delivery.attempts = attempts
        else:
            self._stats.attempts -= begun
            self._backlog.retrying.discard(delivery)
            self._health.abandoned(delivery)
        return passes
