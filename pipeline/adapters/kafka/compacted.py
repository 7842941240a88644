"""Reads compacted topics whole and follows them, from where a file says it has come to.

For one thread, blocking, without a group and without commits: who reads keeps the offsets beside what was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from pipeline.adapters.kafka.embedded import is_embedded
from pipeline.adapters.kafka.message import as_record
from pipeline.adapters.kafka.place import topic_ids
from pipeline.adapters.kafka.trouble import Trouble
from pipeline.adapters.kafka.ungrouped import UNGROUPED
from pipeline.adapters.kafka.watermarks import watermarks
from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka import Message

    from pipeline.model import Record

REACH_S: Final = 10.0
"""Bound on one question when reading begins."""
END_S: Final = 2.0
"""Bound on asking for one partition's end later on."""
POLL_S: Final = 0.1
"""Longest wait for a first record."""
GATHER_S: Final = 0.002
"""How long a batch is gathered once its first record is there."""
BATCH_RECORDS: Final = 1_000
"""Records taken at once."""

TUNING: Final[dict[str, Any]] = {
    **UNGROUPED,
    "auto.offset.reset": "error",  # an offset that is gone means that what was read is not what is there
    "queued.max.messages.kbytes": 8_192,
}

Key = tuple[str, int]


class GoneError(Exception):
    """The offset to go on from is not on the topic any more: it is another log than the one that was read."""


class Compacted:
    """Some topics, read together. Every method blocks, and raises BrokerError when Kafka does not do its part."""

    def __init__(self, settings: Mapping[str, str], topics: Sequence[str]) -> None:
        """Ask for the topics' partitions and which topics they are. Raises TopicMissing, BrokerError."""
        self._trouble = Trouble()
        self._settings = settings
        self._consumer = Consumer({**TUNING, **settings, "error_cb": self._trouble.note})
        self._keys: list[Key] = []
        self._next: dict[Key, int] = {}
        self.place = ""
        """Names cluster and topics whatever they are called tomorrow; "" where nothing can be relied on to last."""
        try:
            self._look_up(topics)
        except (KafkaException, TopicMissing, BrokerError) as error:
            self._consumer.close()
            raise self._said(error) from error

    def _look_up(self, topics: Sequence[str]) -> None:
        cluster_id = None
        for topic in topics:
            answer = self._consumer.list_topics(topic, timeout=REACH_S)
            found, cluster_id = answer.topics[topic], answer.cluster_id
            if found.error is not None and found.error.code() not in (
                KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's public name
            ):  # fmt: skip
                raise KafkaException(found.error)
            if found.error is not None or not found.partitions:
                raise TopicMissing((topic,))
            self._keys += [(topic, partition) for partition in sorted(found.partitions)]
        if cluster_id is not None and not is_embedded(cluster_id):
            ids = topic_ids(self._settings, topics)
            if len(ids) == len(topics):
                self.place = " ".join((cluster_id, *(ids[topic] for topic in topics)))

    def begin(self, positions: Mapping[Key, int]) -> int:
        """Read on from these offsets, what is not named from its start; return how many offsets there are to pass.

        Raises GoneError, besides: an offset is past the end.
        """
        try:
            self._next = {}
            assigned, total = [], 0
            for key in self._keys:
                low, high = self._watermarks(key, REACH_S)
                at = positions.get(key, -1)
                if at > high or -1 < at < low:
                    raise GoneError
                self._next[key] = max(at, low)
                total += high - self._next[key]
                assigned.append(TopicPartition(*key, at if at >= 0 else OFFSET_BEGINNING))
            self._consumer.assign(assigned)
        except KafkaException as error:
            raise self._said(error) from error
        return total

    def take(self) -> tuple[list[Record], dict[Key, int]]:
        """Return what came within POLL_S, and the offsets to go on from after it. Raises GoneError, besides."""
        records = []
        moved: dict[Key, int] = {}
        try:
            first = self._consumer.poll(POLL_S)
            messages = [] if first is None else [first, *self._consumer.consume(BATCH_RECORDS - 1, GATHER_S)]
            for message in messages:
                key = (message.topic() or "", message.partition() or 0)
                if message.error() is None:
                    record = as_record(message)
                    records.append(record)
                    moved[key] = record.offset + 1
                else:
                    moved[key] = max(self._ended(message), moved.get(key, self._next.get(key, 0)))
        except KafkaException as error:
            raise self._said(error) from error
        self._next.update(moved)
        return records, moved

    def _ended(self, message: Message) -> int:
        """Return the offset at which a partition ended: past what compaction and transactions left out, too."""
        error = message.error()
        assert error is not None
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's public names for them
            raise GoneError
        if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001
            raise KafkaException(error)
        return message.offset() or 0

    def behind(self) -> int:
        """Ask how many offsets are still to be read; at most END_S for each partition."""
        try:
            return sum(max(self._watermarks(key, END_S)[1] - after, 0) for key, after in self._next.items())
        except KafkaException as error:
            raise self._said(error) from error

    def _watermarks(self, key: Key, reach_s: float) -> tuple[int, int]:
        return watermarks(self._consumer, *key, reach_s)

    def _said(self, error: BaseException) -> BaseException:
        if isinstance(error, KafkaException):
            return BrokerError(f"Kafka: {self._trouble.said or error.args[0].str()}")
        return error

    def close(self) -> None:
        """Close the consumer."""
        self._consumer.close()
