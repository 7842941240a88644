"""Caps and quiet hours as they are written: what is refused with which remedy, and whose clock counts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.config.contacting import Cap, QuietHours, clock_text, zone_of
from pipeline.config.scope import RecordScope
from pipeline.core import types
from pipeline.core.expressions import Flaw

NIGHT = {"channels": ["sms"], "from": "21:00", "to": "08:00", "zone": "Europe/Berlin"}
PERSON = types.tree({
    "type": "record", "name": "P",
    "fields": [{"name": "zone", "type": ["null", "string"]}, {"name": "age", "type": "int"}],
})  # fmt: skip


def flaws(section, given) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        section.model_validate(given)
    return [(each["ctx"]["text"], each["ctx"]["hint"]) for each in caught.value.errors()]


def test_times_of_day_are_read_as_seconds_and_written_back():
    read = QuietHours.model_validate(NIGHT)
    assert (read.from_s, read.to_s, read.then) == (75_600, 28_800, "hold")
    assert [clock_text(each) for each in (read.from_s, read.to_s, 0, 60)] == ["21:00", "08:00", "00:00", "00:01"]


@pytest.mark.parametrize("clock", ["24:00", "8:00", "08:60", "08:00:00", " 08:00", "8", 8, None, "\u0660\u0668:00"])
def test_what_is_no_time_of_day_is_refused(clock):
    assert flaws(QuietHours, NIGHT | {"from": clock}) == [("must be a time of day", 'such as "21:00"')]


@pytest.mark.parametrize(
    ("change", "flaw"),
    [
        ({"to": "21:00"}, ("`from` and `to` are the same", "a day without contact is a journey that is paused")),
        (
            {"zone": "Europe/Berln"},
            ("is no time zone of the IANA database", "did you mean Europe/Berlin"),
        ),
        ({"zone": "x/y"}, ("is no time zone of the IANA database", "such as Europe/Berlin")),
        (
            {"zone": "${event.customer.timezone}"},
            ("needs `zone_absent`", "for customers whose event has no time zone"),
        ),
        (
            {"zone": "${event.customer.timezone}", "zone_absent": "europe/berlin"},
            ("is no time zone of the IANA database", "did you mean Europe/Berlin"),
        ),
    ],
)
def test_hours_that_nobody_could_keep_are_refused(change, flaw):
    assert flaws(QuietHours, NIGHT | change) == [flaw]


def test_a_cap_has_a_number_and_a_window():
    cap = Cap.model_validate({"category": "promotional", "channel": "email", "max": 3, "per": "7d"})
    assert (cap.max, cap.per_ms) == (3, 7 * 86_400_000)
    for change in ({"max": 0}, {"max": 1_001}, {"category": "loud"}, {"per": "week"}, {"per": 7}):
        with pytest.raises(ValidationError):
            Cap.model_validate({"category": "promotional", "channel": "email", "max": 3, "per": "7d"} | change)


# --------------------------------------------------------------------------------------------------- whose clock


def zone(text: str, *, strict=True):
    given = QuietHours.model_validate(NIGHT | {"zone": text, "zone_absent": "UTC"})
    return zone_of(given, RecordScope(PERSON, strict=strict))


@pytest.mark.parametrize(
    ("said", "found"),
    [("America/New_York", "America/New_York"), (None, "UTC"), ("Mars/Olympus", "UTC"), ("../../etc/passwd", "UTC")],
)
def test_the_customers_zone_is_what_the_event_says_if_there_is_such_a_zone(said, found):
    assert str(zone("${record.zone}")({"zone": said, "age": 1}, 0)) == found


def test_a_zone_may_be_the_same_for_all():
    given = QuietHours.model_validate(NIGHT)
    assert str(zone_of(given, RecordScope(PERSON, strict=True))({}, 0)) == "Europe/Berlin"


def test_an_expression_that_gives_no_text_or_reads_what_is_not_there_is_a_flaw():
    assert zone("${record.age}") == (Flaw(0, "must be text, this is int"),)
    (flaw,) = zone("${record.zoen}")
    assert flaw.message == "there is no field `zoen`"
    assert str(zone("${record.zoen}", strict=False)({"zone": "Europe/Berlin"}, 0)) == "UTC"
