"""Feeds records from a file or a generator to Kafka: keeps a bounded queue full, counts what arrived and what did not.

For commands, not for the worker: `send` waits while the queue is full, and a record that is refused is counted instead
of stopping everything.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.adapters.kafka.trouble import Trouble
from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.ports import Headers

QUEUE_RECORDS: Final = 20_000
"""Records librdkafka may hold for us."""
QUEUE_KBYTES: Final = 32_768
DELIVERY_S: Final = 60.0
"""How long one record may take to be acked before it counts as failed."""
REACH_S: Final = 10.0
"""Bound on asking the broker for the topic."""
WAIT_S: Final = 0.1
"""Longest single wait for acks while the queue is full."""

TUNING: Final[dict[str, Any]] = {
    "enable.idempotence": True,
    "linger.ms": 20,
    "compression.type": "lz4",
    "partitioner": "murmur2_random",  # as the Java client's default: the same customer, the same partition
    "message.timeout.ms": int(DELIVERY_S * 1_000),
    "queue.buffering.max.messages": QUEUE_RECORDS,
    "queue.buffering.max.kbytes": QUEUE_KBYTES,
    "log_level": 0,  # what goes wrong is raised or counted instead of printed
}

Settled: TypeAlias = "Callable[[str, int, int], None]"
"""`(error, partition, offset)`: Kafka's name of the error, "" once the broker has the record."""


class Feed:
    """One idempotent producer for one topic. `delivered` and `failed` (by Kafka's error name) count acked records."""

    def __init__(self, settings: Mapping[str, str], topic: str) -> None:
        """Connect and look the topic up, up to REACH_S. Raises BrokerError, TopicMissing."""
        self.delivered = 0
        self.failed: Counter[str] = Counter()
        self._topic = topic
        self._trouble = Trouble()
        self._fatal = ""
        self._producer = Producer({**TUNING, **settings, "error_cb": self._on_error})
        self._look_up()

    def send(
        self, key: bytes | None, content: bytes | None, headers: Headers, record_ms: int = 0,
        settled: Settled | None = None, partition: int = -1,
    ) -> None:  # fmt: skip
        """Queue one record, timestamped now unless `record_ms` says otherwise; blocks while the queue is full.

        `partition` -1 is where its key belongs.

        `settled` is told what became of it, within a later call of this feed.
        Returns within DELIVERY_S, since every queued record is acked or given up by then. Raises BrokerError when the
        producer cannot go on.
        """
        on_delivery = self._on_delivery if settled is None else partial(self._tell, settled)
        while True:
            if self._fatal:
                raise BrokerError(f"Kafka: {self._fatal}")
            try:
                self._producer.produce(
                    self._topic,
                    content,
                    key,
                    partition,
                    on_delivery=on_delivery,
                    timestamp=record_ms,
                    headers=headers,  # type: ignore[arg-type]  # the stubs want a list of another union
                )
            except BufferError:
                self._producer.poll(WAIT_S)
                continue
            except KafkaException as error:
                self.failed[error.args[0].name()] += 1
            break
        self._producer.poll(0)

    def finish(self) -> int:
        """Wait until every record is acked or given up, at most DELIVERY_S; return how many are still neither."""
        until_s = time.monotonic() + DELIVERY_S
        while len(self._producer) and time.monotonic() < until_s and not self._fatal:
            self._producer.poll(WAIT_S)
        return len(self._producer)

    def poll(self) -> None:
        """Collect acks without waiting."""
        self._producer.poll(0)

    def _look_up(self) -> None:
        try:
            found = self._producer.list_topics(self._topic, timeout=REACH_S).topics[self._topic]
        except KafkaException as error:
            raise BrokerError(f"no Kafka answers: {self._trouble.why(self._producer, error.args[0])}") from error
        if found.error is not None or not found.partitions:
            raise TopicMissing((self._topic,))

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.delivered += 1
        else:
            self.failed[error.name()] += 1

    def _tell(self, settled: Settled, error: KafkaError | None, message: Message) -> None:
        self._on_delivery(error, message)
        offset = message.offset()
        settled("" if error is None else error.name(), message.partition() or 0, -1 if offset is None else offset)

    def _on_error(self, error: KafkaError) -> None:
        self._trouble.note(error)
        if error.fatal():
            self._fatal = error.str()
