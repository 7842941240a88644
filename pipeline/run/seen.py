"""What a worker has seen, to tell a second record of the same: event IDs, copies of events, hops of runs.

What is remembered of a record counts as long as this worker answers for it: it is open here, or it was settled here.
Of what is open when its partition goes nothing is remembered any more. Another worker takes it up, and may remember a
second record of the same that it lost, and that comes here: each would take the other's for the first, and both be
dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pipeline.core import gates, rekey, runstate
from pipeline.run.reading import position

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.core.offsets import Tracker
    from pipeline.model import Flight, Record

HOPS_REMEMBERED: Final = 20_000
"""Hand-overs remembered per worker, to drop the copies a crash between two writes leaves behind."""
ORIGINS_REMEMBERED: Final = 50_000
"""Copies of events whose origins are remembered, to tell second ones: about 15 MB in a worker that takes copies."""


class Seen:
    """Of one worker. Nothing here waits or raises."""

    def __init__(self, copies: str) -> None:
        """`copies` is the topic of events under their customers' IDs, "" if there is none."""
        self._copies = copies
        self._ids = gates.Window()
        self._origins = gates.Window(ORIGINS_REMEMBERED)
        self._hops: OrderedDict[int, tuple[str, int, int]] = OrderedDict()
        self.event = self._ids.repeats
        """Whether another record than the one at a place brought an event's ID."""

    def copy(self, original: Record, taken: Record) -> bool:
        """Whether another copy of the same record came before; `taken` is this one as it is taken up."""
        return self._origins.repeats(rekey.name(original), position(taken))

    def hop(self, state: runstate.RunState, record: Record) -> bool:
        """Whether another record brought this hop. The same record again does not repeat: its partition was away."""
        hop = runstate.identity(state)
        place = record.topic, record.partition, record.offset
        known = self._hops.get(hop)
        if known is not None:
            return known != place
        self._hops[hop] = place
        if len(self._hops) > HOPS_REMEMBERED:
            self._hops.popitem(last=False)
        return False

    def forget(self, trackers: Iterable[Tracker], flights: Iterable[Flight]) -> None:
        """Forget what is open on partitions that go: their trackers, and the flights of what was taken up there."""
        ids, origins = [], []
        for flight in flights:
            record = flight.record
            if position(record) != flight.source:
                continue  # a run that came back: its event's own position was settled
            if flight.event is not None:
                ids.append((flight.event.id, flight.source))
            if record.topic == self._copies and (original := rekey.consumed(record)) is not None:
                origins.append((rekey.name(original), flight.source))
        self._ids.forget(ids)
        self._origins.forget(origins)
        gone = {(tracker.topic, tracker.partition): tracker for tracker in trackers}
        for hop, (topic, partition, offset) in tuple(self._hops.items()):
            tracker = gone.get((topic, partition))
            if tracker is not None and tracker.has(offset):
                del self._hops[hop]
