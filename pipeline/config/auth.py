"""What a destination's file says of being let in: its URL, authentication, signing, TLS; references, never secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Discriminator, Field, Tag, WithJsonSchema, field_validator, model_validator

from pipeline.config.section import TEXT_MAX_CHARS, FileRef, Items, Line, Name, SecretRef, Section, Shown, refuse

HEADER_PATTERN: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$"  # RFC 9110, section 5.6.2: token
PORT_MAX: Final = 65_535
HEADERS_MAX: Final = 8
KEYS_MAX: Final = 5

_OWN_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "keep-alive", "upgrade", "te",
     "trailer", "expect", "cookie", "user-agent", "accept-encoding",
     "traceparent", "tracestate", "baggage")
)  # fmt: skip
CREDENTIAL_HEADERS: Final = frozenset(("authorization", "proxy-authorization"))

_TYPED_SECRET: Final = re.compile(
    # known kinds
    r"((?<![A-Za-z0-9])(?:whsec_|whsk_|sk_live_|sk_test_|ghp_|github_pat_|xox[abpr]-|AKIA[0-9A-Z]{12}|-----BEGIN)"
    r"|\b(?:bearer|basic)\s+[A-Za-z0-9+/_.=~-]{8}"  # a whole Authorization header
    r"|\beyJ[A-Za-z0-9_-]{10,}\."  # a JSON Web Token
    r"|//hooks\.slack\.com/(?:services|workflows|triggers)/T)",  # a URL that is the credential
    re.ASCII | re.IGNORECASE,
)
_CREDENTIAL: Final = re.compile(r"\b(?:bearer|basic)\s+(?=\S*\d)[A-Za-z0-9+/_.=~-]{16,}", re.ASCII | re.IGNORECASE)
_LONG_TOKEN: Final = re.compile(r"(?=[^\s]*[0-9])(?=[^\s]*[a-z])(?=[^\s]*[A-Z])[A-Za-z0-9+/_=-]{32,}", re.ASCII)
"""Long base64: every kind of character and no punctuation, which neither words nor names of resources have."""


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


def _url(given: object) -> object:
    if not isinstance(given, str):
        refuse("must be a URL or env:NAME")
    if not re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*", given, re.ASCII) and (flaw := base_url_flaw(given)):
        refuse(flaw)
    return given


def _host(given: object) -> object:
    if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", given, re.ASCII):
        refuse("must be the name of a host, without port and path", "such as hooks.example")
    return given.lower()


Url = Annotated[str, BeforeValidator(_url), WithJsonSchema({"type": "string"}), Shown("URL or `env:NAME`")]


class SecretUrl(Section):
    """A base URL that is itself the credential, as those of chat systems' incoming hooks are."""

    secret: SecretRef = Field(description="The whole URL. Nothing of it but `host` is ever shown.")
    host: Annotated[str, BeforeValidator(_host), WithJsonSchema({"type": "string"}), Shown("host")] = Field(
        description="The host in that URL; another one is refused."
    )


def _kind_of_url(given: object) -> str:
    return "a section" if isinstance(given, (Mapping, SecretUrl)) else "a URL"


BaseUrl = Annotated[
    Annotated[Url, Tag("a URL")] | Annotated[SecretUrl, Tag("a section")],
    Discriminator(_kind_of_url),
    Shown("URL, `env:NAME` or section"),
]


def is_typed_secret(text: str) -> bool:
    """Whether a text has the shape of a well-known kind of secret, so that it is hardly anything else."""
    found = _TYPED_SECRET.search(text)
    # "a basic subscription" is prose, in a subject or a goal: a credential is long and has digits.
    return found is not None and (
        not found[0].lower().startswith(("bearer", "basic")) or bool(_CREDENTIAL.search(text))
    )


def secret_flaw(text: str) -> str:
    """Say that a text looks like a secret someone typed in, or "" if it does not. The text is never quoted."""
    return (
        "looks like a secret, and this file is for everyone to read"
        if _TYPED_SECRET.search(text) or _LONG_TOKEN.fullmatch(text)
        else ""
    )


def _open_text(given: object) -> object:
    """Take text that need not be secret: a reference, or what is written; but no secret."""
    if not isinstance(given, str) or not given.strip():
        refuse("must be text", "put it in quotes")
    if len(given) > TEXT_MAX_CHARS or not given.isprintable():
        refuse(f"must be one line of at most {TEXT_MAX_CHARS} characters")
    if flaw := secret_flaw(given):
        refuse(flaw, "write env:NAME or file:PATH")
    return given


OpenText = Annotated[
    str, BeforeValidator(_open_text), WithJsonSchema({"type": "string"}), Shown("text, `env:NAME` or `file:PATH`")
]


def _header_name(given: object) -> object:
    if not isinstance(given, str) or not re.fullmatch(HEADER_PATTERN, given):
        refuse("must be an HTTP header name", "letters, digits and hyphens")
    lowered = given.lower()
    if lowered in _OWN_HEADERS or lowered.startswith(("webhook-", "hookline-")):
        refuse("is a header Hookline writes itself")
    return given


def plain_header_name(given: object) -> object:
    """Refuse what is no name of a header that may be written in the clear."""
    if isinstance(given, str) and given.lower() in CREDENTIAL_HEADERS:
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


class Basic(Section):
    """Basic authentication (RFC 7617)."""

    user: OpenText = Field(description="The user's name.")
    password: SecretRef = Field(description="The password.")


class Bearer(Section):
    """A constant bearer token (RFC 6750)."""

    token: SecretRef = Field(description="The token, sent as `Authorization: Bearer TOKEN`.")


class ClientCredentials(Section):
    """An access token got with OAuth 2 client credentials (RFC 6749, section 4.4), renewed ahead of its end."""

    token_url: Url = Field(description="The token endpoint. It passes the destination's address check and TLS.")
    client_id: OpenText = Field(description="Who we are to it.")
    client_secret: SecretRef = Field(description="How we prove that.")
    client_auth: Literal["basic", "body"] = Field(
        "basic", description="Where ID and secret go: the `Authorization` header, or the body (RFC 6749, 2.3.1)."
    )
    scope: Line | None = Field(None, description="Scopes to ask for, separated by spaces.")
    audience: Line | None = Field(None, description="The API the token is for, where the endpoint asks for that.")


class Auth(Section):
    """How requests say who we are: exactly one way."""

    api_key: ApiKey | None = Field(None, description="A constant key in a header or query parameter.")
    basic: Basic | None = Field(None, description="User and password.")
    bearer: Bearer | None = Field(None, description="A constant bearer token.")
    oauth2_client_credentials: ClientCredentials | None = Field(None, description="A token that is renewed.")
    headers: Mapping[KeyHeader, SecretRef] = Field(
        default={}, max_length=HEADERS_MAX, description="Headers with a secret each, by name."
    )

    @classmethod
    def misread(cls, given: Mapping[str, object]) -> tuple[str, str, str] | None:
        """Say how a way is chosen to whom named it with a `type`, as other tools want it."""
        if "type" not in given:
            return None
        written = {"bearer": "bearer: {token: env:NAME}", "basic": "basic: {user: NAME, password: env:NAME}"}
        way = str(given["type"]).lower()
        return "type", "is no key: the way itself is the key", f"write {written.get(way, written['bearer'])}"

    @model_validator(mode="after")
    def _one_way(self) -> Auth:
        ways = (self.api_key, self.basic, self.bearer, self.oauth2_client_credentials, self.headers or None)
        if len(ways) - ways.count(None) != 1:
            refuse("needs exactly one of " + ", ".join(f"`{each}`" for each in Auth.model_fields), "or the word none")
        if len({each.lower() for each in self.headers}) < len(self.headers):
            refuse("names a header twice")  # case does not count: RFC 9110, section 5.1
        return self


class StandardWebhooks(Section):
    """Signatures of the Standard Webhooks specification, version 1 (HMAC-SHA256)."""

    secrets: Items[SecretRef] = Field(
        min_length=1, max_length=KEYS_MAX, description="Signing secrets (`whsec_…`); each signs, so that they can be "
        "rotated.",
    )  # fmt: skip


class Ed25519(Section):
    """Signatures of the Standard Webhooks specification, version 1a (ed25519): receivers hold the public key only."""

    keys: Items[SecretRef] = Field(
        min_length=1,
        max_length=KEYS_MAX,
        description="Secret keys (`whsk_…`); each signs, so that they can be rotated.",
    )


class Github(Section):
    """Signatures as GitHub makes them: HMAC-SHA256 of the body alone, so that a request can be replayed."""

    secret: SecretRef = Field(description="The shared secret, used as it is.")


class Stripe(Section):
    """Signatures as Stripe makes them: HMAC-SHA256 of the time of the attempt and the body."""

    secret: SecretRef = Field(description="The shared secret, used as it is, with its `whsec_` if it has one.")


class Plugin(Section):
    """A signer of yours, installed beside Hookline: for keys that never leave a key management service."""

    name: Name = Field(description="Its entry point in the group `hookline.signers`.")
    options: Mapping[str, str] = Field(
        default={},
        description="Whatever the signer takes, written beside `name`; secrets as `env:NAME` or `file:PATH`.",
    )

    open_keys: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        own = {key: part for key, part in given.items() if key == "name"}
        return own | {"options": {key: part for key, part in given.items() if key != "name"}}

    @field_validator("options", mode="before")
    @classmethod
    def _options(cls, given: Mapping[str, object]) -> object:
        for key, part in given.items():
            if flaw := cls.flaw(key, part):
                refuse(*flaw)
        return given

    @classmethod
    def flaw(cls, key: str, given: object) -> tuple[str, str] | None:
        """Say why an option may not be handed to the signer, or None if it may."""
        if not isinstance(key, str) or not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", key, re.ASCII):
            return "is no name of an option", "lower-case letters, digits and underscores"
        if not isinstance(given, str) or not given.strip():
            return "must be text", "put it in quotes"
        if flaw := secret_flaw(given):
            return flaw, "write env:NAME or file:PATH"
        return None


class Sign(Section):
    """How requests are signed: one way, or by both Standard Webhooks versions at once."""

    standard_webhooks: StandardWebhooks | None = Field(None, description="Standard Webhooks v1.")
    ed25519: Ed25519 | None = Field(None, description="Standard Webhooks v1a.")
    github: Github | None = Field(None, description="As GitHub signs: `X-Hub-Signature-256`.")
    stripe: Stripe | None = Field(None, description="As Stripe signs: `Stripe-Signature`.")
    plugin: Plugin | None = Field(None, description="A signer of yours.")

    @model_validator(mode="after")
    def _one_way(self) -> Sign:
        standard = self.standard_webhooks or self.ed25519
        if [standard, self.github, self.stripe, self.plugin].count(None) != len(Sign.model_fields) - 2:
            words = "`standard_webhooks` and `ed25519` (or one of them), `github`, `stripe`, `plugin`"
            refuse(f"needs exactly one of {words}", "or the word none")
        return self


class Tls(Section):
    """Whom to trust, and who we are."""

    ca: FileRef | None = Field(None, description="PEM file of the authorities to trust; default the system's.")
    client_cert: FileRef | None = Field(
        None, description="PEM file of our certificate and its chain, for a receiver that asks for one (mutual TLS)."
    )
    client_key: FileRef | None = Field(None, description="PEM file of its private key, without a passphrase.")

    @model_validator(mode="after")
    def _pair(self) -> Tls:
        if (self.client_cert is None) != (self.client_key is None):
            refuse("needs `client_cert` and `client_key`, or neither")
        return self
