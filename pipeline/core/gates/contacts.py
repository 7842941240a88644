"""Decides whether a customer was contacted often enough: contacts in a sliding window, by category and channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pipeline.model import Cap, Contact


def capped(
    caps: Sequence[Cap], contacts: Sequence[Contact], delivery_id: str, now_ms: int, underway: Collection[str] = ()
) -> bool:
    """Whether one of the caps is reached, counting deliveries `underway` (IDs) as if they were contacts now.

    The delivery's own place or earlier contact does not count: it is the same one. So is a contact of one under way.
    """
    return any(_count(cap, contacts, underway, delivery_id, now_ms) >= cap.most for cap in caps)


def _count(cap: Cap, contacts: Sequence[Contact], underway: Collection[str], delivery_id: str, now_ms: int) -> int:
    since_ms = now_ms - cap.per_ms
    counted = [
        each.delivery
        for each in contacts
        if each.at_ms > since_ms
        and each.category == cap.category
        and each.channel == cap.channel
        and each.delivery != delivery_id
    ]
    return len(counted) + sum(each != delivery_id and each not in counted for each in underway)
