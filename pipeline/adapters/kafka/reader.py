"""Reads a topic to the end it had when the reading began: without a group, without commits, and always terminating.

Ends are offsets, and offsets have gaps (transaction markers, compaction, aborted records): a partition is finished by a
record at or past its end or by the broker's end-of-partition event, never by counting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from pipeline.adapters.kafka.embedded import is_embedded
from pipeline.adapters.kafka.message import as_record
from pipeline.adapters.kafka.trouble import Trouble
from pipeline.adapters.kafka.ungrouped import UNGROUPED
from pipeline.adapters.kafka.watermarks import watermarks
from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.model import Record

REACH_S: Final = 10.0
"""Bound on every single question to the broker."""
BATCH_RECORDS: Final = 500
"""Records fetched from librdkafka at once."""
GATHER_S: Final = 0.2
"""Longest wait for such a batch."""
STALL_S: Final = 30.0
"""How long nothing at all may arrive before reading is given up."""
PREFETCH_KBYTES: Final = 16_384
"""What librdkafka may hold for us."""

TUNING: Final[dict[str, Any]] = {
    **UNGROUPED,
    "queued.max.messages.kbytes": PREFETCH_KBYTES,
}

Progress = "Callable[[int, int], None]"


def read_topic(
    settings: Mapping[str, str],
    topic: str,
    *,
    since_ms: int | None = None,
    begin: Mapping[int, int] | None = None,
    end: Mapping[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Record]:
    """Yield every record of a topic from its start (or from `since_ms`, by record timestamp) to its present end.

    `begin` gives partitions an offset to start from instead; what retention deleted is passed over. With `end`, only
    the partitions in it are read, and up to its offset, excluded. Within a partition
    in order, partitions interleaved. `progress(offsets passed, offsets to pass)` is called per batch. Blocks while
    reading; raises TopicMissing, and BrokerError when the broker is not reached within 10 s or falls silent for 30 s.
    """
    trouble = Trouble()
    consumer = Consumer({**TUNING, **settings, "error_cb": trouble.note})
    try:
        reading = _Reading(consumer, topic, trouble)
        reading.prepare(since_ms, begin or {}, end)
        yield from reading.records(progress)
    except KafkaException as error:
        detail = trouble.why(consumer, error.args[0])
        raise BrokerError(f"Kafka did not answer within {REACH_S:.0f} s: {detail}") from error
    finally:
        consumer.close()


class _Reading:
    """One pass over one topic: where each partition starts, where it ends, and which are not there yet."""

    def __init__(self, consumer: Consumer, topic: str, trouble: Trouble) -> None:
        self._consumer = consumer
        self._topic = topic
        self._trouble = trouble
        self._start: dict[int, int] = {}
        self._end: dict[int, int] = {}  # of the partitions not finished
        self._at: dict[int, int] = {}
        self._total = 0

    def prepare(self, since_ms: int | None, begin: Mapping[int, int], end: Mapping[int, int] | None) -> None:
        """Ask for partitions, ends and starts; assign what has something to read."""
        cluster = self._consumer.list_topics(self._topic, timeout=REACH_S)
        metadata = cluster.topics[self._topic]
        if metadata.error is not None:
            if metadata.error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # noqa: SLF001
                raise TopicMissing((self._topic,))
            raise KafkaException(metadata.error)
        if not metadata.partitions:
            raise TopicMissing((self._topic,))
        for partition in metadata.partitions:
            if end is not None and partition not in end:
                continue
            low, high = watermarks(self._consumer, self._topic, partition, REACH_S)
            if end is not None:
                high = min(high, end[partition])
            first = min(max(begin.get(partition, low), low), high)
            if first < high:
                self._start[partition], self._end[partition] = first, high
        if since_ms is not None and not is_embedded(cluster.cluster_id):  # which knows no times: read all
            self._skip_to(since_ms)
        self._at = dict(self._start)
        self._total = sum(self._end[partition] - start for partition, start in self._start.items())
        self._consumer.assign([TopicPartition(self._topic, *each) for each in self._start.items()])

    def _skip_to(self, since_ms: int) -> None:
        asked = [TopicPartition(self._topic, partition, since_ms) for partition in self._start]
        for found in self._consumer.offsets_for_times(asked, timeout=REACH_S) if asked else ():
            if found.error is not None:
                raise KafkaException(found.error)
            partition = found.partition
            if found.offset in (OFFSET_END, OFFSET_BEGINNING) or found.offset >= self._end[partition]:
                del self._start[partition], self._end[partition]  # no record that young
            else:
                self._start[partition] = max(self._start[partition], found.offset)

    def records(self, progress: Callable[[int, int], None] | None) -> Iterator[Record]:
        """Poll until every partition has reached its end."""
        silent_s = 0.0
        while self._end:
            messages = self._consumer.consume(BATCH_RECORDS, GATHER_S)
            silent_s = 0.0 if messages else silent_s + GATHER_S
            if silent_s >= STALL_S:
                detail = f": {self._trouble.said}" if self._trouble.said else ""
                raise BrokerError(f"Kafka sent nothing of {self._topic} for {STALL_S:.0f} s{detail}")
            for message in messages:
                record = self._take(message)
                if record is not None:
                    yield record
            if progress is not None:
                progress(self._total - sum(end - self._at[each] for each, end in self._end.items()), self._total)

    def _take(self, message: Message) -> Record | None:
        partition = message.partition() or 0
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public name for it
                raise KafkaException(error)
            self._finish(partition)
            return None
        offset = message.offset()
        assert offset is not None
        end = self._end.get(partition)
        if end is None or offset >= end:
            self._finish(partition)
            return None
        self._at[partition] = offset + 1
        if offset + 1 == end:
            self._finish(partition)
        return as_record(message)

    def _finish(self, partition: int) -> None:
        if self._end.pop(partition, None) is not None and self._end:
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])
