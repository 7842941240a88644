"""Decides whether a request was signed by one who holds a key, and lately. Pure: the time is an argument.

Sources: Standard Webhooks 1.0 (`v1` HMAC-SHA256, `v1a` ed25519); GitHub, "Validating webhook deliveries"; Stripe,
"Verify webhook signatures manually". HMACs are compared in constant time; no message names a key or a signature.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest, digest
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pipeline.receiver.values import FORGED, STALE, UNSIGNED, Refused

TOLERANCE_S: Final = 300
"""How far the timestamp may be from our clock, in both directions."""

KEYS_MAX: Final = 16
SIGNATURES_MAX: Final = 16
"""Signatures of one request that are looked at: a sender in the middle of a rotation has two."""

SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
"""Standard Webhooks 1.0, "Signature scheme"."""

_STAMP_DIGITS_MAX: Final = 15

Verify: TypeAlias = Callable[[Mapping[str, str], bytes, float], Refused | None]
"""`(headers with lower-case names, body, now as Unix seconds)` to why not, or None for a good signature. Never
raises."""


def standard_webhooks(keys: Sequence[str], *, tolerance_s: int = TOLERANCE_S) -> Verify:
    """Verify `webhook-id`, `webhook-timestamp` and `webhook-signature` by any of the keys.

    `keys` are secrets (`whsec_` and the base64 of 24 to 64 bytes) and ed25519 public keys (`whpk_` and the base64 of 32
    bytes), in any order; several of them bridge a rotation. Raises ValueError for a key of another form, without
    quoting it.
    """
    _counted(keys)
    secrets = tuple(_secret(key) for key in keys if not key.startswith("whpk_"))
    publics = tuple(_public(key) for key in keys if key.startswith("whpk_"))

    def verify(headers: Mapping[str, str], body: bytes, now_s: float) -> Refused | None:
        name, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        offered = headers.get("webhook-signature", "")
        if not (name and offered and _is_stamp(stamp)):
            return UNSIGNED
        # A full stop in the ID would let one signed text be read as another ID with another body.
        if "." in name or not name.isascii() or not offered.isascii():
            return FORGED
        signed = f"{name}.{stamp}.".encode("ascii") + body
        signatures = offered.split()[:SIGNATURES_MAX]
        if not (_by_secret(secrets, signed, signatures) or _by_public_key(publics, signed, signatures)):
            return FORGED
        return _dated(stamp, now_s, tolerance_s)

    return verify


def github(secrets: Sequence[str]) -> Verify:
    """Verify `X-Hub-Signature-256: sha256=<hex>` over the body; `secrets` are texts as typed in.

    This form signs neither a time nor an ID: who once saw a request can send it again, under another delivery ID too.
    Raises ValueError for an empty secret.
    """
    keys = _texts(secrets)

    def verify(headers: Mapping[str, str], body: bytes, now_s: float) -> Refused | None:  # noqa: ARG001 - no time in it
        offered = headers.get("x-hub-signature-256", "")
        signatures = [each.strip() for each in offered.split(",")][:SIGNATURES_MAX]
        found = [each.removeprefix("sha256=") for each in signatures if each.startswith("sha256=")]
        if not found:
            return UNSIGNED
        return None if _by_hex(keys, body, found) else FORGED

    return verify


def stripe(secrets: Sequence[str], *, tolerance_s: int = TOLERANCE_S) -> Verify:
    """Verify `Stripe-Signature: t=<Unix seconds>,v1=<hex>` over `t.body`.

    `secrets` are used as the texts they are, a prefix included. The delivery ID is not signed: within the tolerance a
    request can be sent again under another one. Raises ValueError for an empty secret.
    """
    keys = _texts(secrets)

    def verify(headers: Mapping[str, str], body: bytes, now_s: float) -> Refused | None:
        fields = [each.strip().partition("=") for each in headers.get("stripe-signature", "").split(",")]
        stamps = [content for name, _, content in fields if name == "t"]
        found = [content for name, _, content in fields if name == "v1"][:SIGNATURES_MAX]
        if len(stamps) != 1 or not _is_stamp(stamps[0]) or not found:
            return UNSIGNED
        if not _by_hex(keys, stamps[0].encode("ascii") + b"." + body, found):
            return FORGED
        return _dated(stamps[0], now_s, tolerance_s)

    return verify


# --------------------------------------------------------------------------------------------------------------- keys


def _counted(keys: Sequence[str]) -> None:
    if isinstance(keys, str) or not 1 <= len(keys) <= KEYS_MAX:
        raise ValueError(f"must be a list of 1 to {KEYS_MAX} keys")


def _texts(secrets: Sequence[str]) -> tuple[bytes, ...]:
    _counted(secrets)
    if not all(secrets):
        raise ValueError("a secret must not be empty")
    return tuple(each.encode() for each in secrets)


def _secret(key: str) -> bytes:
    secret = _decoded(key, "whsec_")
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes, or whpk_ and the base64 of 32 bytes")
    return secret


def _public(key: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(_decoded(key, "whpk_"))
    except ValueError:
        raise ValueError("must be whpk_ and the base64 of 32 bytes") from None


def _decoded(key: str, prefix: str) -> bytes:
    try:
        return b64decode(key.removeprefix(prefix), validate=True) if key.startswith(prefix) else b""
    except (binascii.Error, ValueError):  # ValueError: characters that are not ASCII
        return b""


# ----------------------------------------------------------------------------------------------------------- verifying


def _by_secret(secrets: Sequence[bytes], signed: bytes, signatures: Sequence[str]) -> bool:
    wanted = [b"v1," + b64encode(digest(secret, signed, "sha256")) for secret in secrets]
    return any(compare_digest(one, other.encode("ascii")) for one in wanted for other in signatures)


def _by_public_key(publics: Sequence[Ed25519PublicKey], signed: bytes, signatures: Sequence[str]) -> bool:
    for signature in signatures if publics else ():
        proof = _decoded(signature, "v1a,")
        for public in publics:
            try:
                public.verify(proof, signed)
            except InvalidSignature:
                continue
            return True
    return False


def _by_hex(keys: Sequence[bytes], signed: bytes, signatures: Sequence[str]) -> bool:
    wanted = [digest(key, signed, "sha256").hex().encode("ascii") for key in keys]
    offered = [each.encode("utf-8", "backslashreplace") for each in signatures]
    return any(compare_digest(one, other) for one in wanted for other in offered)


def _is_stamp(stamp: str) -> bool:
    return stamp.isascii() and stamp.isdigit() and len(stamp) <= _STAMP_DIGITS_MAX


def _dated(stamp: str, now_s: float, tolerance_s: int) -> Refused | None:
    return None if abs(int(stamp) - now_s) <= tolerance_s else STALE
