"""Reads the units of the configuration: durations, sizes, rates and shares; and writes them back the same way.

Every reader takes the text of one YAML scalar and raises ValueError with a message that is fit to print.
"""

from __future__ import annotations

import re
from typing import Final

DURATION_MAX_MS: Final = 40_000 * 86_400_000  # 40,000 days: older events than that are no customer's
SIZE_MAX_BYTES: Final = 1 << 30
RATE_MAX_PER_S: Final = 1_000_000.0

_DURATION_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "y": 31_536_000_000}
_SIZE_BYTES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
_RATE_S: Final = {"s": 1, "m": 60, "h": 3_600}

DURATION_PATTERN: Final = r"^[0-9]{1,13}(ms|s|m|h|d|y)$"
SIZE_PATTERN: Final = r"^[0-9]{1,9}(B|KiB|MiB)$"
RATE_PATTERN: Final = r"^[0-9]{1,7}(\.[0-9]{1,3})?/(s|m|h)$"
SHARE_PATTERN: Final = r"^[0-9]{1,3}(\.[0-9]{1,4})?%$"

_DURATION: Final = re.compile(DURATION_PATTERN, re.ASCII)
_SIZE: Final = re.compile(SIZE_PATTERN, re.ASCII)
_RATE: Final = re.compile(RATE_PATTERN, re.ASCII)
_SHARE: Final = re.compile(SHARE_PATTERN, re.ASCII)


def duration_ms(text: str) -> int:
    """Read `800ms 2s 10m 7d 1h 2y` (a year has 365 days) as milliseconds, above 0 and at most 40,000 days."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("must be a duration such as 800ms, 2s, 10m, 1h or 7d")
    unit = found.group(1)
    ms = int(text[: -len(unit)]) * _DURATION_MS[unit]
    if not 0 < ms <= DURATION_MAX_MS:
        raise ValueError("must be more than 0 and at most 40000d")
    return ms


def size_bytes(text: str) -> int:
    """Read `512B 64KiB 1MiB` as bytes, at most 1024 MiB."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError("must be a size such as 512B, 64KiB or 1MiB")
    unit = found.group(1)
    size = int(text[: -len(unit)]) * _SIZE_BYTES[unit]
    if size > SIZE_MAX_BYTES:
        raise ValueError("must be at most 1024MiB")
    return size


def rate_per_s(text: str) -> float:
    """Read `200/s 90/m 5000/h` as events a second, above 0 and at most 1,000,000."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("must be a rate such as 200/s, 90/m or 5000/h")
    number, _, unit = text.partition("/")
    rate = float(number) / _RATE_S[unit]
    if not 0 < rate <= RATE_MAX_PER_S:
        raise ValueError("must be more than 0 and at most 1000000/s")
    return rate


def share(text: str) -> float:
    """Read `10%` or `0.5%` as a fraction in [0, 1]."""
    if _SHARE.fullmatch(text) is None:
        raise ValueError("must be a share such as 10% or 0.5%")
    fraction = float(text[:-1]) / 100
    if fraction > 1:
        raise ValueError("must be at most 100%")
    return fraction


def duration_text(ms: int) -> str:
    """Write milliseconds in the largest unit that divides them: 90000 is `90s`, 60000 is `1m`. Years stay days."""
    for unit in ("d", "h", "m", "s"):
        if ms and ms % _DURATION_MS[unit] == 0:
            return f"{ms // _DURATION_MS[unit]}{unit}"
    return f"{ms}ms"


def size_text(size: int) -> str:
    """Write bytes in the largest unit that divides them: 65536 is `64KiB`."""
    for unit in ("MiB", "KiB"):
        if size and size % _SIZE_BYTES[unit] == 0:
            return f"{size // _SIZE_BYTES[unit]}{unit}"
    return f"{size}B"


def share_text(fraction: float) -> str:
    """Write a fraction as a share: 0.5 is `50%`."""
    return f"{fraction * 100:g}%"
