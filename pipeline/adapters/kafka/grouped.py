"""How librdkafka is told to consume in a group, under either of Kafka's protocols, and what no worker gets over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TUNING: Final[dict[str, str | int | bool]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "partition.assignment.strategy": "cooperative-sticky",
    "queued.min.messages": 500,
    "queued.max.messages.kbytes": 8_192,
    "fetch.queue.backoff.ms": 5,
    "fetch.wait.max.ms": 100,
    # Of compressed bytes: a first fetch of 1 MB (the default) from each of 8 partitions cost 40 MB of memory, 128 KiB
    # and 2,000 messages of each still 5 MB more than these.
    "max.partition.fetch.bytes": 65_536,
    "enable.partition.eof": False,
    "isolation.level": "read_committed",
    # Heartbeats have a thread of their own in librdkafka, so a short session only means that a dead worker is missed
    # sooner: its partitions move after 15 s instead of 45.
    "session.timeout.ms": 15_000,
    "heartbeat.interval.ms": 3_000,
}

BROKER_DECIDES: Final = ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms")
"""Under `group.protocol=consumer` (KIP-848), where librdkafka refuses to be told them."""

PROTOCOL_HINT: Final = (
    "; group_protocol: consumer needs Kafka 4.0 or later and a group without workers that use classic: stop all of "
    "them before it is changed"
)


def grouped(settings: Mapping[str, str]) -> dict[str, str | int | bool]:
    """Return librdkafka's settings of a consumer in a group: TUNING, and `settings` over it."""
    broker_decides = BROKER_DECIDES if _kip_848(settings) else ()
    return {**{key: content for key, content in TUNING.items() if key not in broker_decides}, **settings}


def refusal(error: KafkaError, settings: Mapping[str, object], role: str, topics: Sequence[str]) -> str:
    """Return why a worker cannot go on after an error that a consumer was handed, "" if that passes by itself."""
    code = error.code()
    if code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the client's public name for it
        return (
            f"the committed offset of {', '.join(topics)} no longer exists on the broker (retention deleted "
            "it, the topic was made anew, or its log lost what was newest); choose a new start with "
            "kafka-consumer-groups --reset-offsets"
        )
    # As a message a fatal error is not marked as one, and what is handed out after it is nothing, for ever.
    fatal = error.fatal() or code == KafkaError._FATAL  # noqa: SLF001 - as above
    if fatal or code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
        return f"Kafka refuses the {role} consumer: {error.str()}{PROTOCOL_HINT if _kip_848(settings) else ''}"
    return ""


def _kip_848(settings: Mapping[str, object]) -> bool:
    return settings.get("group.protocol") == "consumer"
