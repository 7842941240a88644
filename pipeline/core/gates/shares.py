"""Decides who belongs to a share of a journey's customers: by a hash, so the same for every worker and at any time."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

ROLLOUT: Final = b"rollout"
HOLDOUT: Final = b"holdout"

_RANGE: Final = 2**64


def within(draw: bytes, journey: str, customer_id: str, share: float) -> bool:
    """Whether a customer is within the share (0..1) of a draw. Draws are independent, and so are journeys.

    Whoever is within a share is within any larger one. The first 64 bits of SHA-256 over draw, journey and customer,
    with NUL between them, are compared with the share of their range.
    """
    digest = sha256(b"%b\0%b\0%b" % (draw, journey.encode(), customer_id.encode("utf-8", "surrogatepass"))).digest()
    return int.from_bytes(digest[:8], "big") < share * _RANGE
