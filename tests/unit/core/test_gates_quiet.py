"""Quiet hours: by the wall clock of the customer, whatever clocks do at night."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.gates import quiet
from pipeline.known import QUIET_HOURS
from pipeline.model import Hold, QuietHours, SkipReason

HOUR = 3_600_000
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia",
    "Asia/Kathmandu", "America/St_Johns", "Pacific/Chatham", "Africa/Casablanca", "America/Sao_Paulo",
]  # fmt: skip


def seconds(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 3_600 + int(minute) * 60


def at(text: str, zone=BERLIN, fold=0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp() * 1_000)


def over(now: int, start="21:00", end="08:00", zone=BERLIN) -> int:
    return quiet.over_ms(seconds(start), seconds(end), zone, now)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-18T20:59:59", None),
        ("2026-11-18T21:00", "2026-11-19T08:00"),
        ("2026-11-18T23:59:59", "2026-11-19T08:00"),
        ("2026-11-19T00:00", "2026-11-19T08:00"),
        ("2026-11-19T07:59:59", "2026-11-19T08:00"),
        ("2026-11-19T08:00", None),
        ("2026-12-31T23:00", "2027-01-01T08:00"),
    ],
)
def test_hours_that_span_midnight(now, until):
    assert over(at(now)) == (at(until) if until else 0)


def test_hours_within_a_day_and_until_midnight():
    assert over(at("2026-11-18T12:30"), "12:00", "13:00") == at("2026-11-18T13:00")
    assert over(at("2026-11-18T13:00"), "12:00", "13:00") == 0
    assert over(at("2026-11-18T22:00"), "21:00", "00:00") == at("2026-11-19T00:00")
    assert over(at("2026-11-19T00:00"), "21:00", "00:00") == 0


def test_the_same_moment_is_night_here_and_day_there():
    now = at("2026-11-18T23:00")
    assert over(now) != 0
    assert over(now, zone=ZoneInfo("America/New_York")) == 0


def test_the_night_clocks_go_forward_is_an_hour_shorter():
    start = at("2026-03-28T21:00")
    assert over(start) - start == 10 * HOUR


def test_the_night_clocks_go_back_is_an_hour_longer():
    start = at("2026-10-24T21:00")
    assert over(start) - start == 12 * HOUR


def test_an_end_that_is_skipped_comes_when_the_old_clock_would_have_said_so():
    # 02:30 does not exist in Berlin on 29 March 2026: 01:59:59 is followed by 03:00.
    assert over(at("2026-03-29T01:00"), "22:00", "02:30") == at("2026-03-29T03:30")


def test_an_end_that_comes_twice_is_an_end_both_times():
    # 02:30 comes twice in Berlin on 25 October 2026.
    assert over(at("2026-10-25T02:15"), "22:00", "02:30") == at("2026-10-25T02:30")
    assert over(at("2026-10-25T02:45"), "22:00", "02:30") == 0
    assert over(at("2026-10-25T02:15", fold=1), "22:00", "02:30") == at("2026-10-25T02:30", fold=1)


def test_a_day_that_never_was():
    # Samoa went from 29 December 2011 straight to the 31st.
    apia = ZoneInfo("Pacific/Apia")
    assert over(at("2011-12-29T22:00", apia), zone=apia) == at("2011-12-31T08:00", apia)


@given(
    zone=st.sampled_from(ZONES),
    now_ms=st.integers(at("2010-01-01T00:00", UTC), at("2030-01-01T00:00", UTC)),
    start=st.integers(0, 86_399),
    end=st.integers(0, 86_399),
)
def test_when_quiet_hours_are_over_nobody_sleeps_and_before_nobody_is_woken(zone, now_ms, start, end):
    if start == end:
        return
    where = ZoneInfo(zone)
    until_ms = quiet.over_ms(start, end, where, now_ms)
    if not until_ms:
        assert not sleeping(now_ms, where, start, end)
        return
    assert now_ms < until_ms <= now_ms + 50 * HOUR
    assert not sleeping(until_ms, where, start, end)
    awake = [ms for ms in range(now_ms, until_ms, 600_000) if not sleeping(ms, where, start, end)]
    # Only where the end itself was skipped with the hour around it.
    assert len(awake) <= 6 or zone == "Pacific/Apia"


def sleeping(ms: int, zone, start: int, end: int) -> bool:
    local = datetime.fromtimestamp(ms / 1_000, UTC).astimezone(zone)
    second = local.hour * 3_600 + local.minute * 60 + local.second
    return start <= second < end if start < end else second >= start or second < end


# ------------------------------------------------------------------------------------------------------------- asked


def hours(start: str, end: str, *, skips=False) -> QuietHours:
    return QuietHours(seconds(start), seconds(end), lambda _datum, _now: BERLIN, skips)


def test_of_several_the_last_to_be_over_counts_and_one_that_skips_decides():
    now = at("2026-11-18T21:30")
    short, long = hours("21:00", "22:00"), hours("20:00", "08:00")
    later = at("2026-11-20T00:00")
    assert quiet.ask((short, long), (BERLIN, BERLIN), now, later) == Hold(at("2026-11-19T08:00"), QUIET_HOURS)
    assert quiet.ask((long, hours("21:00", "22:00", skips=True)), (BERLIN, BERLIN), now, later) is (
        SkipReason.QUIET_HOURS
    )
    assert quiet.ask((hours("12:00", "13:00"),), (BERLIN,), now, later) is None


def test_what_would_be_too_old_by_then_is_skipped_at_once():
    now, end = at("2026-11-18T21:30"), at("2026-11-19T08:00")
    assert quiet.ask((hours("21:00", "08:00"),), (BERLIN,), now, end) is SkipReason.QUIET_HOURS
    assert quiet.ask((hours("21:00", "08:00"),), (BERLIN,), now, end + 1) == Hold(end, QUIET_HOURS)
