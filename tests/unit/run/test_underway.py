"""run/underway: what was let through keeps its place until it ends, so that no window ever holds more than its cap."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.gates import CAP_RECHECK_MS
from pipeline.core.offsets import Tracker
from pipeline.known import CAP
from pipeline.model import (
    NOTHING,
    Cap,
    Contact,
    Delivery,
    Event,
    Flight,
    Hold,
    Memory,
    Outcome,
    Record,
    Route,
    Run,
    SkipReason,
    Trace,
)
from pipeline.run.underway import Underway
from tests.unit.run.conftest import DAY, step

NOW = 1_700_000_000_000
HOUR = 3_600_000
ONE = Cap("promotional", "email", 1, DAY)
WAITS = Hold(NOW + CAP_RECHECK_MS, CAP)


def delivery(name, *, customer="c", channel="email", category="promotional", caps=(ONE,), tracker=None) -> Delivery:
    of_channel = tuple(dataclasses.replace(each, category=category, channel=channel) for each in caps)
    made = dataclasses.replace(step(), reaches=channel, caps=of_channel)
    event = Event("e", "signup", NOW, customer, {})
    tracker = tracker or Tracker("in", 0, 0)
    flight = Flight(
        Record("in", 0, 0, b"k", b"v", (), NOW), tracker, ("in", 0, 0, NOW), event, Trace("a" * 32, "", False), 0
    )
    run = Run(flight, Route("welcome", "h", DAY, None, (made,), category=category), NOW)
    return Delivery(name, made, run, b"", b"", NOW + DAY)


def known(*contacts: Contact):
    return dataclasses.replace(NOTHING, memory=Memory(contacts=contacts))


def contact(name, at_ms=NOW) -> Contact:
    return Contact("promotional", "email", at_ms, name)


@pytest.fixture
def underway() -> Underway:
    return Underway()


def test_of_two_that_are_under_way_together_the_second_waits_until_the_first_ended(underway):
    first, second = delivery("a"), delivery("b")
    assert underway.enter(first, known(), NOW) is None
    assert underway.enter(second, known(), NOW) == WAITS
    assert underway.enter(first, known(), NOW) is None, "its own place is no reason to wait"
    underway.leave(first)
    assert underway.enter(second, known(), NOW) is None
    assert len(underway) == 1


def test_places_are_of_one_customer_category_and_channel(underway):
    assert underway.enter(delivery("a"), known(), NOW) is None
    others = [{"customer": "d"}, {"category": "service"}, {"channel": "sms"}]
    assert [underway.enter(delivery(str(each), **each), known(), NOW) for each in others] == [None] * 3


def test_places_and_contacts_count_together_and_what_is_both_once(underway):
    two = dataclasses.replace(ONE, most=2)
    assert underway.enter(delivery("a", caps=(two,)), known(contact("a")), NOW) is None
    assert underway.enter(delivery("b", caps=(two,)), known(contact("a")), NOW) is None
    underway.leave(delivery("c"))
    assert underway.enter(delivery("c", caps=(two,)), known(contact("x")), NOW) == WAITS


def test_what_would_be_too_old_by_then_does_not_wait(underway):
    late = delivery("b")
    late.expires_ms = NOW + CAP_RECHECK_MS
    underway.enter(delivery("a"), known(), NOW)
    assert underway.enter(late, known(), NOW) is SkipReason.CAP


def test_one_that_finds_no_room_any_more_gives_its_place_up(underway):
    """Another worker delivered meanwhile. If both kept theirs, each would wait for the other."""
    two = dataclasses.replace(ONE, most=2)
    first, second = delivery("a", caps=(two,)), delivery("b", caps=(two,))
    assert [underway.enter(each, known(), NOW) for each in (first, second)] == [None, None]
    assert underway.enter(first, known(contact("elsewhere")), NOW) == WAITS
    assert underway.enter(second, known(contact("elsewhere")), NOW) is None


def test_the_place_is_the_deliverys_whoever_has_it_anew(underway):
    """A partition went and came back: the delivery is there again while its first object ends late."""
    first, again = delivery("a"), delivery("a")
    underway.enter(first, known(), NOW)
    assert underway.enter(again, known(), NOW) is None
    underway.leave(first)
    assert underway.enter(delivery("b"), known(), NOW) == WAITS
    underway.leave(again)
    assert len(underway) == 0


def test_a_partition_that_is_gone_takes_its_places_with_it_and_gets_no_more(underway):
    gone, stays = Tracker("in", 0, 0), Tracker("in", 1, 0)
    underway.enter(delivery("a", tracker=gone), known(), NOW)
    underway.enter(delivery("b", customer="d", tracker=stays), known(), NOW)
    gone.closed = True
    underway.forget(gone)
    assert len(underway) == 1
    assert underway.enter(delivery("c", tracker=gone), known(), NOW) is None
    assert len(underway) == 1


def test_there_are_so_many_places_and_one_more_waits():
    few = Underway(2)
    first, second, third = (delivery(name, customer=name) for name in "abc")
    assert [few.enter(each, known(), NOW) for each in (first, second)] == [None, None]
    assert few.enter(third, known(), NOW) == WAITS
    assert few.enter(first, known(), NOW) is None, "who has a place needs none"
    few.leave(second)
    assert few.enter(third, known(), NOW) is None


# ------------------------------------------------------------------------------------- whatever the order of ends

CAPS = (Cap("promotional", "email", 2, DAY), Cap("promotional", "email", 1, HOUR))
ENDS = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 7)),
    st.tuples(st.just("end"), st.integers(0, 7), st.sampled_from((Outcome.DELIVERED, Outcome.DELIVERED, Outcome.DEAD))),
    st.tuples(st.just("hand over"), st.integers(0, 7)),
    st.tuples(st.just("wait"), st.sampled_from((1, 60_000, HOUR, DAY // 2))),
)


@given(doing=st.lists(ENDS, max_size=60))
def test_no_window_ever_holds_more_than_its_cap_and_every_place_is_given_back(doing):
    """Eight deliveries of one customer, asked about, sent, retried and ended in any order, each ending once."""
    underway, now_ms = Underway(), NOW
    deliveries = [delivery(str(number), caps=CAPS) for number in range(8)]
    sending: set[int] = set()
    over: set[int] = set()
    contacts: list[Contact] = []
    for what, *of in doing:
        if what == "wait":
            now_ms += of[0]
        elif of[0] in over:
            continue
        elif what == "ask":
            gate = underway.enter(deliveries[of[0]], known(*contacts), now_ms)
            (sending.discard if gate else sending.add)(of[0])
        elif of[0] in sending:
            sending.remove(of[0])
            if what == "end":
                over.add(of[0])
                if of[1] is Outcome.DELIVERED:
                    contacts.append(contact(str(of[0]), now_ms))
            underway.leave(deliveries[of[0]])
        assert len(underway) == len(sending)
    for cap in CAPS:
        for latest in contacts:
            window = [each for each in contacts if latest.at_ms - cap.per_ms < each.at_ms <= latest.at_ms]
            assert len(window) <= cap.most, (cap, contacts)
