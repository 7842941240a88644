"""Asks Kafka about topics, offsets and groups, and creates topics. Blocking; every question is bounded by 10 s."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package's own names, not in its stubs' __all__
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from pipeline.adapters.kafka.embedded import is_embedded
from pipeline.adapters.kafka.trouble import Trouble
from pipeline.errors import BrokerError, TopicMissing
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

REQUEST_S: Final = 10.0
"""Bound on one question."""
AGAIN_S: Final = 0.2
"""How soon a coordinator that is only starting is asked again; for REQUEST_S in all."""
GRACE_S: Final = 2.0
"""How much longer we wait for librdkafka to say that its bound has passed."""

_T = TypeVar("_T")
_Position = tuple[str, int]
_UNKNOWN: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)  # noqa: SLF001 - public in librdkafka
_SETTLING: Final = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
)
"""A broker or topic that is new, a group or partition that moves: asked again, the broker knows."""


@value
class TopicState:
    """One topic as the broker has it. `configs` are the effective values, defaults included."""

    partitions: int
    replicas: int
    configs: Mapping[str, str]


@value
class Member:
    """One member of a consumer group and the partitions it owns."""

    client_id: str
    host: str
    partitions: tuple[_Position, ...]


@value
class GroupState:
    """A consumer group. `state` is Kafka's word in lower case; "absent" for a group that never was."""

    state: str
    members: tuple[Member, ...]


class Admin:
    """One connection to the brokers for questions. Raises BrokerError when they do not answer or refuse."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Connect lazily. `settings` as for every client: bootstrap.servers, security.protocol, ..."""
        self._trouble = Trouble()
        # librdkafka would print what goes wrong; it is raised instead, once.
        self._quiet: dict[str, Any] = {"log_level": 0, "error_cb": self._trouble.note}
        self._settings = dict(settings)
        self._client = AdminClient({**settings, **self._quiet})

    def partitions(self) -> dict[str, int]:
        """Return the partition count of every topic there is."""
        topics = self._metadata().topics
        return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}

    def cluster_id(self) -> str:
        """Return the cluster's ID, "" if it has none."""
        return self._metadata().cluster_id or ""

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Describe those of `names` that exist."""
        known = self._metadata().topics
        there = [name for name in dict.fromkeys(names) if name in known and known[name].error is None]
        configs = self._configs(there)
        states = {}
        for name in there:
            partitions = known[name].partitions
            replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
            states[name] = TopicState(len(partitions), replicas, configs.get(name, {}))
        return states

    def max_message_bytes(self, names: Iterable[str]) -> dict[str, int]:
        """Return each topic's `max.message.bytes`; topics whose broker cannot tell (an embedded one) are left out."""
        configs = self._configs(list(names))
        key = "max.message.bytes"
        return {name: int(found[key]) for name, found in configs.items() if key in found}

    def create(self, name: str, partitions: int, configs: Mapping[str, str]) -> bool:
        """Create a topic with the broker's own replication factor; False when it exists already."""
        new = NewTopic(name, num_partitions=partitions, replication_factor=-1, config=dict(configs))
        future = self._client.create_topics([new], operation_timeout=REQUEST_S, request_timeout=REQUEST_S)[name]
        try:
            self._answer(future)
        except BrokerError as error:
            if _code(error) == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise
        return True

    def delete(self, names: Sequence[str]) -> None:
        """Delete topics and all that is in them; those that are gone already are no error."""
        if not names:
            return
        asked = self._client.delete_topics(list(names), operation_timeout=REQUEST_S, request_timeout=REQUEST_S)
        for future in asked.values():
            try:
                self._answer(future)
            except BrokerError as error:
                if _code(error) not in _UNKNOWN:
                    raise

    def committed(self, group: str, names: Sequence[str]) -> dict[_Position, int]:
        """Return the next offset of every partition of these topics the group has committed; raises TopicMissing.

        Asked as a consumer that never joins: librdkafka's ListConsumerGroupOffsets on a handle that is no consumer
        crashes the process when the coordinator is still loading (rd_kafka_handle_OffsetFetch calls rd_kafka_cgrp_op
        with no group; seen in 2.16.0).
        """
        asked = [TopicPartition(*key) for key in self._keys(names)]
        if not asked:
            return {}
        settings = {**self._settings, **self._quiet, "group.id": group, "enable.auto.commit": False}
        consumer = Consumer(settings)
        try:
            answer = self._coordinator(lambda: self._committed(consumer, asked)) or []
        finally:
            consumer.close()
        return {(each.topic, each.partition): each.offset for each in answer if each.offset >= 0}

    def _committed(self, consumer: Consumer, asked: list[TopicPartition]) -> list[TopicPartition]:
        try:
            answer = consumer.committed(asked, timeout=REQUEST_S)
        except KafkaException as error:
            raise self._refusal(error) from error
        for each in answer:
            if each.error is not None:
                raise self._refusal(KafkaException(each.error))
        return answer

    def watermarks(self, names: Sequence[str]) -> dict[_Position, tuple[int, int]]:
        """Return `(first offset, end offset)` of every partition of these topics; raises TopicMissing."""
        keys = self._keys(names)
        first = self._settled(lambda: self._offsets(keys, OffsetSpec.earliest()))  # type: ignore[no-untyped-call]
        end = self._settled(lambda: self._offsets(keys, OffsetSpec.latest()))  # type: ignore[no-untyped-call]
        return {key: (first[key], end[key]) for key in keys}

    def group(self, group: str) -> GroupState:
        """Describe a consumer group and its members."""
        found = self._coordinator(
            lambda: self._answer(self._client.describe_consumer_groups([group], request_timeout=REQUEST_S)[group])
        )
        if found is None:
            return GroupState("absent", ())
        members = tuple(
            Member(each.client_id, each.host, tuple((one.topic, one.partition) for one in _owned(each)))
            for each in found.members
        )
        if found.state is ConsumerGroupState.DEAD and not members:
            return GroupState("absent", ())
        return GroupState(found.state.name.lower(), members)

    def delete_before(self, offsets: Mapping[_Position, int]) -> None:
        """Delete each partition's records below an offset; an embedded broker, which cannot, is left alone."""
        if not offsets or is_embedded(self._metadata().cluster_id):
            return
        asked = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        for future in self._client.delete_records(asked, request_timeout=REQUEST_S).values():
            self._answer(future)

    # ------------------------------------------------------------------------------------------ questions

    def _keys(self, names: Sequence[str]) -> list[_Position]:
        known = self._metadata().topics
        missing = tuple(name for name in names if name not in known or known[name].error is not None)
        if missing:
            raise TopicMissing(missing)
        return [(name, partition) for name in names for partition in known[name].partitions]

    def _metadata(self) -> ClusterMetadata:
        try:
            return self._client.list_topics(timeout=REQUEST_S)
        except KafkaException as error:
            raise self._refusal(error) from error

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names or is_embedded(self._metadata().cluster_id):
            return {}  # an embedded broker knows no settings, and lets the question run into its bound
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found: dict[str, dict[str, str]] = {}
        for resource, future in self._client.describe_configs(asked, request_timeout=REQUEST_S).items():
            try:
                answer = self._answer(future)
            except BrokerError as error:
                if _code(error) == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001 - public in librdkafka
                    continue
                raise
            found[resource.name] = {key: entry.value for key, entry in answer.items() if entry.value is not None}
        return found

    def _offsets(self, keys: Sequence[_Position], spec: OffsetSpec) -> dict[_Position, int]:
        asked = {TopicPartition(*key): spec for key in keys}
        futures = self._client.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_S
        ) if asked else {}  # fmt: skip
        return {(key.topic, key.partition): self._answer(future).offset for key, future in futures.items()}

    def _coordinator(self, ask: Callable[[], _T]) -> _T | None:
        """Ask a group's coordinator; None: there is no such group."""
        try:
            return self._settled(ask)
        except BrokerError as error:
            if _code(error) == KafkaError.GROUP_ID_NOT_FOUND:
                return None
            raise

    def _settled(self, ask: Callable[[], _T]) -> _T:
        """Ask again, for REQUEST_S at most, while the broker is only not ready to answer."""
        deadline_s = time.monotonic() + REQUEST_S
        while True:
            try:
                return ask()
            except BrokerError as error:
                if _code(error) not in _SETTLING or time.monotonic() >= deadline_s:
                    raise
            time.sleep(AGAIN_S)

    def _answer(self, future: Future[_T]) -> _T:
        try:
            return future.result(REQUEST_S + GRACE_S)
        except KafkaException as error:
            raise self._refusal(error) from error
        except TimeoutError as error:
            raise BrokerError(f"Kafka did not answer within {REQUEST_S:.0f} s") from error

    def _refusal(self, error: KafkaException) -> BrokerError:
        """Say what Kafka said; for silence, also why librdkafka could not connect."""
        cause: KafkaError = error.args[0]
        if cause.code() in _UNKNOWN:
            refusal = BrokerError(f"no such topic: {cause.str()}")
        elif cause.code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):  # noqa: SLF001
            detail = self._trouble.why(self._client, cause)
            refusal = BrokerError(f"Kafka did not answer within {REQUEST_S:.0f} s: {detail}")
        else:
            refusal = BrokerError(f"Kafka refused: {cause.str()}")
        refusal.__cause__ = error
        return refusal


def _owned(member: Any) -> list[TopicPartition]:
    return list(member.assignment.topic_partitions) if member.assignment is not None else []


def _code(error: BrokerError) -> int | None:
    cause = error.__cause__
    return cause.args[0].code() if isinstance(cause, KafkaException) else None
