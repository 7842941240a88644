"""Who is told of failures is told at once, then in digests, then that it is over; and never what an event holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.alerts import EVENTS_MAX, LINES_MAX, PLACES_MAX, Digest, Place, Share, trial

MINUTE = 60_000
T0 = 1_795_428_000_000  # 2026-11-23T10:00:00Z
MAIL = Place("welcome", "hello", "mail", "dead", "timeout")
ABOUT = "group shop, worker w-1"


def digest():
    return Digest(5 * MINUTE, ABOUT)


def test_the_first_failure_is_told_at_once():
    told = digest()
    assert told.due(T0) is None
    told.failed(MAIL, "e-1", T0)
    message = told.due(T0)
    assert (message.title, message.well) == ("Hookline: 1 delivery failed", False)
    assert message.body == (
        "1 dead(timeout): welcome.hello to mail\n\n"
        "Look closer: hookline trace ID, with e-1\n\n"
        "group shop, worker w-1, since 10:00:00 UTC"
    )


def test_what_follows_is_one_message_a_period_and_the_end_another():
    told = digest()
    told.failed(MAIL, "e-1", T0)
    assert told.due(T0) is not None
    for number in range(1_000):
        told.failed(MAIL, f"e-{number}", T0 + 1_000)
        assert told.due(T0 + 1_000) is None
    told.failed(Place("welcome", "log", "crm", "rejected", "client_error"), "x", T0 + 2_000)
    message = told.due(T0 + 5 * MINUTE)
    assert message.title == "Hookline: 1,001 deliveries failed"
    assert message.body.splitlines()[:2] == [
        "1,000 dead(timeout): welcome.hello to mail", "1 rejected(client_error): welcome.log to crm",
    ]  # fmt: skip
    assert message.body.count("e-") == EVENTS_MAX
    assert told.due(T0 + 9 * MINUTE) is None
    well = told.due(T0 + 10 * MINUTE)
    assert (well.title, well.well) == ("Hookline: all is well again", True)
    assert well.body == f"Nothing failed since the last message.\n\n{ABOUT}"
    assert told.due(T0 + 20 * MINUTE) is None
    told.failed(MAIL, "e-1", T0 + 21 * MINUTE)
    assert told.due(T0 + 21 * MINUTE).title == "Hookline: 1 delivery failed"


def test_a_breaker_is_told_when_it_opens_and_ends_the_trouble_when_it_closes():
    told = digest()
    told.breaker("mail", "", T0)
    assert told.due(T0) is None
    told.breaker("mail", "timeout", T0)
    opened = told.due(T0)
    assert opened.title == "Hookline: mail does not take deliveries"
    assert opened.body.startswith("mail: its breaker is open (timeout), runs wait\n")
    told.breaker("mail", "connection", T0 + MINUTE)  # still open: no news
    assert told.due(T0 + 5 * MINUTE) is None
    assert told.due(T0 + 60 * MINUTE) is None  # all is not well while it is open
    told.breaker("mail", "", T0 + 61 * MINUTE)
    closed = told.due(T0 + 61 * MINUTE)
    assert (closed.title, closed.well) == ("Hookline: all is well again", True)
    assert closed.body.startswith("mail: takes deliveries again\n\nNothing failed since the last message.")


def test_of_two_breakers_both_must_close():
    told = digest()
    told.breaker("mail", "timeout", T0)
    told.breaker("crm", "auth", T0)
    assert told.due(T0).body.startswith(
        "crm: its breaker is open (auth), runs wait\nmail: its breaker is open (timeout), runs wait"
    )
    told.breaker("mail", "", T0 + MINUTE)
    assert told.due(T0 + 6 * MINUTE) is None
    told.breaker("crm", "", T0 + 7 * MINUTE)
    assert told.due(T0 + 7 * MINUTE).body.startswith("crm: takes deliveries again\nmail: takes deliveries again")


def test_conditions_are_told_over_one_in_a_hundred():
    told = digest()
    told.conditions("welcome", "trigger.when", Share(1, 100), T0)
    assert told.due(T0) is None
    told.conditions("welcome", "trigger.when", Share(15, 1_000), T0)
    message = told.due(T0)
    assert message.title == "Hookline: conditions fail"
    assert message.body.startswith("1.5% of 1,000 times the condition failed: welcome trigger.when\n")


def test_a_worker_that_stops_is_told_whatever_was_told_before():
    told = digest()
    told.failed(MAIL, "e-1", T0)
    assert told.due(T0) is not None
    told.stopped("BrokerError", T0 + 1)
    message = told.due(T0 + 1)
    assert message.title == "Hookline: a worker stopped"
    assert message.body.startswith("The worker stopped: BrokerError. ")


def test_the_last_time_bad_news_waits_no_longer():
    told = digest()
    told.failed(MAIL, "e-1", T0)
    assert told.due(T0) is not None
    assert told.due(T0 + 1, last=True) is None
    told.failed(MAIL, "e-2", T0 + 1)
    assert told.due(T0 + 1) is None
    assert told.due(T0 + 1, last=True).title == "Hookline: 1 delivery failed"


def test_what_could_not_be_sent_is_told_with_the_next():
    told = digest()
    told.failed(MAIL, "e-1", T0)
    told.breaker("mail", "timeout", T0)
    lost = told.due(T0)
    told.undone(lost)
    assert told.due(T0 + MINUTE) is None
    told.failed(MAIL, "e-2", T0 + MINUTE)
    message = told.due(T0 + 5 * MINUTE)
    assert message.title == "Hookline: 2 deliveries failed"
    assert "with e-1, e-2" in message.body
    assert "since 10:00:00 UTC" in message.body
    assert "mail: its breaker is open" in message.body
    told.breaker("mail", "", T0 + 6 * MINUTE)
    well = told.due(T0 + 10 * MINUTE)
    told.undone(well)
    assert told.due(T0 + 15 * MINUTE).well


def test_a_message_has_bounds_and_says_what_it_leaves_out():
    told = digest()
    for number in range(PLACES_MAX + 50):
        told.failed(Place("welcome", f"s{number}", "mail", "dead", "timeout"), f"e-{number}", T0)
    message = told.due(T0)
    assert message.title == f"Hookline: {PLACES_MAX + 50} deliveries failed"
    lines = message.body.split("\n\n")[0].splitlines()
    assert len(lines) == LINES_MAX + 1
    assert lines[0] == "50 in other places"
    assert lines[-1] == f"… and {PLACES_MAX + 1 - LINES_MAX} more"


@pytest.mark.parametrize("id_", ["<!channel>", "@everyone", "a b\nc", "[x](http://x.example)", "*b*"])
def test_an_event_id_is_nothing_a_chat_acts_on(id_):
    told = digest()
    told.failed(MAIL, id_, T0)
    shown = told.due(T0).body.split("with ")[1].split("\n")[0]
    assert not set(shown) & set("<>@[]()*! \n")


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["fail", "open", "close", "lost", "ask"])), max_size=60))
def test_there_is_never_more_than_one_message_a_period_and_nothing_is_left_out(steps):
    told, now, last, failures, said, is_open = digest(), T0, None, 0, 0, False
    for seconds, what in steps:
        now += seconds * 1_000
        if what == "fail":
            told.failed(MAIL, "e", now)
            failures += 1
        elif what in ("open", "close"):
            is_open = what == "open"
            told.breaker("mail", "timeout" if is_open else "", now)
        message = told.due(now)
        if message is None:
            continue
        assert last is None or now - last >= 5 * MINUTE
        assert not (message.well and is_open)
        last = now
        if what == "lost":
            told.undone(message)
        else:
            said += message.news.failures.total()
    for _ in range(3):
        now += 5 * MINUTE
        message = told.due(now)
        said += message.news.failures.total() if message is not None else 0
    assert said == failures
    told.breaker("mail", "", now)
    assert [told.due(now + wait * MINUTE) for wait in (5, 10)][1] is None  # the end is told once


def test_a_trial_says_what_it_is():
    message = trial(ABOUT)
    assert (message.title, message.well) == ("Hookline: a test", True)
    assert ABOUT in message.body
