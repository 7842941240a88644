"""Commits: what core/offsets allows, once the broker has what tells of it.

A commit is made in two steps: the ledger (which positions were covered, which had no delivery, and why) is written and
acked first, then the source is asked to commit the watermark, and with it what is finished above. So every committed
position can be accounted for, and so can everything the metadata calls finished.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.core import outcome, progress
from pipeline.core.offsets import UNBOUNDED, UNKNOWN, Tracker
from pipeline.errors import Bug

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeline.ports import Assigned, Clock, Producer, Source, Telemetry

LEDGER_RANGES: Final = 5_000
"""Ranges in one ledger record: under 200 KiB."""


class Commits:
    """Of one intake. `ledger_topic` None: positions of this role need no ledger. All calls on the loop."""

    def __init__(
        self, source: Source, producer: Producer, telemetry: Telemetry, clock: Clock, ledger_topic: str | None,
        make: type[Tracker] = Tracker,
    ) -> None:  # fmt: skip
        """`make` is the kind of tracker this role needs."""
        self._make = make
        self._source = source
        self._producer = producer
        self._telemetry = telemetry
        self._clock = clock
        self._ledger_topic = ledger_topic
        self._halted = False
        self._pieces: dict[Tracker, deque[_Piece]] = {}  # of each tracker, oldest first, until they are acked

    def trackers(self, assigned: Assigned) -> Iterable[Tracker]:
        """Make a tracker for each assigned partition; it knows what the last commit called finished."""
        for topic, partition, start in assigned.partitions:
            place, metadata, end = assigned.stored.get((topic, partition), (b"", "", UNKNOWN))
            restored = progress.decode(place, start, metadata) if place else ()
            if isinstance(restored, tuple):
                restored = progress.within(restored, end)
            ignored = ""
            if isinstance(restored, progress.Ignored):
                ignored = restored.reason
                restored = ()
                self._telemetry.log("warning", "progress_ignored", topic=topic, partition=partition, reason=ignored)
            elif restored:
                self._telemetry.log(
                    "info", "progress_restored", topic=topic, partition=partition,
                    positions=sum(end - first for first, end in restored),
                )  # fmt: skip
            tracker = self._make(topic, partition, start, place, restored)
            if ignored == "truncated":  # the next commit overwrites it, before the log is as long again
                tracker.stored = (metadata,)
            yield tracker

    def crowded(self, tracker: Tracker) -> bool:
        """Whether the partition must wait, or what is finished could become too long to be stored."""
        payload_bytes = progress.payload_bytes(self._source.metadata_chars)
        if payload_bytes <= 0:  # the broker takes no metadata worth writing
            tracker.room_upto = UNBOUNDED
            return False
        worst_bytes = progress.worst_bytes(tracker.watermark(), tracker.finished(), tracker.top())
        return tracker.crowded(payload_bytes - worst_bytes)

    def commit(self, tracker: Tracker) -> None:
        """Ask for a commit if anything is settled since the last one. O(open positions), O(1) if nothing is."""
        upto = tracker.watermark()
        chars_max = self._source.metadata_chars
        state = (upto, tracker.next, tracker.open(), chars_max)
        if upto == UNKNOWN or tracker.stored[1:] == state:
            return
        metadata = ""
        if tracker.place:
            metadata = progress.encode(tracker.place, upto, tracker.finished(), chars_max)
        unchanged = upto == tracker.committed and metadata == (tracker.stored[0] if tracker.stored else "")
        tracker.stored = (metadata, *state)
        if unchanged:
            return
        then = partial(self._commit_now, tracker, upto, metadata)
        first, tracker.committed = tracker.committed, upto
        empty = tracker.ledger()
        if self._ledger_topic is None or (upto == first and not empty and not tracker.unacked):
            then()
            return
        # One key, so one partition: the ack of the last piece comes after those of all before it.
        while len(empty) > LEDGER_RANGES:
            piece, empty = empty[:LEDGER_RANGES], empty[LEDGER_RANGES:]
            covered = max(min(piece[-1][1] + 1, upto), first)
            self._write_ledger(tracker, first, covered, piece, _nothing)
            first = covered
        self._write_ledger(tracker, first, upto, empty, then)

    def _write_ledger(
        self, tracker: Tracker, first: int, upto: int, empty: Sequence[tuple[int, int, str]], then: Callable[[], None]
    ) -> None:
        assert self._ledger_topic is not None
        key = f"{tracker.topic}/{tracker.partition}".encode()
        content = outcome.encode_ledger(
            tracker.topic, tracker.partition, first, upto, empty, self._clock() // 1_000_000
        )

        pieces = self._pieces.setdefault(tracker, deque())
        piece = _Piece(then)
        pieces.append(piece)
        tracker.unacked += 1
        acked = partial(self._acked, tracker, piece)
        if not self._producer.produce(self._ledger_topic, key, content, [], acked):
            raise Bug("a ledger does not fit the outcomes topic")

    def _acked(self, tracker: Tracker, piece: _Piece, refused: object, record: object) -> None:
        if refused is not None:
            self._producer.refused(refused, record, partial(self._acked, tracker, piece))
            return
        piece.acked = True
        # A ledger that was refused is acked after younger ones: nothing is committed that an older one tells of.
        pieces = self._pieces[tracker]
        while pieces and pieces[0].acked:
            tracker.unacked -= 1
            pieces.popleft().then()
        if not pieces:
            del self._pieces[tracker]

    def _commit_now(self, tracker: Tracker, upto: int, metadata: str) -> None:
        tracker.acked = max(tracker.acked, upto)
        if not tracker.closed and not self._halted:
            self._source.commit([(tracker.topic, tracker.partition, upto, metadata)])

    def halt(self) -> None:
        """Commit nothing more, whatever is acked."""
        self._halted = True


class _Piece:
    """A ledger record that was written, and what is to be done once it and all before it are acked."""

    __slots__ = ("acked", "then")

    def __init__(self, then: Callable[[], None]) -> None:
        self.acked = False
        self.then = then


def _nothing() -> None:
    """Answer an ack that nothing waits for by itself."""
