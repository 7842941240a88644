"""A log of a journey that keeps order, in memory, and a worker's Turns over it that a test drives by hand.

What is produced gets there once the test says so, in order, and is acknowledged then, or not.
"""

from __future__ import annotations

import asyncio

from pipeline.core import runstate
from pipeline.core.runstate import RunState, StepState
from pipeline.errors import BrokerError
from pipeline.model import ORIGINAL_KEY, Record
from pipeline.run.lines import TurnTracker
from pipeline.run.past import NOTE_HEADER, noted
from pipeline.run.turns import Turns
from pipeline.testing.fakes import FakeClock, FakeSource

TOPIC = "g.ordered.stage"
CALLS = {("stage", "crm"): "crm"}


def state(number: int, *, hop: int = 1, due_ms: int = 0, cls: str = "turn", parks: int = 0, step: str = "crm") -> bytes:
    """Return a run's state: of the event at this offset of the input."""
    steps = {step: StepState(hop - 1, due_ms, 0, cls, 0)}
    source = ("in", 0, number, 0)
    made = runstate.encode(
        RunState("stage", "h", f"e-{number}", source, 1, 0, hop, parks, due_ms, "a" * 32, False, "", steps)
    )
    assert made is not None
    return made


class Log:
    """One partition of the log, the producer that writes to it and the reader that looks back. Acks when told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records: list[Record] = []
        self.open: list[tuple] = []  # key, value, headers, and who waits for the ack
        self.refusals: list = []
        self.unreadable = 0

    def append(self, key: bytes | None, value: bytes | None, headers) -> Record:
        now_ms = self.clock() // 1_000_000
        record = Record(TOPIC, 0, len(self.records), key, value, tuple(headers), now_ms)
        self.records.append(record)
        return record

    def event(self, customer: str, number: int, **more) -> Record:
        """Append an event's entry, as routing does."""
        headers = ((runstate.STATE_HEADER, state(number, **more)), (ORIGINAL_KEY, b"k"))
        return self.append(customer.encode(), b"v", headers)

    def note(self, about: int, header: bytes = b"") -> Record:
        headers = [(NOTE_HEADER, str(about).encode())]
        return self.append(None, None, [(runstate.STATE_HEADER, header), *headers] if header else headers)

    def produce(self, topic, key, content, headers, acked, partition=-1) -> bool:
        assert (topic, partition) == (TOPIC, 0)
        self.open.append((key, content, headers, acked))
        return True

    def arrive(self, number: int) -> None:
        """Let the next ones get there, though nobody hears of it any more."""
        for key, content, headers, _ in self.open[:number]:
            self.append(key, content, headers)
        del self.open[:number]

    def ack(self, number: int | None = None) -> None:
        for _ in range(len(self.open) if number is None else min(number, len(self.open))):
            key, content, headers, acked = self.open.pop(0)
            self.append(key, content, headers)
            acked(None, None)

    def over(self) -> set[int]:
        """Return the offsets of the entries of which the log says that they are over."""
        notes = [each for each in self.records if each.header(runstate.STATE_HEADER) is None]
        return {offset for each in notes if (offset := noted(each)) is not None}

    def refused(self, why, _record, acked) -> None:
        self.refusals.append((why, acked))

    async def read(self, topic, partition, first, note) -> None:
        assert topic == TOPIC
        if self.unreadable:
            self.unreadable -= 1
            raise BrokerError("away")
        for record in self.records[first:] if partition == 0 else ():
            note(record)


class Owner:
    """A worker that owns the partition from an offset on."""

    def __init__(self, log: Log, start: int = 0, restored=(), *, lanes=None, room: int = 1_000) -> None:
        self.log = log
        self.source = FakeSource("ordered")
        self.lines: list = []
        self.errors: list = []
        self.room = room
        self.started: list[Record] = []
        self.batches: list[list[Record]] = []
        self.tracker = TurnTracker(TOPIC, 0, start, b"p", restored)
        self.turns = Turns(
            self.source, log, log, log.clock, self._start, lambda: self.room, lanes or {}, CALLS,
            lambda *args, **fields: self.lines.append((*args, fields)), self.errors.append,
        )  # fmt: skip
        self.turns.assigned(self.tracker)
        self._at = start

    async def fetch(self) -> None:
        """Take what is in the log, as run/consume does, and start whose turn it is."""
        fresh = []
        for record in self.log.records[self._at :]:
            if self.tracker.received(record.offset):
                fresh.append(record)
            else:
                self.turns.passed(record)
        self._at = len(self.log.records)
        self.turns.hold(fresh)
        await self.go()

    def _start(self, records: list[Record]) -> None:
        self.batches.append(records)
        self.started += records

    async def go(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        self.turns._fire()

    def offsets(self) -> list[int]:
        return [each.offset for each in self.started]

    def over(self, offset: int) -> None:
        self.tracker.settled(offset)

    def rest(self, offset: int, due_ms: int, header: bytes) -> None:
        self.tracker.rest(offset, header, due_ms)
        self.tracker.settled(offset)

    def end(self) -> None:
        self.tracker.closed = True
        self.turns.close()
