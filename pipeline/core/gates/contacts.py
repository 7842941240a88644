"""Decides whether a customer was contacted often enough: contacts in a sliding window, by category and channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.model import Cap, Contact


def capped(caps: Sequence[Cap], contacts: Sequence[Contact], delivery_id: str, now_ms: int) -> bool:
    """Whether one of the caps is reached. The delivery's own earlier contact does not count: it is the same one."""
    return any(_count(cap, contacts, delivery_id, now_ms) >= cap.most for cap in caps)


def _count(cap: Cap, contacts: Sequence[Contact], delivery_id: str, now_ms: int) -> int:
    since_ms = now_ms - cap.per_ms
    return sum(
        each.at_ms > since_ms
        and each.category == cap.category
        and each.channel == cap.channel
        and each.delivery != delivery_id
        for each in contacts
    )
