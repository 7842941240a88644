"""A broker in memory: topics as logs, and sources that read from committed offsets.

The contract of the real one as far as `run/` relies on it: what was appended stays, offsets grow by one, metadata goes
with a commit, a paused partition is fetched again from after the last record that was posted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.core.progress import CHARS_MAX, identity
from pipeline.model import Record
from pipeline.ports import Assigned, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.ports import Clock, Notice

ACK_S: Final = 0.002
"""How long an append takes to be acknowledged."""
FETCH_S: Final = 0.001
"""How long a record takes from being appended to being posted."""
FETCH_RECORDS_MAX: Final = 500

Place = tuple[str, int]


class Log:
    """One partition: its records from offset `first` on; what was before is forgotten. None is a gap.

    `last` is the offset after its last record.
    """

    __slots__ = ("first", "last", "records")

    def __init__(self) -> None:
        self.first = 0
        self.last = 0
        self.records: list[Record | None] = []

    @property
    def end(self) -> int:
        """The offset the next record gets."""
        return self.first + len(self.records)

    def after(self, offset: int, most: int | None = None) -> list[Record]:
        """Return the records from an offset on, at most so many."""
        at = max(offset - self.first, 0)
        found: list[Record] = []
        while not found and at < len(self.records):
            part = self.records[at : None if most is None else at + most]
            found = [each for each in part if each is not None]
            at += len(part)
        return found

    def forget(self, before: int) -> None:
        """Drop the records before an offset, as retention does."""
        gone = min(max(before - self.first, 0), len(self.records))
        del self.records[:gone]
        self.first += gone


class StageBroker:
    """Owner of the logs and of what groups committed. All on one loop."""

    def __init__(self, clock: Clock, partitions: Mapping[str, int] | None = None) -> None:
        """`partitions` by topic; one for any other. Topics appear on first use."""
        self.logs: dict[Place, Log] = defaultdict(Log)
        self.committed: dict[tuple[str, str, int], tuple[int, str]] = {}
        self.changed = asyncio.Event()
        """Set whenever a record was acknowledged."""
        self.clock = clock
        self._partitions = dict(partitions or {})
        self._readers: list[StageSource] = []
        self._loop = asyncio.get_running_loop()
        self.told: list[Callable[[Record], None]] = []
        """Who hears of each record that is appended, at once."""
        self.committing: Callable[[str, Place, int], None] | None = None
        """Hears of each commit: group, partition, offset."""

    def partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic."""
        return self._partitions.get(topic, 1)

    def append(
        self, topic: str, partition: int, key: bytes | None, content: bytes | None, headers: Iterable[tuple[str, bytes]]
    ) -> Record:
        """Append one record, stamped now, and have it fetched."""
        log = self.logs[topic, partition]
        record = Record(topic, partition, log.end, key, content, tuple(headers), self.clock() // 1_000_000)
        log.records.append(record)
        log.last = log.end
        for told in self.told:
            told(record)
        for reader in self._readers:
            if (topic, partition) in reader.positions:
                self._loop.call_later(FETCH_S, reader.fetch, (topic, partition))
        return record

    def skip(self, topic: str, partition: int) -> None:
        """Use an offset up for no record, as a transaction's marker does, or compaction."""
        self.logs[topic, partition].records.append(None)

    def commit(self, group: str, place: Place, offset: int, metadata: str) -> None:
        """Note what a group committed."""
        self.committed[group, *place] = (offset, metadata)
        if self.committing is not None:
            self.committing(group, place, offset)

    def of(self, topic: str) -> list[Record]:
        """Return all records of a topic, by partition."""
        return [each for partition in range(self.partitions(topic)) for each in self.logs[topic, partition].after(0)]

    def forget_committed(self, *whole: str) -> None:
        """Drop what groups have committed, and all records of the topics in `whole`: they were counted."""
        for topic, partition in tuple(self.logs):
            log = self.logs[topic, partition]
            if topic in whole:
                log.forget(log.end)
        for (_, topic, partition), (offset, _) in self.committed.items():
            self.logs[topic, partition].forget(offset)

    def join(self, reader: StageSource) -> None:
        """Let a source hear of what is appended."""
        self._readers.append(reader)

    def leave(self, reader: StageSource) -> None:
        """Forget a source."""
        if reader in self._readers:
            self._readers.remove(reader)


class Members(Protocol):
    """Who shares the partitions of a group out among its sources."""

    def join(self, source: StageSource) -> None:
        """Let a source have its share from now on."""

    def leave(self, source: StageSource) -> None:
        """Share out what it had; it is not told any more."""


class StageSource:
    """A consumer: of all partitions of its topics, or of those its group gives it. Implements ports.Source."""

    def __init__(
        self, broker: StageBroker, group: str, role: str, topics: Sequence[str], members: Members | None = None
    ) -> None:
        self.role = role
        self.refused: list[tuple[str, int]] = []
        """Commits of partitions that it had given up or lost by then: there must be none."""
        self._members = members
        self.topics = tuple(topics)
        self.metadata_chars = CHARS_MAX
        self.positions: dict[Place, int] = {}
        self._broker = broker
        self._group = group
        self._paused: set[Place] = set()
        self._letting_go: set[Place] = set()
        self.commit_s: Callable[[], float] = lambda: 0.0
        """How long the next commit takes, with the errors that are answered before, and asking again."""
        self._asked: dict[Place, tuple[int, str]] = {}  # commits under way, the latest of each partition
        self._inbox: Callable[[Notice], None] | None = None

    def start(self, inbox: Callable[[Notice], None]) -> None:
        """See ports.Source."""
        self._inbox = inbox
        self._broker.join(self)
        if self._members is not None:
            self._members.join(self)
            return
        self.assign([(topic, each) for topic in self.topics for each in range(self._broker.partitions(topic))])

    def assign(self, places: Iterable[Place]) -> None:
        """Take partitions over from where the group committed, else from their beginning."""
        assert self._inbox is not None
        new = []
        stored = {}
        for topic, partition in places:
            offset, metadata = self._broker.committed.get((self._group, topic, partition), (0, ""))
            self.positions[topic, partition] = offset
            new.append((topic, partition, offset))
            end = self._broker.logs[topic, partition].end
            stored[topic, partition] = (identity("stage", topic, self._group, partition), metadata, end)
        self._inbox(Assigned(tuple(new), stored))
        for place in stored:
            self.fetch(place)

    def revoke(self, places: Sequence[Place], done: Callable[[], None], *, lost: bool = False) -> None:
        """Take partitions away: `done` is called once the worker let go, at once if they are lost."""
        assert self._inbox is not None
        held = tuple(place for place in places if place in self.positions)
        for place in held:
            self._paused.discard(place)
            del self.positions[place]
        if not lost:
            self._letting_go.update(held)

        def gone() -> None:
            for place in held:
                self._commit(place)  # a client waits for its answer before it lets go
            self._letting_go.difference_update(held)
            done()

        if lost:
            for place in held:
                self._asked.pop(place, None)

        self._inbox(Revoked(held, lost, gone))

    def again(self, place: Place, records: int) -> None:
        """Post the last records of a partition once more, as a client does whose position was set back."""
        at = self.positions.get(place)
        if at is not None and self._inbox is not None and (
            repeated := self._broker.logs[place].after(max(at - records, 0), records)
        ):  # fmt: skip
            self._inbox([each for each in repeated if each.offset < at])

    def fetch(self, place: Place) -> None:
        """Post what is there of a partition after its position."""
        at = self.positions.get(place)
        if at is None or place in self._paused or self._inbox is None:
            return
        records = self._broker.logs[place].after(at, FETCH_RECORDS_MAX)
        if records:
            self.positions[place] = records[-1].offset + 1
            self._inbox(records)
            if len(records) == FETCH_RECORDS_MAX:
                asyncio.get_running_loop().call_later(FETCH_S, self.fetch, place)

    def taken(self, _records: int) -> None:
        """See ports.Source. What is posted is bounded by what is appended."""

    def commit(self, offsets: Sequence[tuple[str, int, int, str]]) -> None:
        """See ports.Source."""
        for topic, partition, offset, metadata in offsets:
            place = topic, partition
            if not self.owns(place):
                self.refused.append(place)
                continue
            self._asked[place] = (offset, metadata)
            wait_s = self.commit_s()
            if wait_s > 0.0:
                asyncio.get_running_loop().call_later(wait_s, self._commit, place)
            else:
                self._commit(place)

    def owns(self, place: Place) -> bool:
        """Whether a partition is its own, if only to finish what is under way."""
        return place in self.positions or place in self._letting_go

    def _commit(self, place: Place) -> None:
        asked = self._asked.pop(place, None)
        if asked is not None and self.owns(place):
            self._broker.commit(self._group, place, *asked)

    def pause(self, topic: str, partition: int) -> None:
        """See ports.Source."""
        if (topic, partition) in self.positions:
            self._paused.add((topic, partition))

    def resume(self, topic: str, partition: int) -> None:
        """See ports.Source."""
        self._paused.discard((topic, partition))
        asyncio.get_running_loop().call_soon(self.fetch, (topic, partition))

    def kill(self) -> None:
        """Die: nothing is posted and nothing committed any more, and the group goes on without it."""
        self._inbox = None
        self.positions.clear()
        self._letting_go.clear()
        self._asked.clear()
        self._broker.leave(self)
        if self._members is not None:
            self._members.leave(self)

    def partitions_total(self, topic: str) -> int:
        """See ports.Source."""
        return self._broker.partitions(topic)

    async def stop(self, *, commit: bool = True) -> None:  # noqa: ARG002 - as FakeSource
        """See ports.Source."""
        for place in tuple(self._asked):
            self._commit(place)
        self.positions.clear()
        self._broker.leave(self)
        if self._members is not None:
            self._members.leave(self)
        self._inbox = None
