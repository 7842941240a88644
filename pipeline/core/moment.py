"""Decides which moment a value names: a timestamp of CEL's, or RFC 3339 text with its offset."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pipeline.model import ABSENT, Datum, Getter

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def moment(found: object) -> datetime | None:
    """Return the moment in UTC, or None if the value names none. Never raises."""
    if isinstance(found, str) and _RFC3339.fullmatch(found) is not None:
        try:
            found = datetime.fromisoformat(found.upper())
        except ValueError:  # the 30th of February
            return None
    if not isinstance(found, datetime) or found.tzinfo is None:
        return None
    try:
        return found.astimezone(UTC)
    except OverflowError:  # the year 9999 west of Greenwich
        return None


def unix_ms(found: object) -> int | None:
    """Return the moment in Unix ms, rounded down, or None if the value names none. Never raises."""
    made = moment(found)
    return None if made is None else (made - _EPOCH) // timedelta(milliseconds=1)


def deadline(evaluate: Getter) -> Callable[[Datum, int], object]:
    """Return a step's deadline (see model.Step): Unix ms, ABSENT for none, None for an error or no moment."""

    def asked(datum: Datum, now_ms: int) -> object:
        found = evaluate(datum, now_ms)
        return found if found is ABSENT or found is None else unix_ms(found)

    return asked
