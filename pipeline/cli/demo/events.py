"""Decides what happens in the demo's shop: sign-ups, abandoned carts and purchases, and some records that are none.

All chance is drawn from one seed, in order: the same seed makes the same events with the same IDs.
"""

from __future__ import annotations

import random
import uuid
from typing import TYPE_CHECKING, Any, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MS: Final = 86_400_000
TOMBSTONES: Final = 4
"""Records without a value; sent first, to see the worker take up its partitions."""
DAMAGED: Final = 5
"""Records whose bytes are no Avro; as a producer with a bug writes them."""

_TYPES: Final = {"signup.completed": 22, "cart.abandoned": 45, "purchase.completed": 30, "wishlist.shared": 3}
"""Event types and their weights; no journey is triggered by the last."""
_CONSENT: Final = {"granted": 80, "denied": 8, "": 12}
"""What customers said of marketing by e-mail, and the weights; "" nothing."""
_LATE: Final = 0.01
"""Share of events that are published days after they happened: too old to act on."""
_CUSTOMERS_PER_EVENT: Final = 0.4


@value
class Made:
    """One record to send: an event as JSON would have it, or bytes that are none (`document` is None)."""

    key: str
    document: dict[str, Any] | None
    content: bytes | None = None


def records(events: int, seed: int) -> Iterator[Made]:
    """Yield this many events, and among them the damaged records; `time` of an event is its age in ms, not above 0."""
    dice = random.Random(seed)  # noqa: S311 - chance of a demo, to be repeated
    customers = max(round(events * _CUSTOMERS_PER_EVENT), 1)
    damaged = {round((number + 1) * events / (DAMAGED + 1)) for number in range(DAMAGED)}
    for number in range(events):
        if number in damaged:
            yield Made(f"c-{number}", None, b"\x00" + dice.randbytes(24))
        yield event(dice, dice.randrange(customers))


def event(dice: random.Random, customer: int) -> Made:
    """Make one event of a customer."""
    (kind,) = dice.choices(list(_TYPES), list(_TYPES.values()))
    (said,) = dice.choices(list(_CONSENT), list(_CONSENT.values()))
    late = dice.random() < _LATE
    document = {
        "id": str(uuid.UUID(int=dice.getrandbits(128), version=4)),
        "type": kind,
        "time": -dice.randrange(1, 4) * DAY_MS if late else 0,
        "customer": {"id": f"c-{customer}", "email": f"customer-{customer}@example.org"},
        "consent": {"marketing.email": said} if said else {},
        "source": {"system": "demo-shop"},
        "properties": _properties(kind, dice),
    }
    return Made(f"c-{customer}", document)


def _properties(kind: str, dice: random.Random) -> dict[str, Any]:
    items = min(1 + int(dice.expovariate(0.7)), 12)
    amount = {"decimal": f"{max(dice.lognormvariate(3.5, 0.8), 1):.2f}"}
    number = f"{dice.getrandbits(32):08x}"
    match kind:
        case "signup.completed":
            return {"plan": dice.choice(("free", "free", "pro"))}
        case "cart.abandoned":
            return {"cart_id": f"k-{number}", "cart_value": amount, "items": items}
        case "purchase.completed":
            return {"order_id": f"o-{number}", "order_value": amount, "items": items}
        case _:
            return {"items": items}
