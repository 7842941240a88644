"""What must be known of a log's partition before anything of it is started: what is over, and how far runs had got.

The log of a journey that keeps order has one record for each event that starts it, in the order the input had it, in
the partition of its customer. A run that has to wait writes its state behind, as a note on its record: the record
stays the customer's place in the queue until the run is over, which another note says.
"""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.core import runstate
from pipeline.model import ORIGINAL_KEY, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOTE_HEADER: Final = "hookline-note"
"""Of a note: the offset of the record whose run it is about, in the same partition."""
_OFFSET_DIGITS_MAX: Final = 19


class LogReader(Protocol):
    """Reads one partition of a topic of our own, in no group."""

    async def read(self, topic: str, partition: int, first: int, note: Callable[[Record], None]) -> None:
        """Call `note` with each record from an offset to the end as of now, in order, in any thread but one at a time.

        What was deleted is passed over. Waits as long as reading takes; raises BrokerError.
        """


def noted(record: Record) -> int | None:
    """Return the offset of the record that this one is a note on; None if it is an entry. Never raises."""
    header = record.header(NOTE_HEADER)
    if header is None or not header.isdigit() or len(header) > _OFFSET_DIGITS_MAX:
        return None
    return int(header)


def keyed_as_input(record: Record) -> Record:
    """Return an entry with the key its input record had."""
    headers = tuple(each for each in record.headers if each[0] != ORIGINAL_KEY)
    return Record(
        record.topic, record.partition, record.offset, record.header(ORIGINAL_KEY), record.value, headers,
        record.timestamp_ms,
    )  # fmt: skip


def in_state(record: Record, state: bytes, written_ms: int) -> Record:
    """Return an entry in a newer state, written at `written_ms` (Unix ms)."""
    kept = (each for each in record.headers if each[0] != runstate.STATE_HEADER)
    headers = (*kept, (runstate.STATE_HEADER, state))
    return Record(record.topic, record.partition, record.offset, record.key, record.value, headers, written_ms)


class Past:
    """What must be known of a partition before anything of it is started. Owner: whoever takes it over.

    Told every record from some way before the committed offset to the end, in order. Of those before that offset it
    keeps what their copies are told by (at most `identities_max`), of the others the newest note on each open record.
    """

    def __init__(self, start: int, finished: Sequence[tuple[int, int]], identities_max: int) -> None:
        """`start` is the committed offset: what is before it is over, and so are the runs `finished` above it."""
        self.seen: dict[int, int] = {}
        """Identities of entries that are over, and the offset of each."""
        self.notes: dict[int, tuple[int, bytes, int]] = {}
        """By offset of the record: hop, state and time (Unix ms) of the newest note on it.

        Of a state that only a later release can read the hop is the lowest it can be: one more than was known before.
        """
        self._unread: set[int] = set()  # on which the newest note is of a later release
        self._overs: set[int] = set()  # open as of the last commit, and over all the same
        self._start = start
        self._finished = finished
        self._identities_max = identities_max

    def note(self, record: Record) -> None:
        """Take note of one record."""
        about = noted(record)
        if about is None:
            if record.offset < self._start:
                self.see(record)
            return
        header = record.header(runstate.STATE_HEADER)
        if self._committed(about):
            return
        if header is None:
            self._overs.add(about)
            return
        state = runstate.decode(header)
        known = self.notes.get(about)
        if isinstance(state, runstate.Unreadable):
            # What ended since the note before it is known to later releases only: it is theirs to go on with.
            if state.newer:
                hop = known[0] if known is not None else runstate.FIRST_HOP
                self.notes[about] = (hop + 1, header, record.timestamp_ms)
                self._unread.add(about)
            return
        # A worker that lost the partition may have written behind the one that has it.
        if known is None or state.hop >= known[0] + (about in self._unread):
            self.notes[about] = (state.hop, header, record.timestamp_ms)
            self._unread.discard(about)

    def see(self, record: Record) -> bool:
        """Take note of an entry; say whether it is a copy of one before it."""
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        if not isinstance(state, runstate.RunState):
            return False
        name = runstate.entry_identity(state)
        first = self.seen.setdefault(name, record.offset)
        if first != record.offset:
            return first < record.offset
        if len(self.seen) > self._identities_max:
            del self.seen[next(iter(self.seen))]
        return False

    def over(self, offset: int) -> bool:
        """Whether the run of an open record is over: said in the log, and in no commit."""
        return offset in self._overs

    def _committed(self, offset: int) -> bool:
        at = bisect(self._finished, (offset, offset + 1)) - 1
        between = self._finished[at : at + 2] if at >= 0 else self._finished[:1]
        return offset < self._start or any(first <= offset < end for first, end in between)

    def newest(self, record: Record) -> Record:
        """Return an entry as it is taken up first here: in the state of the newest note on it."""
        entry = keyed_as_input(record)
        note = self.notes.pop(record.offset, None)
        self._unread.discard(record.offset)
        return entry if note is None else in_state(entry, *note[1:])
