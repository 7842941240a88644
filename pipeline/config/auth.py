"""What a destination's file says of being let in: its URL, authentication, signing, TLS; references, never secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config.section import FileRef, Items, Later, Line, SecretRef, Section, Shown, refuse

HEADER_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"  # RFC 9110, section 5.6.2: token
PORT_MAX: Final = 65_535

_OWN_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
     "trailer", "expect", "cookie", "user-agent", "accept-encoding",
     "traceparent", "tracestate", "baggage")
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


def plain_header_name(given: object) -> object:
    """Refuse what is no name of a header that may be written in the clear."""
    if isinstance(given, str) and given.lower() in _CREDENTIAL_HEADERS:
        refuse("carries a credential", "secrets go through auth")
    return _header_name(given)


_HEADER_SCHEMA: Final = WithJsonSchema({"type": "string", "pattern": HEADER_PATTERN})
HeaderName = Annotated[str, BeforeValidator(plain_header_name), _HEADER_SCHEMA, Shown("header")]
KeyHeader = Annotated[str, BeforeValidator(_header_name), _HEADER_SCHEMA, Shown("header")]


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
