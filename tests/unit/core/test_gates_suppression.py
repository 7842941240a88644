"""Suppressions: whom they mean, and when they are over; active while one reason remains."""

from __future__ import annotations

import pytest

from pipeline.core.gates import suppression
from pipeline.model import Happened, Known, Memory, Suppress
from tests.unit.core.test_gates import HOUR, NOW, route, step


def active(*suppressions, memory=None, asked=None, of=None):
    known = Known({}, suppressions, memory=memory)
    return suppression.active(asked or step(), of or route(shares="first_name"), known, NOW)


@pytest.mark.parametrize(
    ("scope", "of", "means"),
    [
        ("category", "promotional", True),
        ("category", "service", False),
        ("channel", "email", True),
        ("channel", "sms", False),
        ("journey", "j", True),
        ("journey", "first_name", True),
        ("journey", "i", False),
        ("planet", "earth", True),
    ],
)
def test_it_means_a_category_a_channel_or_a_journey(scope, of, means):
    assert active(Suppress("s", scope, of, "", "", 0)) is means


def test_a_channel_means_nothing_to_a_step_that_reaches_nobody():
    assert not active(Suppress("s", "channel", "email", "", "", 0), asked=step(reaches=""))
    assert active(Suppress("s", "category", "promotional", "", "", 0), asked=step(reaches=""))


def test_it_ends_at_its_time():
    assert active(Suppress("s", "channel", "email", "", "", NOW + 1))
    assert not active(Suppress("s", "channel", "email", "", "", NOW))


@pytest.mark.parametrize(
    ("happened", "ended"),
    [
        (Happened("closed", "k", NOW - HOUR, "x"), True),
        (Happened("closed", "k", NOW - HOUR - 1, "x"), False),
        (Happened("closed", "other", NOW, "x"), False),
        (Happened("opened", "k", NOW, "x"), False),
    ],
)
def test_it_ends_by_its_event_since_it_began(happened, ended):
    suppress = Suppress("s", "channel", "email", "closed", "k", 0, NOW - HOUR)
    assert active(suppress, memory=Memory(happened=(happened,))) is not ended


def test_without_a_match_any_event_of_its_type_ends_it():
    suppress = Suppress("s", "channel", "email", "closed", "", 0, NOW - HOUR)
    assert not active(suppress, memory=Memory(happened=(Happened("closed", "k", NOW, "x"),)))


def test_an_event_that_cannot_be_told_has_not_come_but_time_goes_by():
    assert active(Suppress("s", "channel", "email", "closed", "", NOW + 1))
    assert not active(Suppress("s", "channel", "email", "closed", "", NOW))


def test_one_reason_that_remains_is_enough():
    over = Suppress("a", "channel", "email", "", "", NOW)
    assert active(over, Suppress("b", "channel", "email", "", "", NOW + 1))
    assert not active(over)
    assert not active()
