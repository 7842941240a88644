"""Consent: hierarchy of the keys, old flags, and what wins between table and event."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.gates import consent
from pipeline.model import ConsentSaid, Event, GatePolicy
from tests.unit.core.test_gates import step

NOW = 1_795_000_000_000
MINUTE = 60_000
DAY = 86_400_000
POLICY = GatePolicy(flag_max_age_ms=DAY, lag_max_ms=30_000, skew_ms=5 * MINUTE)


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({}, False),
        ({"marketing": True}, True),
        ({"email": True}, True),
        ({"marketing.email": True}, True),
        ({"marketing.sms": True}, False),
        ({"service": True}, False),
        ({"sms": True}, False),
        ({"marketing": False}, False),
        ({"marketing": False, "email": True}, False),
        ({"marketing": True, "email": False}, False),
        ({"marketing.email": True, "email": False}, False),
        ({"marketing.email": False, "marketing": True, "email": True}, False),
        ({"marketing.email": True, "marketing": False}, False),
    ],
)
def test_consent_needs_a_grant_and_no_denial(said, allowed):
    assert consent.granted(step(), said) is allowed


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({"marketing.sms": True}, True),
        ({"email": False, "sms": True}, True),
        ({"email": False, "sms": False, "marketing": True}, False),
        ({"marketing": False, "email": True}, False),
        ({}, False),
    ],
)
def test_reaching_nobody_any_channel_of_the_journey_will_do(said, allowed):
    assert consent.granted(step(channels=("email", "sms")), said) is allowed


@pytest.mark.parametrize(("said", "allowed"), [({"marketing": True}, True), ({"email": True}, False), ({}, False)])
def test_without_any_channel_the_purpose_decides(said, allowed):
    assert consent.granted(step(channels=()), said) is allowed


@pytest.mark.parametrize(
    ("said", "objected"),
    [
        ({}, False),
        ({"sms": False}, False),
        ({"marketing": False}, True),
        ({"email": False}, True),
        ({"marketing.email": False}, True),
        ({"marketing": True}, False),
    ],
)
def test_an_objection_is_of_the_purpose_or_a_channel_that_is_reached(said, objected):
    assert consent.objected(step(), said) is objected


# ---------------------------------------------------------------------------------------------------- table and event


def merged(flags, table=None, age_ms=0):
    event = Event("e", "t", NOW - age_ms, "c", flags)
    words = {key: ConsentSaid(key, granted, at_ms) for key, (granted, at_ms) in (table or {}).items()}
    return dict(consent.merged(event, words, POLICY, NOW))


def test_old_flags_grant_nothing_but_an_old_objection_stands():
    assert merged({"marketing": True}, age_ms=DAY) == {"marketing": True}
    assert merged({"marketing": True}, age_ms=DAY + 1) == {}
    assert merged({"marketing": False}, age_ms=DAY + 1) == {"marketing": False}


@pytest.mark.parametrize(
    ("flag", "word", "wins"),
    [
        (True, (False, NOW - 6 * MINUTE), True),
        (True, (False, NOW - 5 * MINUTE), False),
        (True, (False, NOW + 5 * MINUTE), False),
        (True, (False, NOW + 6 * MINUTE), False),
        (False, (True, NOW - 6 * MINUTE), False),
        (False, (True, NOW - 5 * MINUTE), False),
        (False, (True, NOW + 5 * MINUTE), False),
        (False, (True, NOW + 6 * MINUTE), True),
        (True, (True, NOW - DAY), True),
        (False, (False, NOW - DAY), False),
    ],
)
def test_the_newest_word_wins_and_denial_wins_a_tie(flag, word, wins):
    assert merged({"email": flag}, {"email": word}) == {"email": wins}


def test_an_old_flag_that_granted_does_not_lift_a_denial():
    assert merged({"email": True}, {"email": (False, NOW - 30 * DAY)}, age_ms=2 * DAY) == {"email": False}


def test_a_flag_of_an_event_from_the_future_is_not_newer_than_now():
    assert merged({"email": True}, {"email": (False, NOW - MINUTE)}, age_ms=-DAY) == {"email": False}


def test_words_on_other_keys_stand_beside_each_other():
    assert merged({"sms": True}, {"email": (True, NOW)}) == {"sms": True, "email": True}


@given(
    flag=st.booleans(), granted=st.booleans(),
    age_ms=st.integers(-DAY, 3 * DAY), word_age_ms=st.integers(-DAY, 3 * DAY),
)  # fmt: skip
def test_a_grant_always_has_a_grant_behind_it_that_no_denial_is_newer_than(flag, granted, age_ms, word_age_ms):
    said = merged({"email": flag}, {"email": (granted, NOW - word_age_ms)}, age_ms)["email"]
    if said:
        at = max(age_ms, 0)
        flag_grants = flag and at <= DAY and (granted or at < word_age_ms - POLICY.skew_ms)
        word_grants = granted and (flag or word_age_ms < at - POLICY.skew_ms)
        assert flag_grants or word_grants
