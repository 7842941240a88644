"""Produces: one idempotent producer a worker, living on the event loop, that never waits.

`produce` queues; librdkafka batches; while anything is unacked, acks are collected every 5 ms. Delivery timeouts are
off: a record waits for its broker as long as it takes, and what depends on it waits too. What the broker refuses is
kept and written again (adapters/kafka/refused). Nothing is given up.
The client calls back whoever waits for an ack, without a function of ours in between: that costs 1.5 µs a delivery.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.adapters.kafka.refused import Refused, Unwritten
from pipeline.errors import BrokerError, TopicMissing
from pipeline.ports import Halt

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
BATCH_BYTES: Final = 1_000_000
"""Records sent as one, at most; less where one of our topics takes less."""
STALLED_S: Final = 10.0
"""Acks that are missing for so long are told, and consumption waits for them."""
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
    """Implements ports.Producer. `fatal` gets every error that means that nothing can be acked any more."""

    def __init__(
        self, settings: Mapping[str, str], fatal: Callable[[BaseException], None], log: Callable[..., None],
        limits: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Connect lazily. `limits` has each own topic's `max.message.bytes`, as `topics check` reads it."""
        batch_bytes = min((BATCH_BYTES, *(limits or {}).values()))
        self._producer = Producer({**TUNING, "batch.size": batch_bytes, **settings, "error_cb": self._on_error})
        self._fatal = fatal
        self._log = log
        self._limits = dict(limits or {})
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._partitions: dict[str, int] = {}
        self._bytes = 0  # unacked
        self._kept = Refused(self._write, log)
        self._acked_s = 0.0  # when an ack came last, or nothing was unacked
        self._stalled_ms = 0  # since when (Unix) acks are missing, 0 if they are not
        self._error = ""  # the client's latest
        self._errors = 0  # told of in the present poll

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
        if self._kept.topics and topic in self._kept.topics:
            self._kept.queue(topic, (key, content, headers, acked, partition))
            return True
        if headers or size > SMALL_BYTES:
            acked = self._owned(size if size > SMALL_BYTES else 0, headers, acked)
        try:
            if headers:
                self._producer.produce(topic, content, key, partition, acked, headers=headers)  # type: ignore[arg-type]
            else:
                self._producer.produce(topic, content, key, partition, acked)
        except (BufferError, KafkaException) as error:
            refused = self._unwritten(error)
            if refused.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._bytes -= size if size > SMALL_BYTES else 0
                return False
            if not refused.fatal():
                self._loop.call_soon(acked, refused, _Unsent(topic, key, content, partition))
        if self._timer is None:
            self._start_collecting()
        return True

    def _owned(self, size: int, headers: Headers, acked: Acked) -> Acked:
        """Count the bytes of a record until its ack, and keep its headers: the client does not give them back."""
        self._bytes += size

        def settled(refused: object, record: object) -> None:
            self._bytes -= size
            if refused is not None and headers:
                self.refused(refused, record, acked, headers)
            else:
                acked(refused, record)

        return settled

    def _unwritten(self, error: BufferError | KafkaException) -> KafkaError:
        """Return why a record could not even be queued; what the producer cannot go on after is fatal."""
        if not isinstance(error, BufferError):
            found: KafkaError = error.args[0]
            if found.fatal():
                self._fatal(BrokerError(f"the producer cannot go on: {found.str()}"))
            return found
        self._fatal(BrokerError(f"the producer's queue of {QUEUE_RECORDS} records overflowed: {error}"))
        return KafkaError(KafkaError._QUEUE_FULL, fatal=True)  # noqa: SLF001 - the client's public name for it

    def refused(self, why: object, record: object, acked: Acked, headers: Headers | None = None) -> None:
        """See ports.Producer."""
        assert isinstance(why, KafkaError)
        assert isinstance(record, (Message, _Unsent))
        if why.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001 - public names
            return
        topic = record.topic() or ""
        if why.fatal() or why.code() == KafkaError._FATAL:  # noqa: SLF001
            self._fatal(BrokerError(f"Kafka refuses a record for {topic}: {why.str()}"))
            return
        place = record.partition()
        key, content = record.key(), record.value()
        assert not isinstance(key, str)
        assert not isinstance(content, str)
        self._kept.keep(topic, (key, content, headers or [], acked, -1 if place is None else place), why)

    def _write(self, topic: str, record: Unwritten) -> KafkaError | None:
        """Write once more what was refused; return why it cannot even be queued."""
        key, content, headers, acked, partition = record
        try:
            self._producer.produce(topic, content, key, partition, acked, headers=headers or None)  # type: ignore[arg-type]
        except (BufferError, KafkaException) as error:
            return self._unwritten(error)
        if self._timer is None:
            self._start_collecting()
        return None

    def full(self) -> bool:
        """See ports.Producer."""
        if self._kept.topics or self._stalled_ms:
            return True
        return self._bytes > FULL_BYTES or len(self._producer) > FULL_RECORDS

    def halts(self) -> list[Halt]:
        """Say what is not written, and why. May be called in any thread."""
        halts = self._kept.halts()
        if self._stalled_ms:
            why = f"Kafka does not acknowledge it{self._error and f' ({self._error})'}"
            halts.append(Halt("writing", self._stalled_ms, why, 0))
        return halts

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
        while (len(self._producer) or self._kept.topics) and self._loop.time() < deadline_s:
            self._poll()
            await asyncio.sleep(ACK_POLL_S)
        self._poll()
        return len(self._producer) + len(self._kept)

    def close(self) -> None:
        """Stop collecting acks; what is unacked stays so, and nothing that depends on it was committed."""
        if self._timer is not None:
            self._timer.cancel()
        self._kept.close()
        self._producer.purge()

    def _start_collecting(self) -> None:
        self._acked_s = self._loop.time()
        self._timer = self._loop.call_later(ACK_POLL_S, self._collect)

    def _collect(self) -> None:
        self._timer = None
        acks = self._poll()
        left = len(self._producer)
        self._notice(moving=acks > 0 or not left)
        if left:
            self._timer = self._loop.call_later(ACK_POLL_S, self._collect)

    def _notice(self, *, moving: bool) -> None:
        """Find out whether acks are missing for too long, and tell of it once."""
        now_s = self._loop.time()
        if moving:
            self._acked_s = now_s
            if self._stalled_ms:
                self._stalled_ms, self._error = 0, ""
                self._log("info", "writes_acknowledged")
        elif not self._stalled_ms and now_s - self._acked_s > STALLED_S:
            self._stalled_ms = time.time_ns() // 1_000_000 - round(STALLED_S * 1_000)
            self._log("error", "writes_unacknowledged", code=self._error)

    def _poll(self) -> int:
        """Serve acks; return how many there were. An error the client tells of is served, too, and is none."""
        self._errors = 0
        try:
            return self._producer.poll(0) - self._errors
        except Exception as error:  # noqa: BLE001 - an exception in an ack callback: nothing after it can be trusted
            self._fatal(error)
            return 0

    def _on_error(self, error: KafkaError) -> None:
        self._errors += 1
        self._error = error.name()
        self._log("warning", "broker_error", role="producer", code=self._error)
        if error.fatal():
            self._fatal(BrokerError(f"the producer cannot go on: {error.str()}"))


class _Unsent:
    """A record that was not even queued, told of like one that was refused."""

    __slots__ = ("_content", "_key", "_partition", "_topic")

    def __init__(self, topic: str, key: bytes | None, content: bytes | None, partition: int) -> None:
        self._topic, self._key, self._content, self._partition = topic, key, content, partition

    def topic(self) -> str:
        return self._topic

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._content

    def partition(self) -> int:
        return self._partition


def _size(key: bytes | None, content: bytes | None, headers: Headers) -> int:
    """Bound a record's size in a batch of one (KIP-98 format: at most 91 bytes of framing, 10 a header)."""
    size = len(key or b"") + len(content or b"") + 100
    for name, text in headers:
        size += len(name) + len(text) + 10
    return size
