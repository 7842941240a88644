"""A mark is made of the event's values, or refused by the name of what is missing."""

from __future__ import annotations

import pytest

from pipeline.core import mark
from pipeline.model import ABSENT, ConsentSaid, FailureClass, Refused, Suppress, Unsuppress


def get(name):
    return lambda datum, _now_ms: datum.get(name, ABSENT)


DATUM = {"id": "ticket:7", "ref": 7}


def test_a_suppression_ends_so_long_after_the_run_began():
    made = mark.suppress(get("id"), "category", "promotional", "ticket.closed", mark.correlation([get("ref")]), 1_000)
    found = made(DATUM, 5_000)
    assert isinstance(found, Suppress)
    assert (found.id, found.scope, found.of, found.until_event) == (
        "ticket:7",
        "category",
        "promotional",
        "ticket.closed",
    )
    assert found.until_ms == 6_000
    assert made(DATUM, 5_000) == found
    other = made(DATUM | {"ref": "7"}, 5_000)
    assert isinstance(other, Suppress)
    assert other.match != found.match  # a number is not its text


def test_without_values_to_compare_any_such_event_matches():
    assert mark.correlation([])(DATUM, 0) == ""


@pytest.mark.parametrize(
    ("datum", "refused"),
    [
        ({}, Refused(FailureClass.MISSING_FIELD, "suppress.id")),
        ({"id": None}, Refused(FailureClass.CONDITION_ERROR, "suppress.id")),
        ({"id": ""}, Refused(FailureClass.SCHEMA, "suppress.id")),
        ({"id": "a\nb"}, Refused(FailureClass.SCHEMA, "suppress.id")),
        ({"id": "a" * 513}, Refused(FailureClass.SCHEMA, "suppress.id")),
        ({"id": "a"}, Refused(FailureClass.MISSING_FIELD, "suppress.until.match")),
    ],
)
def test_what_no_suppression_can_be_made_of(datum, refused):
    made = mark.suppress(get("id"), "journey", "welcome", "a.type", mark.correlation([get("ref")]), 1)
    assert made(datum, 0) == refused


def test_one_reason_is_taken_back():
    assert mark.unsuppress(get("id"))(DATUM, 0) == Unsuppress("ticket:7")
    assert mark.unsuppress(get("id"))({}, 0) == Refused(FailureClass.MISSING_FIELD, "unsuppress.id")


def test_consent_has_its_time_or_is_refused():
    assert mark.consent("email", lambda _d, _n: 7, granted=False)({}, 0) == ConsentSaid("email", granted=False, at_ms=7)
    for at, cls in ((ABSENT, FailureClass.MISSING_FIELD), (None, FailureClass.CONDITION_ERROR)):
        assert mark.consent("email", lambda _d, _n, at=at: at, granted=True)({}, 0) == Refused(cls, "consent.at")


def test_an_identifier_that_is_none_is_the_reason_and_like_no_other():
    invalid = Refused(FailureClass.INVALID_IDENTIFIER, "")
    datum = {"id": invalid, "ref": invalid}
    assert mark.correlation([get("ref")])(datum, 0) == Refused(invalid.cls, "suppress.until.match")
    assert mark.unsuppress(get("id"))(datum, 0) == Refused(invalid.cls, "unsuppress.id")
