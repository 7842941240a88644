"""core/switches: what is held back, and which waiting runs an order means."""

from __future__ import annotations

import pytest

from pipeline.core import switches
from pipeline.core.switches import DROP, RELEASE, RESET, Order, Switches
from tests.unit.run.conftest import step

NOW = 1_800_000_000_000
CALLS = {("welcome", "crm"): "crm", ("welcome", "mail"): "mail", ("goodbye", "crm"): "crm"}


def note(said: Switches, key: bytes, state: str, at_ms: int = NOW, **more: object):
    return said.note(key, switches.content(state, "ada@host", "because", at_ms, **more), at_ms)


def test_nothing_switched_asks_nothing() -> None:
    assert Switches().gates(CALLS) == {}


def test_a_paused_destination_holds_its_steps_and_no_others() -> None:
    said = Switches()
    note(said, b"pause/destination/crm", "paused")
    gates = said.gates(CALLS)
    assert set(gates) == {"crm"}
    assert gates["crm"](step()) == "paused"
    (switch,) = said.on()
    assert (switch.who, switch.reason, switch.at_ms) == ("ada@host", "because", NOW)


@pytest.mark.parametrize(
    ("key", "held"),
    [
        (b"pause/journey/welcome", "paused"),
        (b"pause/step/welcome.crm", "paused"),
        (b"pause/journey/goodbye", ""),
        (b"pause/step/welcome.mail", None),
    ],
)
def test_journeys_and_steps_are_held_in_the_lanes_they_call(key: bytes, held: str | None) -> None:
    said = Switches()
    note(said, key, "paused")
    gate = said.gates(CALLS).get("crm")
    assert (gate(step()) if gate is not None else None) == held  # None: that lane need not even ask


def test_a_disabled_operation_holds_only_its_own_steps() -> None:
    said = Switches()
    note(said, switches.disabled_key("crm", "op"), "disabled")
    note(said, switches.disabled_key("mail", "other"), "disabled")
    gates = said.gates(CALLS)
    assert gates["crm"](step()) == "disabled"
    assert gates["mail"](step(destination="mail")) == ""
    assert [each.name for each in said.of("crm")] == ["crm.op"]


def test_what_was_resumed_stays_known_but_holds_nothing() -> None:
    said = Switches()
    note(said, b"pause/destination/crm", "paused")
    note(said, b"pause/destination/crm", "resumed", NOW + 5)
    assert said.gates(CALLS) == {}
    assert [(each.state, each.at_ms) for each in said.all()] == [("resumed", NOW + 5)]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"state":"paused","who":"a","reason":"b","at":"x"}'])
def test_damaged_records_are_passed_over(content: bytes) -> None:
    said = Switches()
    note(said, b"pause/destination/crm", "paused")
    assert said.note(b"pause/destination/crm", content, NOW) is None
    assert said.note(b"release/crm", content or b"{", NOW) is None
    assert len(said.on()) == 1


@pytest.mark.parametrize("key", [None, b"worker/a", b"pause", b"pause/", b"journey/x"])
def test_other_records_are_no_business_of_it(key: bytes | None) -> None:
    assert Switches().note(key, b"{}", NOW) is None


def test_a_tombstone_forgets() -> None:
    said = Switches()
    note(said, b"pause/destination/crm", "paused")
    note(said, b"drop/crm/17", DROP)
    said.note(b"pause/destination/crm", None, NOW)
    said.note(b"drop/crm/17", None, NOW)
    assert (said.all(), said.orders(DROP)) == ((), ())


def test_a_later_release_replaces_an_earlier_one_and_drops_stand_side_by_side() -> None:
    said = Switches()
    for at_ms in (NOW, NOW + 1):
        note(said, switches.order_key(RELEASE, "crm", at_ms), RELEASE, at_ms, rate=50.0, newest_first=True)
        note(said, switches.order_key(DROP, "crm", at_ms), DROP, at_ms, before_ms=7)
    note(said, switches.order_key(RESET, "crm", NOW), RESET)
    assert [(each.at_ms, each.rate_per_s, each.newest_first) for each in said.orders(RELEASE)] == [
        (NOW + 1, 50.0, True)
    ]
    assert [(each.given_ms, each.before_ms) for each in said.orders(DROP)] == [(NOW, 7), (NOW + 1, 7)]
    assert len(said.orders(RESET)) == 1


def order(verb: str, before_ms: int = 0, destination: str = "crm") -> Order:
    return Order(verb, destination, "ada", "because", NOW, before_ms=before_ms)


@pytest.mark.parametrize(
    ("given", "written_ms", "began_ms", "meant"),
    [
        (order(DROP), NOW, 0, True),
        (order(DROP), NOW + 1, 0, False),  # waits since the order was given: it knew nothing of this run
        (order(DROP, before_ms=500), NOW, 499, True),
        (order(DROP, before_ms=500), NOW, 500, False),
        (order(RELEASE), NOW, 0, True),
        (order(RELEASE), NOW + 1, 0, False),  # it was released and failed: now it has a wait of its own
    ],
)
def test_an_order_means_what_waited_when_it_was_given(given, written_ms, began_ms, meant) -> None:
    assert (switches.told([given], ("crm",), written_ms, began_ms) is given) is meant


@pytest.mark.parametrize(("verb", "later_ms", "meant"), [(RELEASE, 0, True), (RELEASE, 1, False), (DROP, 0, False)])
def test_a_release_means_what_was_held_back_while_workers_heard_of_the_resumption(verb, later_ms, meant) -> None:
    written_ms = NOW + switches.RELEASE_GRACE_MS + later_ms
    assert (switches.told([order(verb)], ("crm",), written_ms, 0, held=True) is not None) is meant


def test_a_drop_comes_before_a_release_and_other_destinations_are_not_meant() -> None:
    drop, release = order(DROP), order(RELEASE)
    assert switches.told([release, drop], ("crm", "mail"), NOW, 0) is drop
    assert switches.told([release, drop], ("mail",), NOW, 0) is None


def test_a_drop_ends_once_all_that_it_means_is_too_old_to_be_sent_and_no_sooner() -> None:
    said, day_ms = Switches(), 86_400_000
    key = switches.order_key(DROP, "crm", NOW)
    note(said, key, DROP, before_ms=NOW)
    note(said, switches.order_key(RELEASE, "crm", NOW), RELEASE)
    age_ms = 30 * day_ms
    assert said.outdated(NOW + age_ms + switches.DROP_SLACK_MS, age_ms) == ()
    assert said.outdated(NOW + age_ms + switches.DROP_SLACK_MS + 1, age_ms) == (key,)
    said.note(key, None, NOW)
    assert [each.verb for each in said.orders(DROP, RELEASE)] == [RELEASE]
    assert said.outdated(NOW + 100 * day_ms, age_ms) == ()
