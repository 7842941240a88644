"""Whether a run may start and a step may run: every gate alone, every basis, and what comes before what."""

from __future__ import annotations

import dataclasses
from datetime import UTC

import pytest

from pipeline.core import gates
from pipeline.core.gates import CAP_RECHECK_MS, PAUSED_RECHECK_MS, STALE_RECHECK_MS
from pipeline.known import CAP as WAITS_FOR_CAP
from pipeline.known import PAUSED, QUIET_HOURS, TABLE_STALE
from pipeline.model import (
    NOTHING,
    CancelOn,
    Cap,
    ConsentSaid,
    Contact,
    Delivery,
    Event,
    GatePolicy,
    Happened,
    Hold,
    Kind,
    Known,
    Memory,
    QuietHours,
    RetryPolicy,
    Route,
    Run,
    SkipReason,
    Step,
    Suppress,
)

NOW = 1_795_000_000_000  # 2026-11-18 11:06:40 UTC
STARTED = NOW - 5
HOUR = 3_600_000
DAY = 24 * HOUR
POLICY = GatePolicy(flag_max_age_ms=DAY, lag_max_ms=30_000, skew_ms=300_000)
QUIET_NOW = QuietHours(9 * 3_600, 12 * 3_600, lambda _datum, _now: UTC, skips=False)
NOON = 1_795_003_200_000
CAP = Cap("promotional", "email", 1, 7 * DAY)
CONTACTED = Memory(contacts=(Contact("promotional", "email", NOW - HOUR, "other"),))
BASES = ("consent", "legitimate_interest", "contract", "legal_obligation")


def step(basis="consent", *, channels=("email",), **over):
    made = Step(
        "j", "s", Kind.UPDATE, "d", "o", "POST", "/", basis, "marketing", channels, 7 * DAY, b"/j/s", None,
        lambda _datum, _now: b"", lambda *_: b"", RetryPolicy(8, DAY, True, (), {}), b"", reaches="email",
    )  # fmt: skip
    return dataclasses.replace(made, **over)


def route(*steps, **over):
    return Route("j", "h", 7 * DAY, None, steps, **({"category": "promotional", "shares": "j"} | over))


def event(consent=None, age_ms=0, type_="t", customer="c"):
    return Event("e", type_, NOW - age_ms, customer, {"marketing": True} if consent is None else consent)


def delivery(asked, of, cancels=(), expires_ms=NOW + DAY):
    run = Run(None, of, STARTED, cancels=cancels)
    return Delivery("d-1", asked, run, b"", b"", expires_ms, zones=tuple(UTC for _ in asked.quiet))


def both(asked, known=NOTHING, of=None, happened=None, **more):
    """Ask at the start and again before the request: what is not the step's own condition has the same answer."""
    made = delivery(asked, of or route(asked), **more)
    happened = happened or event()
    first = gates.ask(made, happened, {}, known, POLICY, NOW)
    assert gates.again(made, happened, known, POLICY, NOW) == first
    return first


# ------------------------------------------------------------------------------------------------------ basis decides


SUPPRESSED = Known({}, (Suppress("s", "category", "promotional", "", "", 0),))
OBJECTED = Known({"marketing": ConsentSaid("marketing", granted=False, at_ms=NOW)})


@pytest.mark.parametrize(
    ("known", "over", "refused"),
    [
        (OBJECTED, {}, {"consent": SkipReason.CONSENT, "legitimate_interest": SkipReason.CONSENT}),
        (SUPPRESSED, {}, {"consent": SkipReason.SUPPRESSION, "legitimate_interest": SkipReason.SUPPRESSION}),
        (
            dataclasses.replace(NOTHING, stale_ms=30_001), {},
            dict.fromkeys(BASES[:2], Hold(NOW + STALE_RECHECK_MS, TABLE_STALE)),
        ),
        (dataclasses.replace(NOTHING, unreadable=True), {}, dict.fromkeys(BASES[:2], SkipReason.CONSENT)),
        (dataclasses.replace(NOTHING, erased_ms=1), {}, dict.fromkeys(BASES, SkipReason.ERASED)),
    ],
)  # fmt: skip
def test_the_basis_decides_what_is_asked(known, over, refused):
    assert {basis: gate for basis in BASES if (gate := both(step(basis, **over), known))} == refused


def test_an_unknown_basis_is_refused():
    assert both(step("vibes")) is SkipReason.CONSENT


def test_no_consent_is_needed_where_the_basis_is_another():
    assert both(step("contract"), happened=event({"marketing": False, "email": False})) is None
    assert both(step("legal_obligation"), happened=event({"marketing": False, "email": False})) is None


def test_a_table_that_is_a_little_behind_still_counts():
    assert both(step(), dataclasses.replace(NOTHING, stale_ms=30_000)) is None


def test_age_is_asked_before_consent():
    assert both(step("contract", max_age_ms=HOUR), happened=event(age_ms=HOUR)) is None
    assert both(step("contract", max_age_ms=HOUR), happened=event(age_ms=HOUR + 1)) is SkipReason.STALE
    assert both(step(max_age_ms=HOUR), happened=event({}, HOUR + 1)) is SkipReason.STALE


# -------------------------------------------------------------------------------------------------- condition, order


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(True, None), (False, SkipReason.CONDITION_FALSE), (None, SkipReason.CONDITION_ERROR)],
)
def test_the_condition_admits_only_what_is_true(answer, reason):
    asked = step("contract", when=lambda _datum, _now: answer)
    assert gates.ask(delivery(asked, route()), event(), {}, NOTHING, POLICY, NOW) is reason


def test_without_consent_no_condition_is_computed():
    def never(_datum, _now):
        raise AssertionError

    asked = step(when=never)
    assert gates.ask(delivery(asked, route()), event({}), {}, NOTHING, POLICY, NOW) is SkipReason.CONSENT


def test_a_condition_sees_the_time_its_run_started_and_is_asked_once() -> None:
    seen: list[int] = []
    asked = step("contract", when=lambda _datum, now_ms: seen.append(now_ms) or True)
    made = delivery(asked, route())
    assert gates.ask(made, event(), {}, NOTHING, POLICY, NOW) is None
    assert gates.again(made, event(), NOTHING, POLICY, NOW) is None
    assert seen == [STARTED]


def test_what_skips_comes_before_what_holds():
    asked = step(caps=(CAP,), quiet=(QUIET_NOW,), when=lambda _datum, _now: False)
    made = delivery(asked, route())
    known = dataclasses.replace(NOTHING, memory=CONTACTED)
    assert gates.ask(made, event(), {}, known, POLICY, NOW) is SkipReason.CONDITION_FALSE
    assert gates.again(made, event(), known, POLICY, NOW) is SkipReason.CAP
    free = dataclasses.replace(NOTHING, memory=Memory())
    assert gates.again(made, event(), free, POLICY, NOW) == Hold(NOON, QUIET_HOURS)


# ------------------------------------------------------------------------------------------------------ caps, quiet


@pytest.mark.parametrize(
    ("contact", "gate"),
    [
        (Contact("promotional", "email", NOW - HOUR, "other"), SkipReason.CAP),
        (Contact("promotional", "email", NOW - 7 * DAY, "other"), None),
        (Contact("promotional", "sms", NOW - HOUR, "other"), None),
        (Contact("service", "email", NOW - HOUR, "other"), None),
        (Contact("promotional", "email", NOW - HOUR, "d-1"), None),
    ],
)
def test_a_cap_counts_contacts_of_its_window_category_and_channel_but_not_its_own(contact, gate):
    known = dataclasses.replace(NOTHING, memory=Memory(contacts=(contact,)))
    assert both(step(caps=(CAP,)), known) is gate


def test_a_cap_is_reached_by_as_many_contacts_as_it_allows():
    known = dataclasses.replace(NOTHING, memory=CONTACTED)
    assert both(step(caps=(dataclasses.replace(CAP, most=2),)), known) is None
    twice = Memory(contacts=CONTACTED.contacts * 2)
    assert both(step(caps=(dataclasses.replace(CAP, most=2),)), dataclasses.replace(NOTHING, memory=twice)) is (
        SkipReason.CAP
    )


def test_room_under_a_cap_is_kept_for_what_is_under_way_but_what_would_be_too_old_by_then_is_skipped():
    known, asked = dataclasses.replace(NOTHING, memory=Memory()), step(caps=(CAP,))
    made = delivery(asked, route(asked))
    waits = Hold(NOW + CAP_RECHECK_MS, WAITS_FOR_CAP)
    assert gates.room(made, known, (), NOW, full=False) is None
    assert gates.room(made, known, ("d-1",), NOW, full=False) is None
    assert gates.room(made, known, ("d-2",), NOW, full=False) == waits
    assert gates.room(made, known, (), NOW, full=True) == waits
    late = delivery(asked, route(asked), expires_ms=NOW + CAP_RECHECK_MS)
    assert gates.room(late, known, ("d-2",), NOW, full=False) is SkipReason.CAP


def test_contacts_that_cannot_be_told_hold():
    assert both(step(caps=(CAP,))) == Hold(NOW + STALE_RECHECK_MS, TABLE_STALE)


def test_quiet_hours_hold_until_they_are_over_or_skip():
    assert both(step(quiet=(QUIET_NOW,))) == Hold(NOON, QUIET_HOURS)
    assert both(step(quiet=(dataclasses.replace(QUIET_NOW, skips=True),))) is SkipReason.QUIET_HOURS
    assert both(step(quiet=(QUIET_NOW,)), expires_ms=NOON) is SkipReason.QUIET_HOURS
    assert both(step(quiet=(dataclasses.replace(QUIET_NOW, to_s=10 * 3_600),))) is None


def test_the_customers_zones_are_read_from_the_event():
    asked = step(quiet=(QUIET_NOW, QUIET_NOW))
    assert gates.zones(asked, {}, STARTED) == (UTC, UTC)
    assert gates.zones(step(), {}, STARTED) == ()


# --------------------------------------------------------------------------------------------------- the run as such


@pytest.mark.parametrize(
    ("status", "gate"),
    [
        ("live", None),
        ("shadow", None),
        ("draft", SkipReason.STATUS),
        ("retired", SkipReason.STATUS),
        ("paused", Hold(NOW + PAUSED_RECHECK_MS, PAUSED)),
    ],
)
def test_the_status_of_the_journey_holds_for_every_basis(status, gate):
    for basis in BASES:
        assert both(step(basis), of=route(status=status)) == gate
    assert gates.of_run(delivery(step(), route(status=status)).run, event(), NOTHING, DAY, NOW) == gate


def test_what_is_paused_still_grows_old():
    assert both(step(), of=route(status="paused"), happened=event(age_ms=7 * DAY + 1)) is SkipReason.STALE


def test_word_of_an_erasure_is_the_one_event_of_an_erased_customer_that_passes():
    known = dataclasses.replace(NOTHING, erased_ms=NOW - HOUR)
    assert both(step("legal_obligation"), known, happened=event(type_="customer.erased")) is None
    assert both(step("legal_obligation"), known, happened=event(type_="customer.erasure")) is SkipReason.ERASED


CANCELS = (CancelOn("bought", lambda _datum, _now: "k"),)


@pytest.mark.parametrize(
    ("came", "cancels", "gate"),
    [
        (Happened("bought", "k", NOW - HOUR + 1, "x"), ("k",), SkipReason.CANCELLED),
        (Happened("bought", "k", NOW - HOUR, "x"), ("k",), SkipReason.CANCELLED),
        (Happened("bought", "k", NOW - HOUR - 1, "x"), ("k",), None),
        (Happened("bought", "k", NOW - HOUR, "e"), ("k",), None),
        (Happened("bought", "other", NOW, "x"), ("k",), None),
        (Happened("bought", "other", NOW, "x"), ("",), SkipReason.CANCELLED),
        (Happened("bought", "other", NOW, "x"), (None,), SkipReason.CANCELLED),
        (Happened("looked", "k", NOW, "x"), ("k",), None),
    ],
)
def test_an_event_since_the_trigger_cancels(came, cancels, gate):
    known = dataclasses.replace(NOTHING, memory=Memory(happened=(came,)))
    asked = step("legal_obligation")
    assert both(asked, known, of=route(cancel_on=CANCELS), happened=event(age_ms=HOUR), cancels=cancels) is gate


def test_cancelling_events_that_cannot_be_told_hold():
    asked = step("contract")
    assert both(asked, of=route(cancel_on=CANCELS), cancels=("k",)) == Hold(NOW + STALE_RECHECK_MS, TABLE_STALE)


def test_a_triggers_correlation_is_kept_for_later():
    assert gates.cancels(route(cancel_on=CANCELS), {}, STARTED) == ("k",)


# ------------------------------------------------------------------------------------------------------- who enters


def enter(of):
    return gates.enter(of, event())


def test_shares_of_nobody_and_everybody():
    assert enter(route()) is None
    assert enter(route(rollout=0.0)) is SkipReason.ROLLOUT
    assert enter(route(holdout=1.0)) is SkipReason.HOLDOUT
    assert enter(route(rollout=0.0, holdout=1.0)) is SkipReason.ROLLOUT
