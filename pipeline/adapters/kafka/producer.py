"""Produces: one idempotent producer a worker, living on the event loop, that never waits.

`produce` queues; librdkafka batches; while anything is unacked, acks are collected every 5 ms. Delivery timeouts are
off: a record waits for its broker as long as it takes, and what depends on it waits too. Nothing is given up silently.
The client calls back whoever waits for an ack, without a function of ours in between: that costs 1.5 µs a delivery.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.ports import Acked, Headers

ACK_POLL_S: Final = 0.005
"""How often acks are collected while any is due."""
FULL_RECORDS: Final = 32_768
FULL_BYTES: Final = 33_554_432
"""Unacked records, and the bytes of those that are not small, at which `full` stops consumption."""
SMALL_BYTES: Final = 1_024
"""Records up to this size, as outcomes are, are bounded by their number alone: FULL_RECORDS are FULL_BYTES."""
QUEUE_RECORDS: Final = 1_000_000
QUEUE_KBYTES: Final = 1_048_576
"""What librdkafka may hold: far more, since all that is unsettled then may still have to be handed over at once."""
METADATA_S: Final = 10.0
"""Bound on asking the broker for a topic's partitions."""

TUNING: Final[dict[str, str | int | bool]] = {
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 20,  # nobody waits for an outcome; fewer, larger requests spare broker and worker context switches
    "compression.type": "lz4",
    "message.timeout.ms": 0,
    "queue.buffering.max.messages": QUEUE_RECORDS,
    "queue.buffering.max.kbytes": QUEUE_KBYTES,
    "message.max.bytes": 16_777_216,
    "partitioner": "murmur2_random",
}


class KafkaProducer:
    """Implements ports.Producer. `fatal` gets every error that means a record can never be acked."""

    def __init__(
        self, settings: Mapping[str, str], fatal: Callable[[BaseException], None], log: Callable[..., None],
        limits: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Connect lazily. `limits` has each own topic's `max.message.bytes`, as `topics check` reads it."""
        self._producer = Producer({**TUNING, **settings, "error_cb": self._on_error})
        self._fatal = fatal
        self._log = log
        self._limits = dict(limits or {})
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._partitions: dict[str, int] = {}
        self._bytes = 0  # unacked

    def produce(
        self,
        topic: str,
        key: bytes | None,
        content: bytes | None,
        headers: Headers,
        acked: Acked,
        partition: int = -1,
    ) -> bool:
        """See ports.Producer."""
        size = _size(key, content, headers)
        if size > self._limits.get(topic, size):
            return False
        if size > SMALL_BYTES:
            acked = self._counted(size, acked)
        try:
            if headers:
                self._producer.produce(topic, content, key, partition, acked, headers=headers)  # type: ignore[arg-type]
            else:
                self._producer.produce(topic, content, key, partition, acked)
        except BufferError as error:
            self._fatal(BrokerError(f"the producer's queue of {QUEUE_RECORDS} records overflowed: {error}"))
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._bytes -= size if size > SMALL_BYTES else 0
                return False
            self._fatal(_refusal(topic, error.args[0]))
        if self._timer is None:
            self._timer = self._loop.call_later(ACK_POLL_S, self._collect)
        return True

    def _counted(self, size: int, acked: Acked) -> Acked:
        """Count the bytes of a record until its ack."""
        self._bytes += size

        def settled(refused: object, record: object) -> None:
            self._bytes -= size
            acked(refused, record)

        return settled

    def refused(self, why: object, record: object) -> None:
        """See ports.Producer."""
        assert isinstance(why, KafkaError)
        assert isinstance(record, Message)
        if why.code() not in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001 - public names
            self._fatal(_refusal(record.topic() or "", why))

    def full(self) -> bool:
        """See ports.Producer."""
        return self._bytes > FULL_BYTES or len(self._producer) > FULL_RECORDS

    def partitions(self, topic: str) -> int:
        """See ports.Producer. Blocks up to METADATA_S at the first call for a topic; raises TopicMissing."""
        known = self._partitions.get(topic)
        if known is None:
            try:
                metadata = self._producer.list_topics(topic, timeout=METADATA_S).topics[topic]
            except KafkaException as error:
                raise BrokerError(f"the broker did not answer: {error.args[0].str()}") from error
            known = len(metadata.partitions)
            if known == 0:
                raise TopicMissing((topic,))
            self._partitions[topic] = known
        return known

    async def flush(self, timeout_s: float) -> int:
        """See ports.Producer."""
        deadline_s = self._loop.time() + timeout_s
        while len(self._producer) and self._loop.time() < deadline_s:
            self._poll()
            await asyncio.sleep(ACK_POLL_S)
        self._poll()
        return len(self._producer)

    def close(self) -> None:
        """Stop collecting acks; what is unacked stays so, and nothing that depends on it was committed."""
        if self._timer is not None:
            self._timer.cancel()
        self._producer.purge()

    def _collect(self) -> None:
        self._timer = None
        self._poll()
        if len(self._producer):
            self._timer = self._loop.call_later(ACK_POLL_S, self._collect)

    def _poll(self) -> None:
        try:
            self._producer.poll(0)
        except Exception as error:  # noqa: BLE001 - an exception in an ack callback: nothing after it can be trusted
            self._fatal(error)

    def _on_error(self, error: KafkaError) -> None:
        self._log("warning", "broker_error", role="producer", code=error.name())
        if error.fatal():
            self._fatal(BrokerError(f"the producer cannot go on: {error.str()}"))


def _refusal(topic: str, error: KafkaError) -> BrokerError | TopicMissing:
    if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # noqa: SLF001 - public names
        return TopicMissing((topic,))
    return BrokerError(f"Kafka refuses a record for {topic}: {error.str()}")


def _size(key: bytes | None, content: bytes | None, headers: Headers) -> int:
    """Bound a record's size in a batch of one (KIP-98 format: at most 91 bytes of framing, 10 a header)."""
    size = len(key or b"") + len(content or b"") + 100
    for name, text in headers:
        size += len(name) + len(text) + 10
    return size
