"""Keeps room under caps: for each delivery that the gates let through, from then until it ends or is handed over.

Owner of the places taken. Without them, two deliveries of one customer that are under way together would each find
the room that is there for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core import gates

if TYPE_CHECKING:
    from pipeline.core.offsets import Tracker
    from pipeline.model import Delivery, Gate, Known

UNDERWAY_MAX: Final = 20_000
"""Deliveries with caps under way in a worker, some 400 bytes each beside their own; one more waits."""


class Underway:
    """Of one worker. Nothing here waits or raises."""

    def __init__(self, most: int = UNDERWAY_MAX) -> None:
        """`most` is how many deliveries it can keep room for."""
        self._most = most
        self._of: dict[tuple[str, str, str], dict[str, Delivery]] = {}  # by customer, category and channel; by its ID
        self._kept = 0

    def __len__(self) -> int:
        """Return for how many deliveries room is kept."""
        return self._kept

    def enter(self, delivery: Delivery, known: Known, now_ms: int) -> Gate:
        """Keep room for a delivery that all other gates let pass, or return why it must wait or is skipped.

        One that has its place keeps it if there is room still, and gives it up if not.
        """
        key = _key(delivery)
        others = self._of.get(key, {})
        full = self._kept >= self._most and delivery.id not in others
        gate = gates.room(delivery, known, others, now_ms, full=full)
        if gate is not None:
            self.leave(delivery)
        elif not delivery.run.flight.tracker.closed:  # else nothing of it is sent here
            self._kept += delivery.id not in others
            self._of.setdefault(key, others)[delivery.id] = delivery
        return gate

    def leave(self, delivery: Delivery) -> None:
        """Give up the place of a delivery, if it has one: it ended, or comes back from a retry tier on some worker."""
        key = _key(delivery)
        others = self._of.get(key)
        if others is None or others.get(delivery.id) is not delivery:
            return
        del others[delivery.id]
        self._kept -= 1
        if not others:
            del self._of[key]

    def forget(self, tracker: Tracker) -> None:
        """Give up all places of a partition that is gone: what was under way there is another worker's by now."""
        gone = [each for others in self._of.values() for each in others.values() if each.run.flight.tracker is tracker]
        for each in gone:
            self.leave(each)


def _key(delivery: Delivery) -> tuple[str, str, str]:
    run = delivery.run
    event = run.flight.event
    assert event is not None
    return event.customer_id, run.route.category, delivery.step.reaches
