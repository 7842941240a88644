"""Consumes one role's topics: a blocking poll thread that posts lists of records to the event loop and alone commits.

librdkafka's traps this module exists for: an exception out of a callback inside `consume()` drops what was gathered
while the position moves on, so callbacks catch everything and any exception out of `consume()` discards the consumer;
`pause` purges the prefetch, so short back-pressure just waits; both group protocols accept a commit by a non-owner, so
commits are filtered by what this consumer owns. The Python client aborts the process if a callback calls what serves
callbacks itself (`list_topics`, `poll`) and another one follows: here they call `committed` and `commit` only.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from pipeline.adapters.kafka.backlog import Backlog
from pipeline.adapters.kafka.grouped import grouped, refusal
from pipeline.adapters.kafka.message import as_record
from pipeline.adapters.kafka.requests import Requests
from pipeline.adapters.kafka.starts import Cuts, Starts
from pipeline.errors import BrokerError
from pipeline.ports import Assigned, Fatal, Notice, Revoked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.model import Record

BATCH_RECORDS: Final = 500
"""Records per post to the loop, at most."""
GATHER_S: Final = 0.002
"""How long a batch is gathered once its first record is there."""
POLL_S: Final = 0.05
"""How long the thread waits for a first record; a commit asked for waits no longer."""
SHORT_WAIT_S: Final = 1.0
"""Back-pressure up to this long just waits; after that the partitions are paused (which purges the prefetch)."""
REVOKE_WAIT_S: Final = 25.0
"""How long a revoke waits for the loop to finish with the partitions; below every sensible max.poll.interval.ms."""
REQUEST_S: Final = 10.0
"""Bound on one blocking request to the broker."""
COMMIT_RETRY_S: Final = 0.5
"""How soon a commit that failed, as during a rebalance, is asked for again."""
LAST_COMMITS_S: Final = 20.0
"""How long a member that leaves waits for its commits. Behind a JoinGroup on its connection they wait as the rebalance
does: for the session.timeout.ms of whoever died without a word."""
LOOK_BACK: Final = 2_000
"""Records from before the commit that the `events` role is given again, of each partition: a worker that takes it over
knows by them what was copied already."""
STOP_S: Final = 30.0
"""Bound on leaving the group."""
LEAVE_S: Final = 5.0
"""The same for a worker that failed. One that does not leave keeps its partitions from the others for a session."""
STOOD_S: Final = 8.0
"""Longest turn of the poll thread, but for what its callbacks wait for: as run/lease."""

_Key = tuple[str, int]


class KafkaSource:
    """Implements ports.Source with one confluent_kafka.Consumer. One instance, one start, one stop."""

    def __init__(
        self,
        settings: Mapping[str, str],
        group: str,
        topics: Sequence[str],
        role: str,
        log: Callable[..., None],
    ) -> None:
        """Prepare; nothing is contacted. A partition without a commit starts at its beginning.

        `group.protocol` among the settings says how partitions are shared.
        """
        self.role = role
        self.topics = tuple(topics)
        self._log = log
        self._settings: dict[str, str | int | bool | Callable[..., None]] = {
            **grouped(settings),
            "group.id": group,
            # Out of range (retention deleted it) is an error to be seen for the input; own topics start over.
            "auto.offset.reset": "error" if role == "input" else "earliest",
            "error_cb": self._on_error,
            "on_commit": self._on_commit,
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inbox: Callable[[Notice], None] | None = None
        self._thread: threading.Thread | None = None
        self._finished = threading.Event()
        self._stopping = threading.Event()
        self._last_wanted = True
        self._backlog = Backlog()
        self._requests = Requests()
        plain = {key: content for key, content in settings.items() if key != "group.protocol"}
        self._starts = Starts(plain, group, role, log, self._requests, self._stopping)
        # The rest belongs to the poll thread.
        self._owned: dict[_Key, int] = {}
        self._cuts = None if role == "input" else Cuts()  # of the input the consumer says so
        self._changed: set[_Key] = set()
        self._paused: set[_Key] = set()
        self._all_paused = False
        self._waited_s = 0.0
        self._totals: dict[str, int] = {}
        self._commit_from_s = 0.0
        self._count_again = False
        self._callback_error: BaseException | None = None
        self._turned_s = time.monotonic()
        self._blocked = False  # this turn asked the broker, or waited for the loop: that takes as long as it takes

    # ------------------------------------------------------------------------------------ called on the loop

    def start(self, inbox: Callable[[Notice], None]) -> None:
        """See ports.Source."""
        self._loop = asyncio.get_running_loop()
        self._inbox = inbox
        self._thread = threading.Thread(target=self._run, name=f"poll-{self.role}", daemon=True)
        self._thread.start()

    def taken(self, records: int) -> None:
        """See ports.Source."""
        self._backlog.take(records)

    def commit(self, offsets: Sequence[tuple[str, int, int, str]]) -> None:
        """See ports.Source."""
        self._requests.commit(offsets)

    @property
    def metadata_chars(self) -> int:
        """See ports.Source."""
        return self._requests.metadata_chars

    def pause(self, topic: str, partition: int) -> None:
        """See ports.Source."""
        self._requests.pause((topic, partition), paused=True)

    def resume(self, topic: str, partition: int) -> None:
        """See ports.Source."""
        self._requests.pause((topic, partition), paused=False)

    def partitions_total(self, topic: str) -> int:
        """See ports.Source."""
        return self._totals.get(topic, 0)

    async def stop(self, *, commit: bool = True) -> None:
        """See ports.Source."""
        self._last_wanted = commit
        self._stopping.set()
        if self._thread is not None:
            bound_s = STOP_S if commit else LEAVE_S
            await asyncio.get_running_loop().run_in_executor(None, self._finished.wait, bound_s)

    # --------------------------------------------------------------------------------------- the poll thread

    def _post(self, notice: Notice) -> None:
        loop, inbox = self._loop, self._inbox
        assert loop is not None
        assert inbox is not None
        if not loop.is_closed():
            loop.call_soon_threadsafe(inbox, notice)

    def _run(self) -> None:
        consumer: Consumer | None = None
        try:
            consumer = Consumer(dict(self._settings))
            consumer.subscribe(
                list(self.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            self._turned_s = time.monotonic()
            while not self._stopping.is_set():
                self._turn(consumer)
            if self._last_wanted:
                self._last_commits(consumer)
            else:
                self._owned.clear()  # commit nothing in the revoke that closing causes
            consumer.close()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the consumer is discarded uncommitted
            self._stopping.set()  # a revoke during close must wait for nobody
            self._owned.clear()  # and commit nothing
            self._post(Fatal(error if isinstance(error, Exception) else BrokerError(repr(error))))
            if consumer is not None:
                with contextlib.suppress(Exception):  # failing for a reason that was reported: left to its process
                    consumer.close()
        finally:
            self._finished.set()

    def _turn(self, consumer: Consumer) -> None:
        self._check_stood()
        self._send_commits(consumer, wait=False)
        self._apply_pauses(consumer)
        if (backlog := self._backlog.level()) >= 1 and not self._all_paused:
            self._waited_s += self._backlog.wait()
            if self._waited_s < SHORT_WAIT_S:
                return
            self._all_paused = True
            consumer.pause([TopicPartition(*key) for key in self._owned])
        elif self._all_paused and backlog < 0.5:  # noqa: PLR2004 - half of it is gone
            self._all_paused = False
            consumer.resume([TopicPartition(*key) for key in self._owned if key not in self._paused])
        self._waited_s = 0.0
        self._changed.clear()
        first = consumer.poll(POLL_S)
        messages = [] if first is None else [first]
        if first is not None:
            messages += consumer.consume(BATCH_RECORDS - 1, GATHER_S)
        if self._callback_error is not None:
            raise self._callback_error
        if self._all_paused and (fresh := self._changed & self._owned.keys()):
            consumer.pause([TopicPartition(*key) for key in fresh])  # assigned meanwhile
        if self._count_again:
            self._count_partitions(consumer)
        records = self._records(consumer, messages)
        if records:
            self._backlog.post(records)
            self._post(records)

    def _check_stood(self) -> None:
        """End before the next poll if this process stood still: polling would join the group anew, and wait for it."""
        now_s, last_s, self._turned_s = time.monotonic(), self._turned_s, time.monotonic()
        if now_s - last_s > STOOD_S and not self._blocked:
            raise BrokerError(f"this process stood still for {now_s - last_s:.0f} s; its partitions may have moved")
        self._blocked = False

    def _count_partitions(self, consumer: Consumer) -> None:
        """Count the topics' partitions after an assignment: a new partition causes one. Broker away: next turn."""
        self._blocked = True
        for topic in self.topics:
            try:
                self._totals[topic] = len(consumer.list_topics(topic, timeout=REQUEST_S).topics[topic].partitions)
            except KafkaException:
                return
        self._count_again = False

    def _records(self, consumer: Consumer, messages: list[Message]) -> list[Record]:
        records: list[Record] = []
        stale: set[_Key] = set()
        for message in messages:
            error = message.error()
            if error is not None:
                self._judge(error)
                continue
            key = (message.topic() or "", message.partition() or 0)
            if key in self._changed or key not in self._owned:
                # Gathered in the same call that (un)assigned the partition: which side of it cannot be told.
                stale.add(key)
                continue
            if self._cuts is not None and self._cuts.found(key, message):
                records = [each for each in records if (each.topic, each.partition) != key]
                self._begin_anew(consumer, key, message.offset() or 0)
                stale.add(key)
                continue
            records.append(as_record(message))
        for key in stale & self._owned.keys():
            consumer.seek(TopicPartition(key[0], key[1], self._owned[key]))
        return records

    def _begin_anew(self, consumer: Consumer, key: _Key, cut: int) -> None:
        """Have a partition whose log was cut at an offset read from its commit, as if it were lost and came back."""
        self._blocked = True
        partition = TopicPartition(*key)
        self._on_lost(consumer, [partition])
        starts, stored = self._starts.ask(consumer, [partition], {key: cut})
        assigned = self._note_starts(starts)  # and the caller seeks there
        if not self._all_paused:
            consumer.resume([partition])
        self._post(Assigned(assigned, stored))

    def _judge(self, error: KafkaError) -> None:
        """Go on over what passes by itself; raise what the worker cannot go on with."""
        if refused := refusal(error, self._settings, self.role, self.topics):
            raise BrokerError(refused)
        self._log("warning", "consumer_error", role=self.role, code=error.name())

    def _send_commits(self, consumer: Consumer, *, wait: bool) -> None:
        if not self._requests.commits() or (not wait and time.monotonic() < self._commit_from_s):
            return
        if not (offsets := self._requests.take_commits(self._owned)):
            return
        try:
            if wait:
                consumer.commit(offsets=offsets, asynchronous=False)
                self._requests.answered()
            else:
                consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._requests.answered()
            self._commit_failed(error.args[0], offsets)

    def _last_commits(self, consumer: Consumer) -> None:
        """Commit before leaving, and wait for the answers; what a rebalance hands out meanwhile is not read."""
        until_s = time.monotonic() + LAST_COMMITS_S
        while self._requests.open() and time.monotonic() < until_s:
            self._send_commits(consumer, wait=False)
            consumer.poll(POLL_S)

    def _apply_pauses(self, consumer: Consumer) -> None:
        for key, pause in self._requests.take_pauses().items():
            if key not in self._owned:
                continue
            if pause:
                self._paused.add(key)
                consumer.pause([TopicPartition(*key)])
            else:
                self._paused.discard(key)
                if not self._all_paused:
                    consumer.resume([TopicPartition(*key)])

    # ------------------------------------------------------- callbacks, inside poll/consume: they never raise

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._blocked = True
        try:
            starts, stored = self._starts.ask(consumer, partitions)
            assigned = self._note_starts(starts)
            consumer.incremental_assign(starts)
            self._count_again = True
            self._commit_from_s = 0.0  # a commit the rebalance refused needs to wait no longer
            self._post(Assigned(assigned, stored))
        except BaseException as error:  # noqa: BLE001 - out of a callback it would silently drop records
            self._callback_error = error

    def _note_starts(self, starts: list[TopicPartition]) -> tuple[tuple[str, int, int], ...]:
        assigned: list[tuple[str, int, int]] = []
        for start in starts:
            if start.error is not None:
                raise KafkaException(start.error)
            key = (start.topic, start.partition)
            assigned.append((start.topic, start.partition, start.offset if start.offset >= 0 else -1))
            if start.offset < 0:
                start.offset = OFFSET_BEGINNING
            elif self.role == "events":  # below what there is, it starts at what there is
                start.offset = max(start.offset - LOOK_BACK, 0)
            self._owned[key] = start.offset
            self._changed.add(key)
        return tuple(assigned)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._blocked = True
        try:
            keys = tuple((each.topic, each.partition) for each in partitions)
            finished = threading.Event()
            self._post(Revoked(keys, False, finished.set))
            late = not self._stopping.is_set() and not finished.wait(REVOKE_WAIT_S)
            self._requests.again(keys)
            self._send_commits(consumer, wait=True)
            self._forget(keys)
            if late:  # another worker has them from now on: nothing of them may be sent here any more
                self._post(Revoked(keys, True, _nothing))
        except BaseException as error:  # noqa: BLE001 - see _on_assign
            self._callback_error = error

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            keys = tuple((each.topic, each.partition) for each in partitions)
            self._forget(keys)
            self._post(Revoked(keys, True, _nothing))
        except BaseException as error:  # noqa: BLE001 - see _on_assign
            self._callback_error = error

    def _forget(self, keys: tuple[_Key, ...]) -> None:
        for key in keys:
            self._owned.pop(key, None)
            self._paused.discard(key)
            self._changed.add(key)
        self._requests.forget(keys)
        if self._cuts is not None:
            self._cuts.forget(keys)

    def _on_error(self, error: KafkaError) -> None:
        self._log("warning", "broker_error", role=self.role, code=error.name())

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._requests.answered()
        if failed := [each for each in partitions if error is not None or each.error is not None]:
            self._commit_failed(error or failed[0].error, failed)

    def _commit_failed(self, error: KafkaError | None, offsets: list[TopicPartition]) -> None:
        self._commit_from_s = time.monotonic() + COMMIT_RETRY_S
        self._requests.failed(error, offsets, self._owned)
        self._log("warning", "commit_failed", role=self.role, code=error.name() if error is not None else "")


def _nothing() -> None:
    """Answer a notice that nobody waits for."""
