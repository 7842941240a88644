"""Time zones of the IANA database, as the system has it or else the package tzdata. Read once, before events come."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

if TYPE_CHECKING:
    from collections.abc import Mapping


@cache
def names() -> tuple[str, ...]:
    """Return all names. Blocks on files the first time, some 30 ms."""
    return tuple(sorted(available_timezones()))


def zone(name: str) -> ZoneInfo | None:
    """Return a time zone, or None if there is no such name. Blocks on a file the first time."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


@cache
def all_zones() -> Mapping[str, ZoneInfo]:
    """Return every time zone by its name, some 600. Blocks on files the first time, some 50 ms."""
    return {name: made for name in names() if (made := zone(name)) is not None}
