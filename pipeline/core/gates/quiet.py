"""Decides until when a customer is left in peace, by the wall clock of where they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pipeline.known import QUIET_HOURS
from pipeline.model import Gate, Hold, QuietHours, SkipReason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo


def ask(hours: Sequence[QuietHours], zones: Sequence[tzinfo], now_ms: int, expires_ms: int) -> Gate:
    """Return a hold until all hours that are quiet now are over, or a skip.

    What is too old by then, at `expires_ms`, is skipped at once: it would only wait for nothing.
    """
    until_ms = 0
    for each, zone in zip(hours, zones, strict=True):
        end_ms = over_ms(each.from_s, each.to_s, zone, now_ms)
        if end_ms and each.skips:
            return SkipReason.QUIET_HOURS
        until_ms = max(until_ms, end_ms)
    if not until_ms:
        return None
    return SkipReason.QUIET_HOURS if until_ms >= expires_ms else Hold(until_ms, QUIET_HOURS)


def over_ms(from_s: int, to_s: int, zone: tzinfo, now_ms: int) -> int:
    """Return when the quiet hours that hold now are over (Unix ms), 0 if none hold.

    Hours that come twice when clocks go back are quiet both times; an end that is skipped when they go forward is as
    long after midnight as the clock said before.
    """
    local = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(zone)
    if not _within(local, from_s, to_s):
        return 0
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    ends = [
        (midnight + timedelta(days=days, seconds=to_s)).replace(tzinfo=zone, fold=fold)
        for days in range(4)  # a day may be skipped, and an end that is skipped may lead into the next hours
        for fold in (0, 1)
    ]
    later = [end for end in (int(each.timestamp() * 1_000) for each in ends) if end > now_ms]
    return next(end for end in sorted(later) if not _within(_at(end, zone), from_s, to_s))


def _at(at_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).astimezone(zone)


def _within(local: datetime, from_s: int, to_s: int) -> bool:
    second = local.hour * 3_600 + local.minute * 60 + local.second
    return from_s <= second < to_s if from_s < to_s else second >= from_s or second < to_s
