"""Whether a step may run: age, basis and consent flags, its own condition."""

import pytest

from pipeline.core import gates
from pipeline.model import Event, Kind, RetryPolicy, SkipReason, Step

NOW = 1_795_000_000_000
STARTED = NOW - 5
HOUR = 3_600_000
DAY = 24 * HOUR


def step(basis="consent", *, channels=("email",), when=None, max_age_ms=7 * DAY):
    return Step(
        "j", "s", Kind.UPDATE, "d", "o", "POST", "/", basis, "marketing", channels, max_age_ms, b"/j/s", when,
        lambda _datum, _now: b"", lambda *_: b"", RetryPolicy(8, DAY, True, (), {}), b"",
    )  # fmt: skip


def event(consent=None, age_ms=0):
    return Event("e", "t", NOW - age_ms, "c", consent or {})


def ask(asked, happened):
    return gates.ask(asked, happened, {}, NOW, STARTED, DAY)


@pytest.mark.parametrize(
    ("flags", "allowed"),
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
def test_consent_needs_a_grant_and_no_denial(flags, allowed):
    assert ask(step(), event(flags)) is (None if allowed else SkipReason.CONSENT)


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        ({"marketing.sms": True}, True),
        ({"email": False, "sms": True}, True),
        ({"email": False, "sms": False, "marketing": True}, False),
        ({"marketing": False, "email": True}, False),
        ({}, False),
    ],
)
def test_reaching_nobody_any_channel_of_the_journey_will_do(flags, allowed):
    assert ask(step(channels=("email", "sms")), event(flags)) is (None if allowed else SkipReason.CONSENT)


@pytest.mark.parametrize(("flags", "allowed"), [({"marketing": True}, True), ({"email": True}, False), ({}, False)])
def test_without_any_channel_the_purpose_decides(flags, allowed):
    assert ask(step(channels=()), event(flags)) is (None if allowed else SkipReason.CONSENT)


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        ({}, True),
        ({"sms": False}, True),
        ({"marketing": False}, False),
        ({"email": False}, False),
        ({"marketing.email": False}, False),
    ],
)
def test_legitimate_interest_goes_on_until_there_is_an_objection(flags, allowed):
    assert ask(step("legitimate_interest"), event(flags)) is (None if allowed else SkipReason.CONSENT)


def test_old_flags_grant_nothing_but_an_old_objection_stands():
    assert ask(step(), event({"marketing": True}, DAY)) is None
    assert ask(step(), event({"marketing": True}, DAY + 1)) is SkipReason.CONSENT
    assert ask(step("legitimate_interest"), event({"marketing": False}, DAY + 1)) is SkipReason.CONSENT


@pytest.mark.parametrize("basis", ["contract", "legal_obligation"])
def test_some_bases_ask_for_no_consent(basis):
    assert ask(step(basis), event({"marketing": False, "email": False})) is None


def test_an_unknown_basis_is_refused():
    assert ask(step("vibes"), event({"marketing": True})) is SkipReason.CONSENT


def test_age_is_asked_first():
    assert ask(step("contract", max_age_ms=HOUR), event(age_ms=HOUR)) is None
    assert ask(step("contract", max_age_ms=HOUR), event(age_ms=HOUR + 1)) is SkipReason.STALE
    assert ask(step(max_age_ms=HOUR), event(age_ms=HOUR + 1)) is SkipReason.STALE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(True, None), (False, SkipReason.CONDITION_FALSE), (None, SkipReason.CONDITION_ERROR)],
)
def test_the_condition_admits_only_what_is_true(answer, reason):
    assert ask(step("contract", when=lambda _datum, _now: answer), event()) is reason


def test_without_consent_no_condition_is_computed():
    def never(_datum, _now):
        raise AssertionError

    assert ask(step(when=never), event()) is SkipReason.CONSENT


def test_a_condition_sees_the_time_its_run_started() -> None:
    seen: list[int] = []
    ask(step("contract", when=lambda _datum, now_ms: seen.append(now_ms) or True), event())
    assert seen == [STARTED]
