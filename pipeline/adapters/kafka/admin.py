"""Asks Kafka about topics, offsets and groups, and creates topics. Blocking; every question is bounded by 10 s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package's own names, not in its stubs' __all__
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from pipeline.errors import BrokerError, TopicMissing
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from concurrent.futures import Future

REQUEST_S: Final = 10.0
"""Bound on one question."""
GRACE_S: Final = 2.0
"""How much longer we wait for librdkafka to say that its bound has passed."""

_T = TypeVar("_T")
_Position = tuple[str, int]
_UNKNOWN: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)  # noqa: SLF001 - public in librdkafka
_NO_GROUP: Final = (KafkaError.GROUP_ID_NOT_FOUND, KafkaError.COORDINATOR_NOT_AVAILABLE)


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
        self._trouble: list[str] = []
        # librdkafka would print what goes wrong; it is raised instead, once.
        quiet: dict[str, Any] = {"log_level": 0, "error_cb": lambda error: self._trouble.append(error.str())}
        self._client = AdminClient({**settings, **quiet})

    def partitions(self) -> dict[str, int]:
        """Return the partition count of every topic there is."""
        topics = self._metadata()
        return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}

    def topics(self, names: Iterable[str]) -> dict[str, TopicState]:
        """Describe those of `names` that exist."""
        known = self._metadata()
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

    def committed(self, group: str) -> dict[_Position, int]:
        """Return the next offset of every partition the group has committed; empty for a group that never was."""
        asked = [ConsumerGroupTopicPartitions(group)]
        future = self._client.list_consumer_group_offsets(asked, request_timeout=REQUEST_S)[group]
        try:
            answer = self._answer(future)
        except BrokerError as error:
            if _code(error) in _NO_GROUP:
                return {}
            raise
        found: dict[_Position, int] = {}
        for each in answer.topic_partitions or ():
            if each.error is not None:
                raise self._refusal(KafkaException(each.error))
            if each.offset >= 0:
                found[each.topic, each.partition] = each.offset
        return found

    def watermarks(self, names: Sequence[str]) -> dict[_Position, tuple[int, int]]:
        """Return `(first offset, end offset)` of every partition of these topics; raises TopicMissing."""
        known = self._metadata()
        missing = tuple(name for name in names if name not in known or known[name].error is not None)
        if missing:
            raise TopicMissing(missing)
        keys = [(name, partition) for name in names for partition in known[name].partitions]
        first = self._offsets(keys, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        end = self._offsets(keys, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {key: (first[key], end[key]) for key in keys}

    def group(self, group: str) -> GroupState:
        """Describe a consumer group and its members."""
        future = self._client.describe_consumer_groups([group], request_timeout=REQUEST_S)[group]
        try:
            found = self._answer(future)
        except BrokerError as error:
            if _code(error) in _NO_GROUP:
                return GroupState("absent", ())
            raise
        members = tuple(
            Member(each.client_id, each.host, tuple((one.topic, one.partition) for one in _owned(each)))
            for each in found.members
        )
        if found.state is ConsumerGroupState.DEAD and not members:
            return GroupState("absent", ())
        return GroupState(found.state.name.lower(), members)

    # ------------------------------------------------------------------------------------------ questions

    def _metadata(self) -> dict[str, Any]:
        try:
            return self._client.list_topics(timeout=REQUEST_S).topics
        except KafkaException as error:
            raise self._refusal(error) from error

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
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
            detail = self._trouble[-1] if self._trouble else cause.str()
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
