"""Decides which offset of one partition may be committed, from what was received and what is settled.

Deliveries finish out of order; the watermark is the lowest offset still open, and what is finished above it travels in
the commit's metadata (core/progress). Only offsets actually received count, so a gap (compaction, transaction marker)
never stalls the watermark, and metadata never moves it: a gap is known to be one as soon as the next record arrives.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.model import LedgerReason

if TYPE_CHECKING:
    from collections.abc import Iterable

UNKNOWN = -1
Run = tuple[int, int]
"""Finished positions: first, and next after the last."""
UNBOUNDED = 1 << 63
"""`room_upto` where nothing above the watermark is stored, so that nothing can grow too long."""
GAP_BYTES = 12
"""The most a gap adds to the packed form, however long it is."""


class Tracker:
    """One partition during one assignment. Owner: run/consume; `settled` is called by run/settle.

    A new assignment gets a new tracker. Once `closed` is set (partition revoked or lost), late completions of the old
    assignment change nothing that could be committed: that is the epoch fence.
    """

    ordered = False
    """Whether its positions are entries of a journey's log (run/turns)."""

    __slots__ = (
        "_empty",
        "_open",
        "_restored",
        "acked",
        "closed",
        "committed",
        "in_flight",
        "leaving",
        "next",
        "partition",
        "place",
        "room_upto",
        "stored",
        "topic",
        "unacked",
    )

    def __init__(
        self, topic: str, partition: int, start: int, place: bytes = b"", restored: Iterable[Run] = ()
    ) -> None:
        """`restored`: what the commit this starts from says is finished already; `place` b"": nothing can be stored."""
        self.topic = topic
        self.partition = partition
        self.place = place
        self.closed = False
        self.leaving = False
        """Set while the partition is being given up: nothing of it is tried again in this process."""
        self.next = start
        """The offset after the highest one received; UNKNOWN until a record or a start position says it."""
        self.committed = start
        """The next offset whose ledger was last written, to be committed once that is acked."""
        self.acked = start
        """The next offset last asked to be committed at the source."""
        self.in_flight = 0
        """Positions taken up by process and not yet settled; kept by run/settle."""
        self.unacked = 0
        """Ledgers written and not acked; kept by run/commits."""
        self.stored: tuple[object, ...] = ()
        """What was last asked to be committed, and what it was made of; kept by run/commits."""
        self.room_upto = start if place else UNBOUNDED
        """From this `next` on, ask `crowded` before a record is received."""
        self._restored = deque(restored)
        self._open: dict[int, None] = {}
        self._empty: list[tuple[int, int, LedgerReason]] = []

    def received(self, offset: int) -> bool:
        """Take note of a record, in the order consumed. False: it is finished or was received, and must be dropped."""
        expected = self.next
        if offset != expected:
            if expected == UNKNOWN:
                self.committed = self.acked = offset
            elif offset < expected:
                return False
            else:
                self._gap(expected, offset)
        self.next = offset + 1
        if self._restored and self._finished_before(offset):
            return False
        self._open[offset] = None
        return True

    def settled(self, offset: int, empty: LedgerReason | None = None) -> None:
        """Close an open offset; `empty` says why it had no delivery. Closing twice is our bug."""
        del self._open[offset]
        if empty is not None:
            self._note(offset, offset, empty)

    def watermark(self) -> int:
        """Return the next offset that may be committed; UNKNOWN before the first record. O(records settled since)."""
        for offset in self._open:
            return offset
        return self.next

    def open(self) -> int:
        """Return how many offsets are received and not settled."""
        return len(self._open)

    def has(self, offset: int) -> bool:
        """Whether an offset is received and not settled."""
        return offset in self._open

    def finished(self) -> list[Run]:
        """Return what is finished at or above the watermark: ascending runs that do not touch. O(open and restored).

        Gaps and positions without a delivery are among them: commit this only once their ledger is acked.
        """
        after = self.next
        opened = list(self._open)
        runs = [(low + 1, high) for low, high in pairwise(opened) if high - low != 1]
        if opened and opened[-1] + 1 != after:
            runs.append((opened[-1] + 1, after))
        for first, end in self._restored:  # not fetched again yet, so that a second crash does not forget it
            if end <= after:
                continue
            if runs and runs[-1][1] >= first:
                runs[-1] = (runs[-1][0], end)
            else:
                runs.append((max(first, after), end))
        return runs

    def top(self) -> int:
        """Return the offset after the highest one received or finished."""
        return max(self.next, self._restored[-1][1]) if self._restored else self.next

    def crowded(self, room_bytes: int) -> bool:
        """Whether one more record could make what is finished too long to be stored.

        `room_bytes` is what that could still grow by, were all below `top` to finish in the worst order. Ask it once
        `next` has come to `room_upto`, which this moves on. What is below `top` fits already.
        """
        self.room_upto = self.top() + 8 * max(room_bytes - GAP_BYTES, 0)
        return self.next >= self.room_upto

    def ledger(self) -> tuple[tuple[int, int, str], ...]:
        """Take out all empty ranges: ascending `(first, last inclusive, reason)`, adjacent ones merged.

        Those above the watermark too: they are among what is `finished`. What was taken is not handed out again.
        """
        entries, self._empty = sorted(self._empty), []
        merged: list[tuple[int, int, str]] = []
        for first, last, reason in entries:
            if merged and merged[-1][1] + 1 == first and merged[-1][2] == reason:
                merged[-1] = (merged[-1][0], last, reason)
            else:
                merged.append((first, last, reason))
        return tuple(merged)

    def _finished_before(self, offset: int) -> bool:
        restored = self._restored
        while restored and restored[0][1] <= offset:
            restored.popleft()
        return bool(restored) and restored[0][0] <= offset

    def _gap(self, first: int, after: int) -> None:
        """Note a gap, without what is finished already and was perhaps deleted meanwhile: that is accounted for."""
        self.room_upto += max(after - first - 8 * GAP_BYTES, 0)
        at = first
        for begin, end in self._restored:
            if begin >= after:
                break
            if begin > at:
                self._note(at, begin - 1, LedgerReason.GAP)
            at = max(at, end)
        if at < after:
            self._note(at, after - 1, LedgerReason.GAP)

    def _note(self, first: int, last: int, reason: LedgerReason) -> None:
        entries = self._empty
        if entries and entries[-1][1] + 1 == first and entries[-1][2] is reason:
            entries[-1] = (entries[-1][0], last, reason)
        else:
            entries.append((first, last, reason))
