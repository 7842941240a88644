"""Produces: one idempotent producer a worker, living on the event loop, that never waits.

`produce` queues; librdkafka batches; while anything is unacked, acks are collected every 5 ms. Delivery timeouts are
off: a record waits for its broker as long as it takes, and what depends on it waits too. Nothing is given up silently.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.errors import BrokerError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.ports import Headers

ACK_POLL_S: Final = 0.005
"""How often acks are collected while any is due."""
FULL_RECORDS: Final = 50_000
FULL_BYTES: Final = 33_554_432
"""Unacked records, and their bytes, at which `full` stops consumption."""
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

Acked = Callable[[], None]


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
        limit = self._limits.get(topic)
        size = _size(key, content, headers)
        if limit is not None and size > limit:
            return False

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            self._bytes -= size
            if error is None:
                acked()
            else:
                self._refused(topic, error)

        try:
            self._producer.produce(topic, content, key, partition, on_delivery, headers=headers)  # type: ignore[arg-type]
        except BufferError as error:
            self._fatal(BrokerError(f"the producer's queue of {QUEUE_RECORDS} records overflowed: {error}"))
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                return False
            self._refused(topic, error.args[0])
        else:
            self._bytes += size
        if self._timer is None:
            self._timer = self._loop.call_later(ACK_POLL_S, self._collect)
        return True

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

    def _refused(self, topic: str, error: KafkaError) -> None:
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001 - public names
            return
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):  # noqa: SLF001
            self._fatal(TopicMissing((topic,)))
            return
        self._fatal(BrokerError(f"Kafka refuses a record for {topic}: {error.str()}"))

    def _on_error(self, error: KafkaError) -> None:
        self._log("warning", "broker_error", role="producer", code=error.name())
        if error.fatal():
            self._fatal(BrokerError(f"the producer cannot go on: {error.str()}"))


def _size(key: bytes | None, content: bytes | None, headers: Headers) -> int:
    """Bound a record's size in a batch of one (KIP-98 format: at most 91 bytes of framing, 10 a header)."""
    size = len(key or b"") + len(content or b"") + 100
    for name, text in headers:
        size += len(name) + len(text) + 10
    return size
