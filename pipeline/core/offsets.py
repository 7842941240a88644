"""Decides which offset of one partition may be committed, from what was received and what is settled.

Deliveries finish out of order; the watermark is the lowest offset still open. Only offsets actually received count, so
a gap (compaction, transaction marker) never stalls it: a gap is known to be one as soon as the next record arrives.
"""

from __future__ import annotations

from pipeline.model import LedgerReason

UNKNOWN = -1


class Tracker:
    """One partition during one assignment. Owner: run/consume; `settled` is called by run/settle.

    A new assignment gets a new tracker. Once `closed` is set (partition revoked or lost), late completions of the old
    assignment change nothing that could be committed: that is the epoch fence.
    """

    __slots__ = (
        "_empty",
        "_open",
        "acked",
        "closed",
        "committed",
        "in_flight",
        "leaving",
        "next",
        "partition",
        "topic",
    )

    def __init__(self, topic: str, partition: int, start: int) -> None:
        self.topic = topic
        self.partition = partition
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
        self._open: dict[int, None] = {}
        self._empty: list[tuple[int, int, LedgerReason]] = []

    def received(self, offset: int) -> bool:
        """Take note of a record, in the order consumed. False: it was received before and must be dropped."""
        expected = self.next
        if offset != expected:
            if expected == UNKNOWN:
                self.committed = self.acked = offset
            elif offset < expected:
                return False
            else:
                self._note(expected, offset - 1, LedgerReason.GAP)
        self.next = offset + 1
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

    def empty_ranges(self) -> int:
        """Return how many ranges without a delivery wait for the commit that covers them."""
        return len(self._empty)

    def ledger(self, upto: int) -> tuple[tuple[int, int, str], ...]:
        """Take out the empty ranges below `upto`: ascending `(first, last inclusive, reason)`, adjacent ones merged.

        What was taken is not handed out again: call it only for a commit that will be made.
        """
        below = sorted(entry for entry in self._empty if entry[0] < upto)
        self._empty = [entry for entry in self._empty if entry[0] >= upto]
        merged: list[tuple[int, int, str]] = []
        for first, last, reason in below:
            if merged and merged[-1][1] + 1 == first and merged[-1][2] == reason:
                merged[-1] = (merged[-1][0], last, reason)
            else:
                merged.append((first, last, reason))
        return tuple(merged)

    def _note(self, first: int, last: int, reason: LedgerReason) -> None:
        entries = self._empty
        if entries and entries[-1][1] + 1 == first and entries[-1][2] is reason:
            entries[-1] = (entries[-1][0], last, reason)
        else:
            entries.append((first, last, reason))
