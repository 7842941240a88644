"""Decides how a request is signed: the header lines that prove who sent a body, and what a key must look like.

Sources: Standard Webhooks 1.0 (webhook-timestamp, webhook-signature; secrets `whsec_` for v1, keys `whsk_` for v1a),
GitHub's "Validating webhook deliveries" (X-Hub-Signature-256), Stripe's "Verify webhook signatures manually"
(Stripe-Signature). Errors never name the key.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
"""Standard Webhooks 1.0, "Signature scheme": a secret is between 24 and 64 bytes."""

SIGNATURE_CHARS_MAX: Final = 4_096
"""Longest text a signer outside may answer with: several signatures, and room."""

_SEED_BYTES: Final = 32  # RFC 8032, section 5.1.5
_BLOCK_BYTES: Final = 64  # of SHA-256, for HMAC (RFC 2104)


def signer(keys: Sequence[bytes], private: Sequence[Ed25519PrivateKey] = ()) -> Callable[[bytes, bytes, bytes], bytes]:
    """Return `sign(id, timestamp, body)`: the webhook-timestamp and webhook-signature lines, one signature per key.

    `keys` sign by HMAC-SHA256 (v1), `private` by ed25519 (v1a); all of them, so that receivers can change over.
    """
    padded = tuple(_padded(key) for key in keys)

    def sign(name: bytes, stamp: bytes, body: bytes) -> bytes:
        signed = b"%b.%b.%b" % (name, stamp, body)
        signatures = []
        for inner, outer in padded:
            # HMAC by its definition (RFC 2104) with both padded keys hashed once: a third of what hmac.new costs.
            within, around = inner.copy(), outer.copy()
            within.update(signed)
            around.update(within.digest())
            signatures.append(b"v1," + binascii.b2a_base64(around.digest(), newline=False))
        if private:
            signatures += (b"v1a," + binascii.b2a_base64(key.sign(signed), newline=False) for key in private)
        return b"webhook-timestamp: %b\r\nwebhook-signature: %b\r\n" % (stamp, b" ".join(signatures))

    return sign


def github(secret: bytes) -> Callable[[bytes, bytes, bytes], bytes]:
    """Return `sign(id, timestamp, body)`: the X-Hub-Signature-256 line, over the body alone."""
    inner, outer = _padded(secret)

    def sign(_name: bytes, _stamp: bytes, body: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(body)
        around.update(within.digest())
        return b"X-Hub-Signature-256: sha256=%b\r\n" % around.hexdigest().encode("ascii")

    return sign


def stripe(secret: bytes) -> Callable[[bytes, bytes, bytes], bytes]:
    """Return `sign(id, timestamp, body)`: the Stripe-Signature line, over timestamp and body."""
    inner, outer = _padded(secret)

    def sign(_name: bytes, stamp: bytes, body: bytes) -> bytes:
        within, around = inner.copy(), outer.copy()
        within.update(b"%b.%b" % (stamp, body))
        around.update(within.digest())
        return b"Stripe-Signature: t=%b,v1=%b\r\n" % (stamp, around.hexdigest().encode("ascii"))

    return sign


def content(name: bytes, stamp: bytes, body: bytes) -> bytes:
    """Return what Standard Webhooks signs: ID, Unix seconds and body."""
    return b"%b.%b.%b" % (name, stamp, body)


def lines(stamp: bytes, signatures: bytes) -> bytes:
    """Return the header lines of Standard Webhooks signatures."""
    return b"webhook-timestamp: %b\r\nwebhook-signature: %b\r\n" % (stamp, signatures)


def signature_text(given: object) -> bytes:
    """Return what a signer outside answered as the value of a header. Raises ValueError, never naming the answer."""
    if not isinstance(given, str) or not given.strip() or not given.isascii() or not given.isprintable():
        raise ValueError("must be printable ASCII on one line")
    if len(given) > SIGNATURE_CHARS_MAX:
        raise ValueError(f"must be at most {SIGNATURE_CHARS_MAX} characters")
    return given.strip().encode("ascii")


def _padded(key: bytes) -> tuple[Any, Any]:
    block = (sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def signing_key(secret: str) -> bytes:
    """Return the key in a Standard Webhooks secret, `whsec_` and base64. Raises ValueError, never naming the secret."""
    key = _decoded(secret, "whsec_")
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
    return key


def private_key(secret: str) -> Ed25519PrivateKey:
    """Return the ed25519 key in `whsk_` and base64: the seed, with or without the public key after it.

    Raises ValueError, never naming the key.
    """
    raw = _decoded(secret, "whsk_")
    if len(raw) not in (_SEED_BYTES, 2 * _SEED_BYTES):
        raise ValueError("must be whsk_ and the base64 of an ed25519 key, 32 or 64 bytes")
    # 6 MB of memory that only those pay for who have such a key.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES])
    if len(raw) > _SEED_BYTES and key.public_key().public_bytes_raw() != raw[_SEED_BYTES:]:
        raise ValueError("must be one pair of keys: its second half is the public key of another")
    return key


def _decoded(secret: str, prefix: str) -> bytes:
    try:
        return b64decode(secret.removeprefix(prefix), validate=True) if secret.startswith(prefix) else b""
    except binascii.Error:
        return b""


def secret_of(key: bytes) -> str:
    """Return a key as the secret a receiver is given."""
    return "whsec_" + b64encode(key).decode("ascii")
