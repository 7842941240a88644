"""What `hookline.yaml` may say: topics, the mapping of records to events, and policies for all journeys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from pipeline.config import units
from pipeline.config.auth import Url  # noqa: TC001 - pydantic reads annotations at run time
from pipeline.config.contacting import CAPS_MAX, QUIET_HOURS_MAX, Cap, QuietHours
from pipeline.config.identity import EntryIdentity, Identity
from pipeline.config.lookup import LOOKUPS_MAX, Lookup
from pipeline.config.section import (
    DataClass,
    DurationMs,
    FieldPath,
    FileRef,
    Items,
    Label,
    Line,
    Name,
    SecretRef,
    Section,
    Share,
    Shown,
    Topic,
    refuse,
)

LIFECYCLE_EVENT: Final = "hookline.LifecycleEvent"
"""Full name of our own event record; its fields need no mapping."""

TIERS_MAX: Final = 10
TIER_MS_MIN: Final = 1_000
EVENTS_MAX: Final = 100

GROUP_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
RECORD_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"  # Avro 1.12, section Names

_KAFKA_PREFIXES: Final = ("security.", "sasl.", "ssl.", "client.", "socket.", "reconnect.backoff.", "broker.address.")
_KAFKA_KEYS: Final = ("message.max.bytes", "receive.message.max.bytes", "topic.metadata.refresh.interval.ms")
_KAFKA_OWN: Final = ("bootstrap", "group_protocol")
_KAFKA_SECRETS: Final = re.compile(r"^(.*(secret|password|passphrase)|.*key\.pem|sasl\.oauthbearer\.config)$")
_REFERENCE: Final = re.compile(r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*)$", re.ASCII)


def _pattern(pattern: str, message: str, hint: str = "") -> BeforeValidator:
    compiled = re.compile(pattern, re.ASCII)

    def validate(given: object) -> object:
        if not isinstance(given, str) or compiled.fullmatch(given) is None:
            refuse(message, hint)
        return given

    return BeforeValidator(validate, json_schema_input_type=str)


Group = Annotated[str, _pattern(GROUP_PATTERN, "must be a consumer group of letters, digits and . _ -"), Shown("text")]
GroupProtocol = Literal["classic", "consumer"]
RecordName = Annotated[str, _pattern(RECORD_PATTERN, "must be the full name of an Avro record"), Shown("Avro name")]


class KafkaSettings(Section):
    """librdkafka settings that are passed through as they are."""

    settings: Mapping[str, str] = Field(
        default={},
        description="Any librdkafka setting that starts with `security.`, `sasl.`, `ssl.`, `client.`, `socket.` or "
        "`reconnect.backoff.`, written beside `bootstrap`; passwords and keys as `env:NAME` or `file:PATH`.",
    )

    open_keys: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _pass_through(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        own = {key: part for key, part in given.items() if key in _KAFKA_OWN}
        return own | {"settings": {key: part for key, part in given.items() if key not in _KAFKA_OWN}}

    @field_validator("settings", mode="before")
    @classmethod
    def _settings(cls, given: Mapping[str, object]) -> object:
        for key, part in given.items():
            if flaw := cls.flaw(key, part):
                refuse(*flaw)
        return {key: str(part).lower() if isinstance(part, bool) else str(part) for key, part in given.items()}

    @classmethod
    def flaw(cls, key: str, given: object) -> tuple[str, str] | None:
        """Say why librdkafka's setting may not be passed through, or None if it may."""
        if not isinstance(key, str) or not (key.startswith(_KAFKA_PREFIXES) or key in _KAFKA_KEYS):
            return "is no Kafka setting that is passed through", "only " + ", ".join(_KAFKA_PREFIXES)
        if not isinstance(given, (str, int, float)):
            return "must be text or a number", ""
        if _KAFKA_SECRETS.match(key) and not _REFERENCE.match(str(given)):
            return "must be a reference to a secret, never the secret itself", "env:NAME or file:PATH"
        return None


class Kafka(KafkaSettings):
    """The brokers, and librdkafka settings that are passed through as they are."""

    bootstrap: Line = Field(description="`host:port, …` or `env:NAME`.")
    group_protocol: GroupProtocol = Field(
        "classic",
        description="How workers share partitions: `classic` (cooperative-sticky, any broker) or `consumer` "
        "(KIP-848, Kafka 4.0 or later; its timeouts are the broker's).",
    )


class Registry(Section):
    """A Schema Registry with Confluent's interface."""

    url: Url = Field(description="Base URL of its interface.")
    user: Line | None = Field(None, description="User of basic authentication, or `env:NAME`.")
    password: SecretRef | None = Field(None, description="Password of that user.")
    ca: FileRef | None = Field(None, description="PEM file of the authorities to trust; default the system's.")

    @model_validator(mode="after")
    def _pair(self) -> Registry:
        if (self.user is None) != (self.password is None):
            refuse("needs `user` and `password`, or neither")
        return self


class RetryTier(NamedTuple):
    """One retry topic's delay: as written in the topic's name, and in ms."""

    name: str
    ms: int


def _tier(given: object) -> RetryTier:
    if not isinstance(given, str):
        refuse("must be a duration such as 10s or 1h")
    try:
        ms = units.duration_ms(given)
    except ValueError as error:
        refuse(str(error))
    if ms < TIER_MS_MIN:
        refuse("must be at least 1s")
    return RetryTier(given, ms)


Tier = Annotated[
    RetryTier,
    BeforeValidator(_tier),
    WithJsonSchema({"type": "string", "pattern": units.DURATION_PATTERN}),
    Shown("duration", lambda tier: tier.name),
]


class Retention(Section):
    """How long our own topics keep what they are told."""

    retry: Literal["settled"] = Field("settled", description="Retry records are kept until they are settled.")
    dead_ms: DurationMs = Field(14 * 86_400_000, alias="dead", description="The dead topic.")
    outcomes_ms: DurationMs = Field(30 * 86_400_000, alias="outcomes", description="The outcomes topic.")
    memory_ms: DurationMs = Field(
        400 * 86_400_000, alias="memory", description="What is remembered of customers, at the longest."
    )


class EventMapping(Section):
    """How the records of one topic become events."""

    topic: Topic = Field(description="Input topic.")
    record: RecordName | None = Field(None, description="Full name of the Avro record; default: any record.")
    id: Line | None = Field(
        None, description="Event ID, the same each time the record is read; `position` is topic, partition and offset."
    )
    type: Line | None = Field(None, description="Event type.")
    time: Line | None = Field(None, description="When it happened.")
    customer: Mapping[str, Any] | None = Field(None, description="The customer; `id` is required.")
    consent: Mapping[str, Any] | None = Field(
        None, description="Consent flags that the event itself carries. Default none."
    )
    source: Mapping[str, Any] | None = Field(None, description="Where it came from. Default none.")
    properties: Mapping[str, Any] | None = Field(None, description="Everything else. Default none.")
    identity: EntryIdentity = Field(
        EntryIdentity.model_validate({}), description="Where it differs from `identity` of the whole file."
    )
    rekey: bool = Field(
        False,
        description="Where journeys remember, copy the topic's events under their customers' IDs first: for a topic "
        "whose keys are other ones. With several topics that is done without being said.",
    )

    @property
    def is_lifecycle_event(self) -> bool:
        """Whether the record is our own: parts that are left out (None) are its fields of the same name."""
        return self.record == LIFECYCLE_EVENT

    @model_validator(mode="after")
    def _complete(self) -> EventMapping:
        if self.is_lifecycle_event:
            return self
        missing = [part for part in ("id", "type", "time", "customer") if getattr(self, part) is None]
        if missing:
            refuse(
                "needs " + ", ".join(f"`{part}`" for part in missing), f"only {LIFECYCLE_EVENT} has fields of that name"
            )
        return self

    @model_validator(mode="after")
    def _customer_has_id(self) -> EventMapping:
        if self.customer is not None and "id" not in self.customer:
            refuse("`customer` needs `id`")
        return self


class Consent(Section):
    """When consent counts."""

    event_flag_max_age_ms: DurationMs = Field(
        86_400_000, alias="event_flag_max_age", description="How long a flag carried by an event counts, from its time."
    )
    table_lag_max_ms: DurationMs = Field(
        30_000, alias="table_lag_max", description="Tables that may be further behind let wait who needs consent."
    )
    skew_ms: DurationMs = Field(
        300_000, alias="skew", description="Of two words on consent that are no further apart the denial counts."
    )


class Alert(Section):
    """Somebody who is told of failures."""

    url: SecretRef = Field(description="Where: the URL of a chat, a mailbox, a pager; it is a secret.")
    digest_ms: DurationMs = Field(
        300_000, alias="digest", description="After the first message, all that follows in so much time is one message."
    )


class RejectionBrake(Section):
    """When a destination that rejects much is left alone, so that one mistake does not dead-letter the stream."""

    share: Share = Field(0.2, description="Share of rejected answers that opens the destination's breaker.")
    of: int = Field(100, ge=1, le=10_000, description="How many of the last answers that share is taken of.")


class IntakeBrake(Section):
    """When a worker stops taking up one input topic, so that one mistake does not dead-letter the stream."""

    share: Share = Field(
        0.05,
        description="Share of positions that end `undecodable`, `schema`, `config` or `bug` "
        "from which on the intake pauses.",
    )
    of: int = Field(
        1_000, ge=1, le=100_000, description="How many of the last positions that share is taken of, in each worker."
    )


class Brakes(Section):
    """When to stop rather than go on putting aside."""

    intake: IntakeBrake = Field(
        IntakeBrake.model_validate({}), description="Of each input topic, and of the retry topics together."
    )
    destination: RejectionBrake = Field(
        RejectionBrake.model_validate({}), description="Of each destination, beside its own `breaker`."
    )


class Telemetry(Section):
    """Traces and metrics."""

    sample: Share = Field(0.01, description="Share of traces that is kept; failed deliveries always are.")
    endpoint: Url | None = Field(
        None,
        description="OTLP/HTTP endpoint; default OpenTelemetry's environment variables. "
        "Nothing is exported without either.",
    )
    interval_ms: DurationMs = Field(10_000, alias="interval", description="How often metrics are exported.")


def _tiers() -> tuple[RetryTier, ...]:
    return tuple(RetryTier(text, units.duration_ms(text)) for text in ("10s", "1m", "10m", "1h", "6h"))


class HooklineFile(Section):
    """Topics, the mapping of records to events, and policies for all journeys."""

    group: Group = Field(description="Consumer group; also the prefix of our own topics.")
    kafka: Kafka = Field(description="The brokers.")
    registry: Registry | None = Field(None, description="Where writer schemas are found; default: in `schemas/` only.")
    state_dir: Line | None = Field(
        None,
        description="Folder on a local disk for the tables of consent and suppressions, and for what crashed; "
        "default `$STATE_DIRECTORY`, `$XDG_STATE_HOME/hookline` or `~/.local/state/hookline`, else a temporary one.",
    )
    retry_tiers: Items[Tier] = Field(
        _tiers(), min_length=1, max_length=TIERS_MAX, description="Delays of the retry topics, ascending."
    )
    retention: Retention = Field(Retention.model_validate({}), description="How long our own topics keep things.")
    events: Items[EventMapping] = Field(min_length=1, max_length=EVENTS_MAX, description="What becomes an event.")
    classes: Mapping[FieldPath, DataClass] = Field(
        default={},
        description="Personal-data class by event field, also of all below it; for the field itself it wins over the "
        "Avro attribute `hookline.class`, parts of it have both. `public` is not personal.",
    )
    lookups: Mapping[Name, Lookup] = Field(
        default={}, max_length=LOOKUPS_MAX, description="What other systems know of customers, by name."
    )
    identity: Identity = Field(Identity.model_validate({}), description="How identifiers are written.")
    purposes: Items[Name] = Field((), description="Purposes that journeys may name.")
    consent: Consent = Field(Consent.model_validate({}), description="When consent counts.")
    caps: Items[Cap] = Field((), max_length=CAPS_MAX, description="How often customers are contacted at most.")
    quiet_hours: Items[QuietHours] = Field(
        (), max_length=QUIET_HOURS_MAX, description="When customers are left in peace."
    )
    brakes: Brakes = Field(Brakes.model_validate({}), description="When much goes wrong.")
    telemetry: Telemetry = Field(Telemetry.model_validate({}), description="Traces and metrics.")
    alerts: Mapping[Label, Alert] = Field(default={}, description="Who can be told, by the name that journeys use.")

    @field_validator("state_dir")
    @classmethod
    def _absolute(cls, given: str | None) -> str | None:
        if given is not None and not given.startswith("/"):
            refuse("must be an absolute path")
        return given

    @field_validator("retry_tiers")
    @classmethod
    def _ascending(cls, tiers: tuple[RetryTier, ...]) -> tuple[RetryTier, ...]:
        if any(before.ms >= after.ms for before, after in pairwise(tiers)):
            refuse("must ascend, each delay once")
        return tiers
