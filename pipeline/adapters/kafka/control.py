"""Follows the control topic, and writes to it.

A worker must know all of it before its first event, and every change soon after: one thread polls, without a group and
without commits, and posts what it read to the event loop. What workers report about themselves is on the same topic
and is left out here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from pipeline.adapters.kafka.trouble import Trouble
from pipeline.adapters.kafka.ungrouped import UNGROUPED
from pipeline.adapters.kafka.watermarks import watermarks
from pipeline.errors import BrokerError, TopicMissing
from pipeline.model import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REACH_S: Final = 10.0
"""Bound on one question, and on the ack of what a command writes."""
WHOLE_S: Final = 60.0
"""Bound on reading all that is there at the start."""
POLL_S: Final = 0.2
"""Longest single wait for a record: how soon the thread notices that it should end."""
BATCH_RECORDS: Final = 500
"""Records taken from librdkafka at once."""
AGAIN_S: Final = 1.0
"""Wait after an error; the client connects again by itself."""
STOP_S: Final = 5.0
"""Bound on the thread's end."""
REPORTS: Final = b"worker/"
"""How the keys of what workers report about themselves begin."""

TUNING: Final[dict[str, Any]] = {
    **UNGROUPED,
    "queued.max.messages.kbytes": 4_096,
}


class ControlTopic:
    """Reads the control topic from its start and on. Built, started and stopped on the event loop."""

    def __init__(
        self, settings: Mapping[str, str], topic: str, log: Callable[..., None], fatal: Callable[[BaseException], None]
    ) -> None:
        """Prepare; nothing is contacted. `fatal` is told on the loop if the topic cannot be followed any more."""
        self._trouble = Trouble()
        self._settings = {**TUNING, **settings, "error_cb": self._trouble.note}
        self._topic = topic
        self._log = log
        self._fatal = fatal
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended: set[int] = set()  # partitions whose end was met; the thread's

    async def start(self, inbox: Callable[[list[Record]], None]) -> None:
        """Return once all that was on the topic has been posted; `inbox` is called on the loop from then on, too.

        Raises TopicMissing, and BrokerError when the topic cannot be read within WHOLE_S.
        """
        loop = asyncio.get_running_loop()
        whole: asyncio.Future[None] = loop.create_future()

        def post(records: list[Record]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox, records)

        def done(error: BaseException | None) -> None:
            if whole.done():
                return
            if error is None:
                whole.set_result(None)
            else:
                whole.set_exception(error)

        def broken(error: BaseException) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._fatal, error)

        def finished(error: BaseException | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, error)

        self._thread = threading.Thread(
            target=self._run, args=(post, finished, broken), name="poll-control", daemon=True
        )
        self._thread.start()
        await whole

    async def stop(self) -> None:
        """End the thread; bounded by STOP_S. Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, STOP_S)

    # --------------------------------------------------------------------------------------------- the thread

    def _run(
        self,
        post: Callable[[list[Record]], None],
        finished: Callable[[BaseException | None], None],
        broken: Callable[[BaseException], None],
    ) -> None:
        consumer: Consumer | None = None
        try:
            consumer = Consumer(self._settings)
            ends = self._assign(consumer)
            self._whole(consumer, ends, post)
            finished(None)
        except (KafkaException, BrokerError, TopicMissing) as error:
            finished(self._said(consumer, error))
            if consumer is not None:
                consumer.close()
            return
        try:
            while not self._stopping.is_set():
                self._follow(consumer, post)
        except Exception as error:  # noqa: BLE001 - our bug: a worker that does not hear commands must not go on
            broken(error)
        consumer.close()

    def _assign(self, consumer: Consumer) -> dict[int, int]:
        """Take every partition (a real topic has one; an embedded broker makes what it likes); return their ends."""
        metadata = consumer.list_topics(self._topic, timeout=REACH_S).topics[self._topic]
        if metadata.error is not None or not metadata.partitions:
            raise TopicMissing((self._topic,))
        ends = {}
        for partition in metadata.partitions:
            low, high = watermarks(consumer, self._topic, partition, REACH_S)
            if high > low:
                ends[partition] = high
        consumer.assign([TopicPartition(self._topic, each, OFFSET_BEGINNING) for each in metadata.partitions])
        return ends

    def _whole(self, consumer: Consumer, ends: dict[int, int], post: Callable[[list[Record]], None]) -> None:
        """Read up to where the topic ended. Positions count, not records: compaction leaves gaps, at the end too."""
        until_s = time.monotonic() + WHOLE_S
        while ends and not self._stopping.is_set():
            if time.monotonic() > until_s:
                raise BrokerError(f"Kafka did not hand out all of {self._topic} within {WHOLE_S:.0f} s")
            post(self._records(consumer.consume(BATCH_RECORDS, POLL_S)))
            for at in consumer.position([TopicPartition(self._topic, partition) for partition in ends]):
                if at.offset >= ends[at.partition] or at.partition in self._ended:
                    del ends[at.partition]

    def _follow(self, consumer: Consumer, post: Callable[[list[Record]], None]) -> None:
        try:
            records = self._records(consumer.consume(BATCH_RECORDS, POLL_S))
        except KafkaException as error:
            self._log("warning", "control_topic_unread", code=error.args[0].name())
            self._stopping.wait(AGAIN_S)
            return
        if records:
            post(records)

    def _records(self, messages: list[Message]) -> list[Record]:
        records = []
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public name for it
                    raise KafkaException(error)
                self._ended.add(message.partition() or 0)
                continue
            key = message.key()
            if isinstance(key, bytes) and not key.startswith(REPORTS):
                content = message.value()
                records.append(
                    Record(
                        self._topic, message.partition() or 0, message.offset() or 0, key,
                        content if isinstance(content, bytes) else None, (), message.timestamp()[1],
                    )
                )  # fmt: skip
        return records

    def _said(self, consumer: Consumer | None, error: Exception) -> Exception:
        if isinstance(error, KafkaException):
            cause: KafkaError = error.args[0]
            detail = self._trouble.why(consumer, cause) if consumer is not None else cause.str()
            return BrokerError(f"{self._topic} cannot be read: {detail}")
        return error


def publish(
    settings: Mapping[str, str], topic: str, records: Mapping[bytes, bytes | None], partitions: Sequence[int] = (-1,)
) -> dict[int, int]:
    """Write records and wait for their acks, at most REACH_S; return the last offset by partition.

    Each is written to each of `partitions`; -1 is where its key belongs.

    For commands. Raises BrokerError when not all are acked: then what was written may or may not come to be.
    """
    trouble = Trouble()
    producer = Producer(
        {
            "enable.idempotence": True, "linger.ms": 0, "partitioner": "murmur2_random", "log_level": 0,
            "message.timeout.ms": int(REACH_S * 1_000), **settings, "error_cb": trouble.note,
        }
    )  # fmt: skip
    ends: dict[int, int] = {}
    refused: list[KafkaError] = []

    def acked(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)
        else:
            partition = message.partition() or 0
            ends[partition] = max(ends.get(partition, 0), message.offset() or 0)

    for key, content in records.items():
        for partition in partitions:
            producer.produce(topic, content, key, partition, acked)
    left = producer.flush(REACH_S + 1.0)
    if refused or left:
        detail = trouble.why(producer, refused[0]) if refused else trouble.said or "no ack"
        raise BrokerError(f"{topic} was not written: {detail}")
    return ends
