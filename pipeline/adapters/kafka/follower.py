"""Follows partitions of one compacted topic: all that is there, then whatever comes, as long as they are asked for.

No group and no commits: several workers may follow one partition. A thread polls and posts to the event loop: records
in the order of their partition, and now and then up to when they are known to be all. That is asked of the broker, so
that one which is away shows as a partition that gets older, never as one where nothing happens.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline.adapters.kafka.message import as_record
from pipeline.adapters.kafka.trouble import Trouble
from pipeline.adapters.kafka.ungrouped import UNGROUPED
from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.model import Record

POLL_S: Final = 0.05
"""Longest single wait for a record: how soon the thread notices what it is asked."""
BATCH_RECORDS: Final = 500
"""Records posted to the loop at once."""
BACKLOG_RECORDS: Final = 5_000
"""Records the loop has not taken yet, above which nothing is read."""
BACKLOG_S: Final = 0.01
"""How long the thread waits for the loop then."""
FRESH_S: Final = 2.0
"""How often the broker is asked whether there is more."""
REACH_S: Final = 5.0
"""Bound on that question."""
AGAIN_S: Final = 1.0
"""Wait after an error; the client connects again by itself."""
MISSING_S: Final = 10.0
"""How long a partition may be unknown, as it is right after it was made."""
STOP_S: Final = 10.0
"""Bound on the thread's end."""

_MISSING: Final = KafkaError._UNKNOWN_PARTITION  # noqa: SLF001 - librdkafka's public name for it

TUNING: Final[dict[str, Any]] = {
    **UNGROUPED,
    "queued.min.messages": 2_000,
    "queued.max.messages.kbytes": 8_192,
    "fetch.wait.max.ms": 100,
}


class KafkaFollower:
    """Implements run/memory's Follower. Built, started and stopped on the event loop."""

    def __init__(
        self, settings: Mapping[str, str], topic: str, log: Callable[..., None], fatal: Callable[[BaseException], None]
    ) -> None:
        """Prepare; nothing is contacted. `fatal` is told on the loop if nothing can be followed any more."""
        self._trouble = Trouble()
        self._settings = {**TUNING, **settings, "error_cb": self._trouble.note}
        self._topic = topic
        self._log = log
        self._fatal = fatal
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._asked: deque[tuple[int, bool]] = deque()  # of the loop: (partition, whether it is to be followed)
        self._posted = 0  # the thread's
        self._taken = 0  # the loop's
        # The rest belongs to the thread.
        self._at: dict[int, int] = {}  # where each partition stands
        self._ends: dict[int, tuple[int, int]] = {}  # where it must get to, to be whole as of that time (Unix ns)
        self._ask_s = 0.0
        self._known_s = 0.0  # when all that is followed was last known to be there

    def start(self, inbox: Callable[[list[Record]], None], whole: Callable[[int, int], None]) -> None:
        """Begin; both are called on the loop.

        `whole(partition, at_ns)`: all that was in the partition at that time (Unix ns) was in the inbox before.
        """
        loop = asyncio.get_running_loop()

        def post(records: list[Record]) -> None:
            self._taken += len(records)
            inbox(records)

        def tell(call: Callable[..., None], *args: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(call, *args)

        self._thread = threading.Thread(
            target=self._run, args=(tell, post, whole), name=f"follow-{self._topic}", daemon=True
        )
        self._thread.start()

    def follow(self, partition: int) -> None:
        """Read a partition from its beginning and on; of one that is followed, ask soon whether there is more."""
        self._asked.append((partition, True))

    def leave(self, partition: int) -> None:
        """Read a partition no more; records of it may still come, which were posted before."""
        self._asked.append((partition, False))

    async def stop(self) -> None:
        """End the thread; bounded by STOP_S. Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, STOP_S)

    # --------------------------------------------------------------------------------------------- the thread

    def _run(
        self,
        tell: Callable[..., None],
        post: Callable[[list[Record]], None],
        whole: Callable[[int, int], None],
    ) -> None:
        try:
            consumer = Consumer(self._settings)
            while not self._stopping.is_set():
                try:
                    self._turn(consumer, tell, post, whole)
                except KafkaException as error:
                    if error.args[0].code() == _MISSING and time.monotonic() - self._known_s > MISSING_S:
                        raise BrokerError(
                            f"{self._topic} has too few partitions; were some added to the input? hookline topics "
                            "check says what to do"
                        ) from error
                    self._log("warning", "memory_unread", topic=self._topic, code=error.args[0].name())
                    self._stopping.wait(AGAIN_S)
            consumer.close()
        except Exception as error:  # noqa: BLE001 - nothing is known any more: a bug, or what nobody can follow
            tell(self._fatal, error if not isinstance(error, KafkaException) else BrokerError(str(error)))

    def _turn(
        self,
        consumer: Consumer,
        tell: Callable[..., None],
        post: Callable[[list[Record]], None],
        whole: Callable[[int, int], None],
    ) -> None:
        self._take_asked(consumer)
        if self._posted - self._taken > BACKLOG_RECORDS:
            self._stopping.wait(BACKLOG_S)
            return
        if self._at and time.monotonic() >= self._ask_s:
            self._ask(consumer)
        records = self._records(consumer.consume(BATCH_RECORDS, POLL_S))
        if records:
            self._posted += len(records)
            tell(post, records)
        for partition, (end, at_ns) in list(self._ends.items()):
            if self._at[partition] >= end:
                del self._ends[partition]
                tell(whole, partition, at_ns)

    def _take_asked(self, consumer: Consumer) -> None:
        while self._asked:
            partition, wanted = self._asked.popleft()
            at = [TopicPartition(self._topic, partition, OFFSET_BEGINNING)]
            if not wanted:
                if self._at.pop(partition, None) is not None:
                    self._ends.pop(partition, None)
                    consumer.incremental_unassign(at)
                continue
            self._ask_s = 0.0
            self._ends.pop(partition, None)  # that was asked for before
            if partition not in self._at:
                self._at[partition] = 0
                self._known_s = time.monotonic()
                consumer.incremental_assign(at)

    def _ask(self, consumer: Consumer) -> None:
        """Ask for the end of each partition that has come to where it was to come to."""
        self._ask_s = time.monotonic() + FRESH_S
        for partition in self._at:
            if partition in self._ends:
                continue
            at_ns = time.time_ns()
            found = consumer.get_watermark_offsets(TopicPartition(self._topic, partition), timeout=REACH_S)
            if found is not None:
                self._ends[partition] = (found[1], at_ns)
        self._known_s = time.monotonic()

    def _records(self, messages: list[Message]) -> list[Record]:
        """Return the records, and note where each partition stands: an end is past gaps that compaction left."""
        records: list[Record] = []
        for message in messages:
            error = message.error()
            partition, offset = message.partition(), message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - a public name
                self._log("warning", "memory_unread", topic=self._topic, code=error.name())
                continue
            if partition not in self._at or offset is None:
                continue  # left meanwhile
            if error is None:
                records.append(as_record(message))
                self._at[partition] = offset + 1
            else:
                self._at[partition] = max(self._at[partition], offset)
        return records
