"""Decides how a request is signed: the header lines that prove who sent a body, and what a key must look like.

Source: Standard Webhooks 1.0 (webhook-timestamp, webhook-signature; secrets `whsec_`). Errors never name the key.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64
"""Standard Webhooks 1.0, "Signature scheme": a secret is between 24 and 64 bytes."""

_BLOCK_BYTES: Final = 64  # of SHA-256, for HMAC (RFC 2104)


def signer(keys: Sequence[bytes]) -> Callable[[bytes, bytes, bytes], bytes]:
    """Return `sign(id, timestamp, body)`: the webhook-timestamp and webhook-signature lines, one signature per key."""
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
        return b"webhook-timestamp: %b\r\nwebhook-signature: %b\r\n" % (stamp, b" ".join(signatures))

    return sign


def _padded(key: bytes) -> tuple[Any, Any]:
    block = (sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))


def signing_key(secret: str) -> bytes:
    """Return the key in a Standard Webhooks secret, `whsec_` and base64. Raises ValueError, never naming the secret."""
    try:
        key = b64decode(secret.removeprefix("whsec_"), validate=True) if secret.startswith("whsec_") else b""
    except binascii.Error:
        key = b""
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
    return key


def secret_of(key: bytes) -> str:
    """Return a key as the secret a receiver is given."""
    return "whsec_" + b64encode(key).decode("ascii")
