"""run/misses: what came to nothing is told once a place, then summed up; no value of an event is in the text."""

from __future__ import annotations

import pytest

from pipeline.model import Record
from pipeline.run.misses import TYPES_REMEMBERED, Misses
from pipeline.testing.fakes import FakeTelemetry

WANTED = {"signup.completed": (), "cart.abandoned": ()}


@pytest.fixture
def telemetry() -> FakeTelemetry:
    return FakeTelemetry()


@pytest.fixture
def misses(telemetry) -> Misses:
    return Misses(telemetry.log)


def record(offset: int = 0) -> Record:
    return Record("in", 2, offset, b"k", b"v", (), 0)


def names(telemetry) -> list[tuple[str, str]]:
    return [(level, event) for level, event, _ in telemetry.lines]


def test_each_place_is_told_once(telemetry, misses) -> None:
    for number in range(3):
        misses.condition("welcome", "trigger.when", f"e-{number}")
        misses.condition("welcome", "steps.crm.when", f"e-{number}")
    assert [(fields["journey"], fields["place"], fields["event_id"]) for _, _, fields in telemetry.lines] == [
        ("welcome", "trigger.when", "e-0"), ("welcome", "steps.crm.when", "e-0"),
    ]  # fmt: skip
    assert names(telemetry) == [("warning", "condition_failed")] * 2
    assert misses.conditions == {("welcome", "trigger.when"): 3, ("welcome", "steps.crm.when"): 3}


def test_a_type_like_one_that_is_asked_for_is_a_warning_naming_that_one(telemetry, misses) -> None:
    for number, type_ in enumerate(("signup.complete", "Signup.Completed", "signup.complete")):
        misses.no_journey(record(number), type_, "e", WANTED)
    ((level, event, fields),) = telemetry.lines
    assert (level, event) == ("warning", "event_type_misspelt")
    assert (fields["topic"], fields["partition"], fields["offset"]) == ("in", 2, 0)
    assert fields["like"] == "signup.completed"
    assert misses.types == {("in", "signup.completed"): 3}


def test_any_other_type_is_information(telemetry, misses) -> None:
    for number, type_ in enumerate(("wishlist.shared", "invoice.paid")):
        misses.no_journey(record(number), type_, "e", WANTED)
    assert names(telemetry) == [("info", "event_type_without_journey")]
    assert misses.types == {("in", ""): 2}


def test_no_value_of_the_event_is_in_a_line(telemetry, misses) -> None:
    for type_ in ("ann@example.org", "signup.complete"):
        misses.no_journey(record(), type_, "e", WANTED)
    misses.sum_up()
    written = repr(telemetry.lines)
    assert "ann@example.org" not in written
    assert "'signup.complete'" not in written


def test_the_summary_says_what_no_line_did(telemetry, misses) -> None:
    misses.condition("welcome", "trigger.when", "e")
    misses.sum_up()
    assert names(telemetry) == [("warning", "condition_failed")]  # told by its line already
    for _ in range(5):
        misses.condition("welcome", "trigger.when", "e")
    misses.condition("other", "trigger.when", "e")
    for _ in range(3):
        misses.no_journey(record(), "signup.complete", "e", WANTED)
    telemetry.lines.clear()
    misses.sum_up()
    ((level, event, fields),) = telemetry.lines
    assert (level, event) == ("warning", "events_came_to_nothing")
    assert (fields["conditions_failed"], fields["types_misspelt"]) == (5, 2)
    assert (fields["journey"], fields["place"]) == ("welcome", "trigger.when")
    misses.sum_up()
    assert len(telemetry.lines) == 1


def test_invented_types_take_no_memory_without_end(misses) -> None:
    for number in range(TYPES_REMEMBERED + 50):
        misses.no_journey(record(), f"{number}-invented", "e", WANTED)
    assert len(misses._likeness) == TYPES_REMEMBERED
    assert misses.types == {("in", ""): TYPES_REMEMBERED + 50}
