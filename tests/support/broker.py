"""What tests ask of any broker: topics, the records in them, and what a group has committed."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Producer,
)
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from confluent_kafka.cimpl import NewTopic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from confluent_kafka import Message

T = TypeVar("T")

REQUEST_TIMEOUT_S = 20.0
READ_TIMEOUT_S = 30.0
ACK_TIMEOUT_S = 120.0
"""Longest wait for records to be acked: a broker may be down meanwhile, and starts slowly on a busy machine."""
BATCH_RECORDS = 1_000
LOADING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE,
)  # fmt: skip
"""What a broker answers that has just started, until it has taken up its groups and partitions."""


@dataclass(frozen=True)
class Stored:
    """One record as it lies on a topic. `timestamp_ms` is Unix time in milliseconds."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int

    def header(self, name: str) -> str | None:
        """Text of the last header of that name, or None."""
        found = [content for key, content in self.headers if key == name]
        return found[-1].decode() if found and found[-1] is not None else None


@dataclass(frozen=True)
class Outgoing:
    """One record to be produced; `partition` -1 lets the key decide, `timestamp_ms` 0 means now."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = field(default=())
    partition: int = -1
    timestamp_ms: int = 0


class Broker:
    """A Kafka reached under `bootstrap` with librdkafka `settings`. Calls block, at most for the timeouts above."""

    replication = 1
    """Replicas of the topics made here."""

    def __init__(self, bootstrap: str, settings: Mapping[str, str] | None = None) -> None:
        self.bootstrap = bootstrap
        self.settings = {"bootstrap.servers": bootstrap, **(settings or {})}

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> str:
        """Create a topic and return its name once every partition has a leader; config keys with `_` for `.`."""
        overrides = {key.replace("_", "."): value for key, value in config.items()}
        admin = AdminClient(dict(self.settings))
        topic = NewTopic(name, num_partitions=partitions, replication_factor=self.replication, config=overrides)
        admin.create_topics([topic], operation_timeout=REQUEST_TIMEOUT_S)[name].result(REQUEST_TIMEOUT_S)
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while time.monotonic() < deadline:
            seen = admin.list_topics(name, timeout=REQUEST_TIMEOUT_S).topics[name]
            if seen.error is None and len(seen.partitions) == partitions:
                return name
        raise AssertionError(f"topic {name} has no leaders after {REQUEST_TIMEOUT_S:g} s")

    def alter_topic(self, name: str, **config: str) -> None:
        """Change a topic's configuration; keys with `_` for `.`."""
        entries = [
            ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for key, value in config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        admin = AdminClient(dict(self.settings))
        admin.incremental_alter_configs([resource])[resource].result(REQUEST_TIMEOUT_S)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until the broker has agreed."""
        admin = AdminClient(dict(self.settings))  # kept until the answer is here
        admin.delete_topics([name])[name].result(REQUEST_TIMEOUT_S)

    def partitions(self, topic: str) -> list[int]:
        """Partition numbers of a topic; empty if there is no such topic."""
        seen = AdminClient(dict(self.settings)).list_topics(topic, timeout=REQUEST_TIMEOUT_S).topics[topic]
        return sorted(seen.partitions)

    def produce(self, topic: str, records: Iterable[Outgoing | bytes]) -> list[tuple[int, int]]:
        """Produce in order and return each record's (partition, offset) once the broker has acked them all."""
        producer = Producer(
            {
                **self.settings,
                "linger.ms": 1,
                "topic.metadata.propagation.max.ms": 2_000,
                "enable.idempotence": True,
                "message.max.bytes": 16_000_000,
            }
        )
        places: dict[int, tuple[int, int]] = {}
        failures: list[object] = []
        for number, item in enumerate(records):
            record = Outgoing(item) if isinstance(item, bytes) else item

            def acked(error: object, message: Message, number: int = number) -> None:
                if error is not None:
                    failures.append(error)
                places[number] = (message.partition() or 0, message.offset() or 0)

            while True:
                try:
                    producer.produce(
                        topic,
                        value=record.value,
                        key=record.key,
                        headers=list(record.headers),
                        partition=record.partition,
                        timestamp=record.timestamp_ms,
                        on_delivery=acked,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        left = producer.flush(ACK_TIMEOUT_S)
        assert left == 0, f"{left} records not acked within {ACK_TIMEOUT_S:g} s"
        assert not failures, failures[:3]
        return [places[number] for number in sorted(places)]

    def records(self, topic: str, timeout_s: float = READ_TIMEOUT_S) -> list[Stored]:
        """Every record on the topic at the time of the call, by partition and offset; no group is involved."""
        ends = self.ends(topic)
        found: list[Stored] = []
        consumer = self._reader()
        try:
            open_ends = {partition: end for partition, (start, end) in ends.items() if end > start}
            consumer.assign([Position(topic, partition, ends[partition][0]) for partition in open_ends])
            deadline = time.monotonic() + timeout_s
            while open_ends:
                if time.monotonic() > deadline:
                    raise AssertionError(f"{topic} not read whole within {timeout_s:g} s; open: {open_ends}")
                batch = consumer.consume(BATCH_RECORDS, 0.1)
                found.extend(stored(message) for message in batch if message.error() is None)
                for position in consumer.position([Position(topic, partition) for partition in open_ends]):
                    if position.offset >= open_ends[position.partition]:
                        del open_ends[position.partition]
        finally:
            consumer.close()
        bound = {partition: end for partition, (_, end) in ends.items()}
        kept = [record for record in found if record.offset < bound[record.partition]]
        return sorted(kept, key=lambda record: (record.partition, record.offset))

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """First offset and the one after the last, by partition."""
        consumer = self._reader()

        def of(partition: int) -> tuple[int, int]:
            return consumer.get_watermark_offsets(Position(topic, partition), timeout=REQUEST_TIMEOUT_S)

        try:
            return {
                partition: self._once_loaded(lambda partition=partition: of(partition))
                for partition in self.partitions(topic)
            }
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, tuple[int, str]]:
        """(next offset, metadata) a group has committed, by partition; partitions without a commit are left out."""
        asked = [Position(topic, partition) for partition in self.partitions(topic)]
        # Not AdminClient.list_consumer_group_offsets: while the coordinator loads, it crashes the process (librdkafka).
        reader = Consumer({**self.settings, "group.id": group, "enable.auto.commit": False, "log_level": 0})
        try:
            positions = self._once_loaded(lambda: reader.committed(asked, timeout=REQUEST_TIMEOUT_S))
        finally:
            reader.close()
        return {
            position.partition: (position.offset, position.metadata or "")
            for position in positions
            if position.offset != OFFSET_INVALID
        }

    def commit(self, group: str, topic: str, offsets: Mapping[int, tuple[int, str]]) -> None:
        """Set what a group without members has committed: (next offset, metadata) by partition."""
        positions = [Position(topic, partition, offset, note) for partition, (offset, note) in offsets.items()]
        member_of_none = Consumer({**self.settings, "group.id": group, "enable.auto.commit": False, "log_level": 0})
        try:
            self._once_loaded(lambda: member_of_none.commit(offsets=positions, asynchronous=False) or [])
        finally:
            member_of_none.close()

    def group_protocol(self, group: str) -> str:
        """How the members of a group share partitions: `classic` or `consumer` (KIP-848)."""
        admin = AdminClient(dict(self.settings))
        listed = admin.list_consumer_groups(request_timeout=REQUEST_TIMEOUT_S).result(REQUEST_TIMEOUT_S).valid
        (found,) = [each.type.name.lower() for each in listed if each.group_id == group]
        return str(found)

    def members(self, group: str) -> int:
        """How many members a group has, as its coordinator sees it."""
        admin = AdminClient(dict(self.settings))
        asked = admin.describe_consumer_groups([group], request_timeout=REQUEST_TIMEOUT_S)
        return len(asked[group].result(REQUEST_TIMEOUT_S).members)

    def lag(self, group: str, topic: str) -> int:
        """Records of the topic the group has not committed yet; a partition without a commit counts whole."""
        committed = self.committed(group, topic)
        return sum(
            end - committed.get(partition, (start, ""))[0] for partition, (start, end) in self.ends(topic).items()
        )

    def reachable(self, timeout_s: float = 2.0) -> bool:
        """Whether the broker answers a metadata request."""
        try:
            return bool(AdminClient({**self.settings, "log_level": "0"}).list_topics(timeout=timeout_s).brokers)
        except KafkaException:
            return False

    def _once_loaded(self, ask: Callable[[], T]) -> T:
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        while True:
            try:
                return ask()
            except KafkaException as error:
                if error.args[0].code() not in LOADING or time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _reader(self) -> Consumer:
        return Consumer(
            {
                **self.settings,
                "group.id": f"reader-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": 16_000_000,
                "fetch.wait.max.ms": 10,
            }
        )


def stored(message: Message) -> Stored:
    """A consumed message as a value."""
    found = message.headers() or []
    pairs = found.items() if isinstance(found, dict) else found
    headers = tuple((name, content.encode() if isinstance(content, str) else content) for name, content in pairs)
    return Stored(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=message.key(),
        value=message.value(),
        headers=headers,
        timestamp_ms=message.timestamp()[1],
    )
