"""The pseudonym of a customer, which outcomes carry instead of the ID."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK_BYTES: Final = 64  # of SHA-256


def customer_reference(group: str) -> Callable[[str], str]:
    """Return the pseudonym function of a group: 32 hex digits of HMAC-SHA256, keyed by HOOKLINE_CUSTOMER_REF_KEY."""
    key = os.environ.get("HOOKLINE_CUSTOMER_REF_KEY") or f"hookline:{group}"
    block = hashlib.sha256(key.encode()).digest() if len(key.encode()) > _BLOCK_BYTES else key.encode()
    block = block.ljust(_BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def reference(customer_id: str) -> str:
        # By its definition (RFC 2104), both padded keys hashed once: one is made per delivery.
        within, around = inner.copy(), outer.copy()
        within.update(customer_id.encode())
        around.update(within.digest())
        return around.hexdigest()[:32]

    return reference
