"""Copies events under their customers' IDs, where journeys remember and the inputs are not keyed so.

Takes the place of run/process for the inputs; that takes the copies. A position is done once the broker has its copy:
its ledger says `rekeyed`, and what becomes of the event is told of the copy. What is no event, or none that any journey
asks for, is settled here. Delivery is at least once: after a crash a record may be copied twice, and the second copy
is told by its origin (run/process).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core import rekey
from pipeline.model import Event, FailureClass, Flight, LedgerReason, Trace, Undecodable
from pipeline.run.reading import position, unread

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.core.offsets import Tracker
    from pipeline.model import Plan, Record, SchemaRef
    from pipeline.ports import Producer, Unknown
    from pipeline.run.misses import Misses
    from pipeline.run.reading import Foretell, Reading
    from pipeline.run.settle import Settlement

TOO_LARGE: Final = "too_large_to_copy"
_UNTRACED: Final = Trace("", "", sampled=False)  # spans begin where the copy is taken up


class Rekey:
    """Of one worker. `record` never waits and never raises but for a bug of ours; see Process.record."""

    def __init__(
        self, topic: str, reading: Reading, settlement: Settlement, producer: Producer, misses: Misses
    ) -> None:
        """`topic` is where copies go; `reading` and `misses` are those of process."""
        self._topic = topic
        self._reading = reading
        self._settlement = settlement
        self._producer = producer
        self._misses = misses

    def taking(self, role: str) -> tuple[Callable[[Record, Tracker, int], tuple[str, SchemaRef] | None], Foretell]:
        """Return what takes up records of the inputs, and what foretells what comes of it."""
        assert role == "input"
        return self.record, self.foretell

    def record(self, record: Record, tracker: Tracker, now_ns: int) -> tuple[str, SchemaRef] | None:
        """Copy one input record, or settle it for what it is."""
        settlement = self._settlement
        if record.value is None:
            settlement.empty(tracker, record.offset, LedgerReason.TOMBSTONE)
            return None
        read = self._reading.read(record)
        if isinstance(read, tuple):
            plan, event, _ = read
            if self._asked_for(record, plan, event):
                self._copy(record, tracker, event, now_ns)
            else:
                settlement.empty(tracker, record.offset, LedgerReason.NO_JOURNEY)
        elif isinstance(read, LedgerReason):
            settlement.empty(tracker, record.offset, read)
        elif isinstance(read, Undecodable):
            settlement.undecodable(unread(record, tracker, now_ns), FailureClass.UNDECODABLE, read.detail)
        else:
            return record.topic, read
        return None

    def foretell(self, record: Record, _now_ns: int) -> FailureClass | tuple[str, SchemaRef] | None:
        """See Process: what comes of its runs is foretold of the copy."""
        read = self._reading.read(record) if record.value is not None else None
        if isinstance(read, (int, bytes)):
            return record.topic, read
        return FailureClass.UNDECODABLE if isinstance(read, Undecodable) else None

    def _asked_for(self, record: Record, plan: Plan, event: Event) -> bool:
        """Whether a journey is started by such an event, or waits for it."""
        if event.type in plan.routes or event.type in plan.signs:
            return True
        self._misses.no_journey(record, event.type, event.id, plan.routes)
        return False

    def _copy(self, record: Record, tracker: Tracker, event: Event, now_ns: int) -> None:
        settlement = self._settlement
        flight = Flight(record, tracker, position(record), event, _UNTRACED, now_ns, ledger=LedgerReason.REKEYED)
        acked = settlement.write(flight)
        key = event.customer_id.encode()
        if self._producer.produce(self._topic, key, record.value, rekey.headers(record), acked):
            settlement.opened(flight, 1)
        else:
            settlement.undecodable(flight, FailureClass.CONFIG, TOO_LARGE)

    # ------------------------------------------------------------------------------- what an intake asks for besides

    def learn(self, topic: str, ref: SchemaRef, schema: object | Unknown) -> None:
        """See Process."""
        self._reading.learn(topic, ref, schema)

    def each_minute(self) -> None:
        """Do nothing: process looks after what is shared."""

    def assigned(self, topic: str, partition: int) -> None:
        """Do nothing: what is remembered is kept by partition of the copies."""

    def gone(self, topic: str, partition: int) -> None:
        """See `assigned`."""

    def forget(self, trackers: object, flights: object) -> None:
        """Do nothing: a record that is copied twice is told by its copies."""

    async def read(self, wanted: object) -> None:
        """Never asked for: nothing of what is remembered is needed here."""
        raise AssertionError(wanted)

    def passed_over(self, record: Record) -> None:
        """Do nothing: of inputs it is enough not to take them up again."""
