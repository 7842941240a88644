"""One partition of a log as run/turns holds it: what is not over, by customer, and the tracker that keeps it open."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.core.offsets import Tracker
from pipeline.run.holder import header_bytes
from pipeline.run.past import Past

if TYPE_CHECKING:
    from pipeline.model import LedgerReason, Record
    from pipeline.run.waits import Wait

LOOK_BACK: Final = 20_000
"""Records before the committed offset in which copies of an event are looked for; so many are remembered, too."""


class Owner(Protocol):
    """Who is told what becomes of positions: run/turns."""

    def done(self, tracker: TurnTracker, offset: int) -> None:
        """Note that a run is over."""

    def rests(self, tracker: TurnTracker, offset: int, state: bytes, due_ms: int) -> None:
        """Note that a run has to wait."""


class TurnTracker(Tracker):
    """The tracker of a partition of a log: a position whose run has to wait stays open."""

    ordered = True

    __slots__ = ("rests", "turns")

    turns: Owner
    """Set by their owner."""
    rests: dict[int, tuple[bytes, int]]

    def rest(self, offset: int, state: bytes, due_ms: int) -> None:
        """Note that the run at an offset waits until `due_ms` (Unix ms), in a new state unless that is empty.

        It does so once everything that was written about it is acknowledged.
        """
        self.rests[offset] = state, due_ms

    def settled(self, offset: int, _empty: LedgerReason | None = None) -> None:
        """Close an offset once the log says that it is over, or let its run wait. A log has no ledger."""
        rest = self.rests.pop(offset, None)
        if rest is not None:
            self.turns.rests(self, offset, *rest)
        else:
            self.turns.done(self, offset)

    def close(self, offset: int) -> None:
        """Close an offset for good."""
        super().settled(offset)


class Entry:
    """One record of a log: whose it is, and the wait it is in, if it is the first of its customer."""

    __slots__ = ("customer", "log", "record", "size", "wait")

    def __init__(self, log: Log, record: Record, customer: bytes, size: int) -> None:
        self.log = log
        self.record = record
        self.customer = customer
        self.size = size
        self.wait: Wait[Entry] | None = None


class Log:
    """One partition. `lines`: by customer, what is not over, the first one under way or waiting."""

    __slots__ = (
        "bytes", "early", "finished", "gone", "lines", "number", "past", "paused", "start", "tracker", "under_way",
        "whole",
    )  # fmt: skip

    def __init__(self, tracker: TurnTracker) -> None:
        self.tracker = tracker
        self.start = max(tracker.next, 0)  # nothing was committed: from the beginning
        self.finished = tracker.finished()
        self.past = Past(self.start, self.finished, LOOK_BACK)
        self.whole = False
        self.early: deque[Record] = deque()  # fetched before the partition was looked back into
        self.lines: dict[bytes, deque[Entry]] = {}
        self.under_way: dict[int, Entry] = {}
        self.number = 0
        self.bytes = 0
        self.paused = False
        self.gone = False

    def let_go(self) -> None:
        """Drop what is held: entries know their log, and whoever still waits for an ack of one knows the entry."""
        self.early.clear()
        self.lines.clear()
        self.under_way.clear()


def weight(record: Record) -> int:
    """Return how many bytes a record that is held counts as."""
    objects = 300  # around them
    return len(record.value or b"") + len(record.key or b"") + header_bytes(record.headers) + objects
