"""What `destinations/NAME.yaml` may say: one system, how to call it, its limits and its operations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from pipeline.config.auth import HEADER_PATTERN, Auth, BaseUrl, Sign, Tls, plain_header_name
from pipeline.config.operation import Operation  # noqa: TC001 - pydantic reads annotations at run time
from pipeline.config.proxy import ProxyUrl  # noqa: TC001 - pydantic reads annotations at run time
from pipeline.config.section import (
    DurationMs,
    Items,
    Line,
    Name,
    Network,
    RatePerS,
    Section,
    Share,
    Shown,
    SizeBytes,
    none_word,
    refuse,
)

OPERATIONS_MAX: Final = 64
QUEUE_MAX: Final = 100_000
CONCURRENCY_MAX: Final = 10_000
ADAPTIVE_MAX: Final = 64
"""Up to how many requests in flight an adaptive lane goes when nothing is said."""
ATTEMPTS_MAX: Final = 100
TIMEOUT_MAX_MS: Final = 300_000
RESPONSE_BYTES_MAX: Final = 16 * 1024 * 1024
EXCERPT_BYTES_MAX: Final = 16 * 1024

PersonalClass = Literal["identifier", "contact", "free_text"]
StatusVerdict = Literal["delivered", "rejected", "retry", "hold", "disable"]


class ConcurrencyLimit(NamedTuple):
    """The most requests in flight at once; an `adaptive` lane finds out how many of them to use."""

    most: int
    adaptive: bool


def _concurrency(given: object) -> ConcurrencyLimit:
    if isinstance(given, ConcurrencyLimit):
        return given
    most, adaptive = given, False
    if isinstance(given, Mapping):
        within = given.get("adaptive")
        if set(given) != {"adaptive"} or not isinstance(within, Mapping) or set(within) - {"max"}:
            refuse("must be a whole number or {adaptive: {max: NUMBER}}")
        most, adaptive = within.get("max", ADAPTIVE_MAX), True
    if not isinstance(most, int) or isinstance(most, bool):
        refuse("must be a whole number", "or {adaptive: {max: NUMBER}}")
    if not 1 <= most <= CONCURRENCY_MAX:
        refuse("must be at least 1" if most < 1 else f"must be at most {CONCURRENCY_MAX}")
    return ConcurrencyLimit(most, adaptive)


def _concurrency_text(limit: ConcurrencyLimit) -> str:
    return f"{{adaptive: {{max: {limit.most}}}}}" if limit.adaptive else str(limit.most)


_NUMBER_SCHEMA: Final = {"type": "integer", "minimum": 1, "maximum": CONCURRENCY_MAX}
Concurrency = Annotated[
    ConcurrencyLimit,
    BeforeValidator(_concurrency),
    WithJsonSchema(
        {"anyOf": [_NUMBER_SCHEMA, {
            "type": "object", "additionalProperties": False, "required": ["adaptive"],
            "properties": {"adaptive": {"type": "object", "additionalProperties": False,
                                        "properties": {"max": _NUMBER_SCHEMA}}},
        }]}
    ),
    Shown(f"number, 1 to {CONCURRENCY_MAX}, or `{{adaptive: {{max: NUMBER}}}}`", _concurrency_text),
]  # fmt: skip


class Limits(Section):
    """What the destination can take."""

    rate: RatePerS | None = Field(None, alias="rate", description="Requests a second, of the whole fleet.")
    concurrency: Concurrency = Field(
        ConcurrencyLimit(ADAPTIVE_MAX, adaptive=True),
        description="Requests in flight at once, per worker: a fixed number, or as many as the destination answers "
        "without queueing them.",
    )
    queue: int = Field(
        1_000, ge=1, le=QUEUE_MAX, description="First attempts that wait, and as many retries, per worker."
    )


class Breaker(Section):
    """When to leave a failing destination alone."""

    failures: Share = Field(0.5, description="Share of failed attempts that opens the breaker.")
    of: int = Field(20, ge=1, le=10_000, description="How many of the last attempts that share is taken of.")
    open_ms: DurationMs = Field(30_000, alias="open", description="How long it stays open; doubles each time.")
    open_max_ms: DurationMs = Field(600_000, alias="open_max", description="The longest it stays open.")

    @model_validator(mode="after")
    def _order(self) -> Breaker:
        if self.open_max_ms < self.open_ms:
            refuse("`open_max` must not be shorter than `open`")
        return self


class Retry(Section):
    """How often and how long a failed delivery is tried again."""

    max_attempts: int = Field(8, ge=1, le=ATTEMPTS_MAX, description="Attempts in all; parked and held tries are none.")
    max_age_ms: DurationMs = Field(
        86_400_000, alias="max_age", description="Oldest event that is tried again; a step's shorter `max_age` wins."
    )
    ambiguous: Literal["retry", "dead"] | None = Field(
        None,
        description="What becomes of a request that was sent and not answered. "
        "Default `retry`, with `idempotency: none` `dead`.",
    )


class Data(Section):
    """Where the destination keeps what it is sent; for the governance page."""

    region: Line | None = Field(None, description="Region the data is kept in.")
    retention: DurationMs | None = Field(None, description="How long the destination keeps it.")


def _idempotency(given: object) -> object:
    if not isinstance(given, str) or (
        given not in ("delivery_id", "none") and not re.fullmatch(r"header:" + HEADER_PATTERN[1:-1], given)
    ):
        refuse("must be delivery_id, header:NAME or none")
    if given.startswith("header:"):
        plain_header_name(given.removeprefix("header:"))
    return given


def _status(given: object) -> object:
    if isinstance(given, bool) or not isinstance(given, int) or not 200 <= given <= 599:  # noqa: PLR2004 - RFC 9110
        refuse("must be an HTTP status from 200 to 599")
    return given


Status = Annotated[int, BeforeValidator(_status)]


class DestinationConfig(Section):
    """One system, called over HTTP: one lane, however many operations."""

    name: Name = Field(alias="destination", description="Name of the destination; equals the file name.")
    owner: Line = Field(description="Who answers for it.")
    base_url: BaseUrl = Field(
        description="Where it is. `env:NAME` takes it from the environment, `{secret, host}` is for a URL that is the "
        "credential. Plain http needs `private_networks`."
    )
    receives: Items[PersonalClass] = Field(
        description="Classes of personal data that may be sent; others are refused. `public` always may."
    )
    data: Data = Field(Data.model_validate({}), description="Where it keeps data.")
    private_networks: Items[Network] = Field((), description="Private networks that may be called.")
    auth: Annotated[Auth | None, BeforeValidator(none_word, json_schema_input_type=Auth | Literal["none"])] = Field(
        None, description="How requests say who we are."
    )
    tls: Tls = Field(Tls.model_validate({}), description="Whom to trust, and who we are.")
    proxy: ProxyUrl = Field(
        "none", description="HTTP proxy on the way there. `env`: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` say."
    )
    sign: Annotated[Sign | None, BeforeValidator(none_word, json_schema_input_type=Sign | Literal["none"])] = Field(
        None, description="How requests are signed."
    )
    idempotency: Annotated[
        str,
        BeforeValidator(_idempotency),
        WithJsonSchema({"type": "string"}),
        Shown("`delivery_id`, `header:NAME` or `none`"),
    ] = Field(description="Whether it drops a repeat, and by what: `webhook-id`, a header of that name, or not at all.")
    timeout_ms: DurationMs = Field(
        10_000, alias="timeout", description="Longest a whole exchange may take, at most 5m."
    )
    limits: Limits = Field(Limits.model_validate({}), description="What it can take.")
    breaker: Breaker = Field(Breaker.model_validate({}), description="When it is left alone.")
    retry: Retry = Field(
        Retry.model_validate({}), description="How often and how long a failed delivery is tried again."
    )
    on_status: Mapping[Status, StatusVerdict] = Field(
        default={}, description="Verdicts that differ from the rules, by status."
    )
    response_bytes_max: SizeBytes = Field(
        65_536, description="Longest response that is read, after decompression; at most 16MiB."
    )
    retain_excerpt: SizeBytes = Field(
        0, description="How much of an error response is kept in a dead letter; at most 16KiB. May hold anything."
    )
    operations: Mapping[Name, Operation] = Field(
        min_length=1, max_length=OPERATIONS_MAX, description="The requests it takes, by name."
    )

    @field_validator("timeout_ms")
    @classmethod
    def _timeout(cls, timeout_ms: int) -> int:
        if timeout_ms > TIMEOUT_MAX_MS:
            refuse("must be at most 5m")
        return timeout_ms

    @field_validator("response_bytes_max")
    @classmethod
    def _response(cls, size: int) -> int:
        if size > RESPONSE_BYTES_MAX:
            refuse("must be at most 16MiB")
        return size

    @field_validator("retain_excerpt")
    @classmethod
    def _excerpt(cls, size: int) -> int:
        if size > EXCERPT_BYTES_MAX:
            refuse("must be at most 16KiB")
        return size

    @property
    def drops_repeats(self) -> bool:
        """Whether a repeated request does no harm."""
        return self.idempotency != "none"

    @property
    def idempotency_header(self) -> str:
        """Name of the extra header that carries the delivery ID, or ""."""
        return self.idempotency.partition(":")[2]

    @property
    def retries_ambiguous(self) -> bool:
        """Whether a request that was sent and not answered is sent again."""
        return self.drops_repeats if self.retry.ambiguous is None else self.retry.ambiguous == "retry"
