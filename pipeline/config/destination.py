"""What `destinations/NAME.yaml` may say: one system, how to call it, its limits and its operations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from pipeline.config.section import (
    DurationMs,
    FileRef,
    Items,
    Later,
    Line,
    Name,
    Network,
    RatePerS,
    SecretRef,
    Section,
    Share,
    Shown,
    SizeBytes,
    none_word,
    refuse,
)

HEADER_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"  # RFC 9110, section 5.6.2: token
OPERATIONS_MAX: Final = 64
QUEUE_MAX: Final = 100_000
CONCURRENCY_MAX: Final = 10_000
ATTEMPTS_MAX: Final = 100
TIMEOUT_MAX_MS: Final = 300_000
RESPONSE_BYTES_MAX: Final = 16 * 1024 * 1024
PORT_MAX: Final = 65_535

PersonalClass = Literal["identifier", "contact", "free_text"]
DataClass = Literal["identifier", "contact", "free_text", "public"]
"""Classes of a field. `public` is not personal data and may be sent to every destination."""

StatusVerdict = Literal["delivered", "rejected", "retry", "hold"]

_OWN_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
     "trailer", "expect", "cookie", "user-agent", "traceparent", "tracestate", "baggage")
)  # fmt: skip
_CREDENTIAL_HEADERS: Final = frozenset(("authorization", "proxy-authorization"))


def base_url_flaw(url: str) -> str:
    """Say what is wrong with a base URL, or "" if nothing is. The URL itself is never quoted: it may be a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    flaws = (
        (not url.isascii() or not url.isprintable() or " " in url, "must be ASCII without spaces"),
        (
            parts.scheme not in ("http", "https") or not parts.hostname,
            "must start with https:// (or http:// for private networks) and name a host",
        ),
        ("@" in parts.netloc, "must not carry credentials; use auth"),
        ("?" in url or "#" in url, "must have no query and no fragment"),
        (port == 0, f"must have a port from 1 to {PORT_MAX}"),
    )
    return next((message for wrong, message in flaws if wrong), "")


def _base_url(given: object) -> object:
    if isinstance(given, Mapping) and "secret" in given:
        refuse("`{secret, host}` is not supported in this release", "write the URL, or env:NAME")
    if not isinstance(given, str):
        refuse("must be a URL or env:NAME")
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", given, re.ASCII) and (flaw := base_url_flaw(given)):
        refuse(flaw)
    return given


BaseUrl = Annotated[str, BeforeValidator(_base_url), WithJsonSchema({"type": "string"}), Shown("URL or `env:NAME`")]


def _header_name(given: object) -> object:
    if not isinstance(given, str) or not re.fullmatch(HEADER_PATTERN, given):
        refuse("must be an HTTP header name", "letters, digits and hyphens")
    lowered = given.lower()
    if lowered in _OWN_HEADERS or lowered.startswith(("webhook-", "hookline-")):
        refuse("is a header Hookline writes itself")
    return given


def _plain_header_name(given: object) -> object:
    if isinstance(given, str) and given.lower() in _CREDENTIAL_HEADERS:
        refuse("carries a credential", "secrets go through auth")
    return _header_name(given)


def _header_value(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be text", "put it in quotes")
    if not given.isascii() or not given.isprintable():
        refuse("must be printable ASCII on one line")
    if "${" in given:
        refuse("headers are literals", "values of the event go into the payload")
    return given


_HEADER_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": HEADER_PATTERN})
HeaderName = Annotated[str, BeforeValidator(_plain_header_name), _HEADER_SCHEMA, Shown("header")]
KeyHeader = Annotated[str, BeforeValidator(_header_name), _HEADER_SCHEMA, Shown("header")]
HeaderValue = Annotated[str, BeforeValidator(_header_value), WithJsonSchema({"type": "string"}), Shown("text")]


class ApiKey(Section):
    """A constant key in one header or one query parameter."""

    header: KeyHeader | None = Field(None, description="Name of the header that carries the key.")
    query: Line | None = Field(None, description="Name of the query parameter that carries the key.")
    value: SecretRef = Field(description="The key.")

    @model_validator(mode="after")
    def _one_place(self) -> ApiKey:
        if (self.header is None) == (self.query is None):
            refuse("needs exactly one of `header` and `query`")
        return self


class Bearer(Section):
    """A constant bearer token (RFC 6750)."""

    token: SecretRef = Field(description="The token, sent as `Authorization: Bearer TOKEN`.")


class Auth(Section):
    """How requests say who we are: exactly one way."""

    api_key: ApiKey | None = Field(None, description="A constant key in a header or query parameter.")
    bearer: Bearer | None = Field(None, description="A constant bearer token.")

    later: ClassVar[Mapping[str, Later]] = {
        "basic": Later("requests authenticate with api_key or bearer"),
        "oauth2_client_credentials": Later("requests authenticate with api_key or bearer"),
        "headers": Later("requests authenticate with api_key or bearer"),
    }

    @model_validator(mode="after")
    def _one_way(self) -> Auth:
        if (self.api_key is None) == (self.bearer is None):
            refuse("needs exactly one of `api_key` and `bearer`", "or the word none")
        return self


class StandardWebhooks(Section):
    """Signatures of the Standard Webhooks specification, version 1 (HMAC-SHA256)."""

    secrets: Items[SecretRef] = Field(
        min_length=1, max_length=5, description="Signing secrets (`whsec_…`); each signs, so that they can be rotated."
    )


class Sign(Section):
    """How requests are signed."""

    standard_webhooks: StandardWebhooks = Field(description="Standard Webhooks v1.")

    later: ClassVar[Mapping[str, Later]] = {
        scheme: Later("requests are signed with standard_webhooks", instead_of=("standard_webhooks",))
        for scheme in ("ed25519", "github", "stripe")
    }


class Tls(Section):
    """Whom to trust."""

    ca: FileRef | None = Field(None, description="PEM file of the authorities to trust; default the system's.")

    later: ClassVar[Mapping[str, Later]] = {
        key: Later("there are no client certificates yet") for key in ("client_cert", "client_key")
    }


def _concurrency(given: object) -> object:
    if isinstance(given, Mapping) and "adaptive" in given:
        refuse("adaptive concurrency is not supported in this release", "write a number of requests, such as 64")
    return given


class Limits(Section):
    """What the destination can take."""

    rate: RatePerS | None = Field(None, alias="rate", description="Requests a second, of the whole fleet.")
    concurrency: Annotated[int, BeforeValidator(_concurrency)] = Field(
        64, ge=1, le=CONCURRENCY_MAX, description="Requests in flight at once, per worker."
    )
    queue: int = Field(1_000, ge=1, le=QUEUE_MAX, description="Deliveries that wait, per worker.")


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


def _path(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be text")
    if "{" in given or "}" in given:
        refuse("path parameters are not supported in this release", "paths are constant")
    if given and not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", given, re.ASCII):
        refuse("must start with / and be percent-encoded, without query", "such as /v3/orders")
    return given


class Operation(Section):
    """One kind of request."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = Field("POST", description="HTTP method.")
    path: Annotated[str, BeforeValidator(_path), WithJsonSchema({"type": "string"})] = Field(
        "", description="Constant path, appended to the base URL."
    )
    headers: Mapping[HeaderName, HeaderValue] = Field(
        default={}, description="Constant headers; secrets only through `auth`."
    )
    body: Literal["json", "none"] = Field("json", description="How the payload is sent.")
    metadata: Literal["headers"] = Field("headers", description="Where event ID, type, time, journey and step go.")

    later: ClassVar[Mapping[str, Later]] = {
        "query": Later("requests have no query", accepted=({},)),
        "request_schema": Later("payloads are checked against no contract"),
        "response_schema": Later("responses are not read"),
        "response": Later("responses are not read", accepted=({},)),
        "batch": Later("each delivery is a request of its own", accepted=("none",)),
    }
    later_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "body": {"form": "bodies are json or none", "ndjson": "bodies are json or none"},
        "metadata": {"headers_and_body": "metadata goes into headers"},
    }

    @model_validator(mode="after")
    def _get_has_no_body(self) -> Operation:
        if self.method == "GET" and self.body != "none":
            refuse("a GET request has no body", "add body: none")
        return self


def _idempotency(given: object) -> object:
    if not isinstance(given, str) or (
        given not in ("delivery_id", "none") and not re.fullmatch(r"header:" + HEADER_PATTERN[1:-1], given)
    ):
        refuse("must be delivery_id, header:NAME or none")
    if given.startswith("header:"):
        _plain_header_name(given.removeprefix("header:"))
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
        description="Where it is. `env:NAME` takes it from the environment. Plain http needs `private_networks`."
    )
    receives: Items[PersonalClass] = Field(
        description="Classes of personal data that may be sent; others are refused. `public` always may."
    )
    data: Data = Field(Data.model_validate({}), description="Where it keeps data.")
    private_networks: Items[Network] = Field((), description="Private networks that may be called.")
    auth: Annotated[Auth | None, BeforeValidator(none_word, json_schema_input_type=Auth | Literal["none"])] = Field(
        None, description="How requests say who we are."
    )
    tls: Tls = Field(Tls.model_validate({}), description="Whom to trust.")
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
    operations: Mapping[Name, Operation] = Field(
        min_length=1, max_length=OPERATIONS_MAX, description="The requests it takes, by name."
    )

    later: ClassVar[Mapping[str, Later]] = {
        "proxy": Later("destinations are called directly", accepted=("none",)),
        "retain_excerpt": Later("no part of a response is kept", accepted=("0B",)),
    }
    later_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "on_status": {"disable": "an operation cannot be disabled; use hold or rejected"},
    }

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
