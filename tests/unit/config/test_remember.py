"""config/remember: who asks for what is remembered, what a key is, and what cannot be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.schemas import KnownSchemas
from pipeline.config import remember, topics
from pipeline.config.compile import check
from pipeline.config.compile import compile as compile_config
from pipeline.config.secrets import Secrets
from pipeline.model import Cap
from tests.unit.config.conftest import PLACED

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

ONCE = 'max_age: 2h\n  once: {key: "%s", per: 30d}'


def journey(folder: Folder, key: str) -> Folder:
    return folder.change("journeys/welcome.yaml", "max_age: 2h", ONCE % key)


def compiled(folder: Folder):
    config = folder.load()
    secrets = Secrets(config.folder)
    return compile_config(config, secrets, KnownSchemas.of(config, secrets).reader_schemas())


def once(folder: Folder):
    """Compile the journey; return its `once` and a datum of our own record."""
    made = compiled(folder)
    schema = KnownSchemas.of(folder.load(), Secrets(folder.root)).reader_schemas()["hookline.LifecycleEvent"]
    plan = made.plan("lifecycle.events", schema)
    (route,) = plan.routes["signup.completed"]
    return route.once


def datum(**over):
    customer = {"id": "ann", "email": None, "phone": None, "timezone": None, "ids": {}}
    event = {"id": "e", "type": "signup.completed", "time": 1, "customer": customer, "consent": {}, "source": {}}
    return event | {"properties": {"plan": "pro", "n": 7}} | over


def test_only_who_asks_needs_the_topic(folder: Folder) -> None:
    assert not remember.used(folder.load())
    assert "shop.memory" not in topics.own(folder.load())
    assert compiled(folder).remembers is False
    journey(folder, "${event.customer.id}")
    assert topics.own(folder.load())[-1] == "shop.memory"
    assert compiled(folder).remembers is True
    folder.change("journeys/welcome.yaml", "status: live", "status: draft")
    assert not remember.used(folder.load())


def test_a_key_is_a_hash_of_journey_and_text(folder: Folder) -> None:
    made = once(journey(folder, "${event.properties.plan}:${event.properties.n}"))
    key = made.key(datum(), 0)
    assert (len(key), made.per_ms) == (16, 30 * 86_400_000)
    assert key == made.key(datum(id="another"), 5)
    assert key != made.key(datum(properties={"plan": "pro", "n": 8}), 0)
    assert made.key(datum(properties={"plan": "pro"}), 0) is None


def test_numbers_are_keys_too_and_a_constant_is_none(folder: Folder) -> None:
    assert once(journey(folder, "${event.properties.n}")).key(datum(), 0) is not None
    folder.change("journeys/welcome.yaml", "${event.properties.n}", "event.properties.n")
    assert "once.key: is the same for every event (write ${event.properties.NAME}; with " in folder.problem()


def test_hashes_are_keyed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = once(journey(folder, "${event.id}")).key(datum(), 0)
    monkeypatch.setenv(remember.KEY_VARIABLE, "another")
    assert once(folder).key(datum(), 0) != first
    assert len({remember.secret(group) for group in ("a", "b")}) == 1
    monkeypatch.delenv(remember.KEY_VARIABLE)
    assert len({remember.secret(group) for group in ("a", "b")}) == 2


def test_a_key_that_cannot_be_computed_is_refused_at_its_place(folder: Folder) -> None:
    journey(folder, "${event.nothing}")
    config = folder.load()
    schemas = KnownSchemas.of(config, Secrets(config.folder)).reader_schemas()
    (problem,) = check(config, schemas)
    assert str(problem).startswith("journeys/welcome.yaml:10:")
    assert "trigger.once.key: the event has no `nothing` here" in str(problem)


def test_longer_than_anything_is_remembered_is_refused(folder: Folder) -> None:
    journey(folder, "${event.id}")
    assert folder.load()
    folder.add("hookline.yaml", "retention: {memory: 29d}\n")
    assert folder.problem() == (
        "journeys/welcome.yaml:10:35: trigger.once.per: is longer than what is remembered "
        "(hookline.yaml's retention.memory says how long anything is remembered)"
    )


def two_inputs(folder: Folder, other: str = "other.events") -> None:
    folder.change(
        "hookline.yaml", "    record: hookline.LifecycleEvent\n",
        f"    record: hookline.LifecycleEvent\n  - topic: {other}\n    record: hookline.LifecycleEvent\n",
    )  # fmt: skip


def test_events_of_several_inputs_are_copied_if_anything_is_remembered(folder: Folder) -> None:
    two_inputs(folder)
    assert compiled(folder).rekeyed is False
    assert "shop.events" not in topics.own(folder.load())
    journey(folder, "${event.id}")
    assert compiled(folder).rekeyed is True
    assert topics.own(folder.load())[-2:] == ("shop.memory", "shop.events")
    assert topics.read(folder.load(), ()) == {
        "lifecycle.events": "shop", "other.events": "shop", "shop.events": "shop.events",
    }  # fmt: skip


def test_events_of_one_input_are_copied_if_its_entry_says_so_and_anything_is_remembered(folder: Folder) -> None:
    folder.change("hookline.yaml", "LifecycleEvent\n", "LifecycleEvent\n    rekey: true\n")
    assert compiled(folder).rekeyed is False
    journey(folder, "${event.id}")
    assert compiled(folder).rekeyed is True


def test_copies_there_are_are_read_although_none_are_made_any_more(folder: Folder) -> None:
    assert topics.read(folder.load(), ()) == {"lifecycle.events": "shop"}
    assert topics.read(folder.load(), ("shop.events",)) == {"lifecycle.events": "shop", "shop.events": "shop.events"}


def test_an_input_may_be_called_like_the_copies_unless_there_are_any(folder: Folder) -> None:
    two_inputs(folder, "shop.events")
    assert topics.read(folder.load(), ("shop.events",)) == {"lifecycle.events": "shop", "shop.events": "shop"}
    journey(folder, "${event.id}")
    assert "events[1].topic: is one of Hookline's own topics" in folder.problem()


CANCEL = "cancel_on: [{event: signup.completed, match: event.properties.plan == trigger.properties.plan}]\n"


def plan(folder: Folder):
    made = compiled(folder)
    schema = KnownSchemas.of(folder.load(), Secrets(folder.root)).reader_schemas()["hookline.LifecycleEvent"]
    return made.plan("lifecycle.events", schema)


def test_an_event_and_a_trigger_that_agree_have_one_hash(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", CANCEL)
    made = plan(folder)
    (route,) = made.routes["signup.completed"]
    (rule,), (sign,) = route.cancel_on, made.signs["signup.completed"]
    assert (rule.event, sign.keep_ms) == ("signup.completed", 2 * 3_600_000)
    assert rule.match(datum(), 0) == sign.match(datum(id="another"), 5) != ""
    assert rule.match(datum(), 0) != sign.match(datum(properties={"plan": "free"}), 0)
    assert rule.match(datum(properties={}), 0) is None
    assert sign.match(datum(properties={}), 0) is None
    assert remember.used(folder.load())


def test_sides_may_be_swapped_and_paths_of_either_come_in_one_order(folder: Folder) -> None:
    match = "trigger.properties.b == event.properties.x && event.properties.a == trigger.properties.y"
    folder.add("journeys/welcome.yaml", f"cancel_on: [{{event: signup.completed, match: {match}}}]\n")
    made = plan(folder)
    (rule,), (sign,) = made.routes["signup.completed"][0].cancel_on, made.signs["signup.completed"]
    assert rule.match(datum(properties={"b": 1, "y": "2"}), 0) == sign.match(datum(properties={"x": 1, "a": "2"}), 0)
    assert rule.match(datum(properties={"b": "2", "y": 1}), 0) != sign.match(datum(properties={"x": 1, "a": "2"}), 0)


def test_without_match_any_event_of_the_customer_cancels(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", "cancel_on: [{event: signup.completed}]\n")
    made = plan(folder)
    assert made.routes["signup.completed"][0].cancel_on[0].match(datum(properties={}), 0) == ""
    assert made.signs["signup.completed"][0].match(datum(properties={}), 0) == ""


def test_events_are_remembered_as_long_as_the_longest_asks(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", CANCEL)
    folder.add(
        "journeys/welcome.yaml",
        "success: {event: signup.completed, match: event.properties.plan == trigger.properties.plan, within: 9d}\n",
    )
    folder.change(
        "journeys/welcome.yaml", "cancel_on:",
        "  - step: quiet\n    mark:\n      suppress: {channel: email, id: a, at_most: 30d, until: {event: other}}\n"
        "cancel_on:",
    )  # fmt: skip
    made = plan(folder)
    # A success is no business of the memory: reports read the input again.
    assert [each.keep_ms for each in made.signs["signup.completed"]] == [2 * 3_600_000]
    assert [each.keep_ms for each in made.signs["other"]] == [30 * 86_400_000]
    folder.add("hookline.yaml", "retention: {memory: 10d}\n")
    assert [each.keep_ms for each in plan(folder).signs["other"]] == [10 * 86_400_000]


def test_a_mark_that_suppresses_until_an_event_waits_for_the_hash_that_event_has(folder: Folder) -> None:
    folder.change(
        "journeys/welcome.yaml", "      customer: ${event.customer.id}\n",
        "      customer: ${event.customer.id}\n  - step: quiet\n    mark:\n      suppress:\n"
        "        {channel: email, id: a, at_most: 30d, until: {event: ticket.closed, match: "
        "event.properties.n == trigger.id}}\n",
    )  # fmt: skip
    made = plan(folder)
    mark = made.routes["signup.completed"][0].steps[1].mark(datum(), 0)
    (sign,) = made.signs["ticket.closed"]
    assert mark.match == sign.match(datum(type="ticket.closed", properties={"n": "e"}), 0) != ""


def test_drafts_wait_for_nothing(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", CANCEL).change("journeys/welcome.yaml", "status: live", "status: draft")
    assert plan(folder).signs == {}


def test_a_match_whose_fields_are_not_there_is_refused_at_its_place(orders: Folder) -> None:
    orders.add(
        "journeys/welcome.yaml",
        "cancel_on:\n  - event: purchase.completed\n    match: event.properties.x == trigger.properties.y\n",
    )
    orders.write("schemas/placed.avsc", json.dumps(PLACED))
    config = orders.load()
    found = check(config, KnownSchemas.of(config, Secrets(config.folder)).reader_schemas())
    assert [str(each).partition(": cancel_on[0].match: ")[2] for each in found] == [
        "`purchase.completed` has no `event.properties.x`",
        "the event that starts the run has no `trigger.properties.y`",
    ]


def test_what_nobody_makes_cannot_be_waited_for(orders: Folder) -> None:
    orders.add("journeys/welcome.yaml", "cancel_on: [{event: purchase.complete}]\n")
    assert "cancel_on[0].event: no `events` entry of hookline.yaml makes this type" in orders.problem()


CAPS = "caps: [{category: %s, channel: %s, max: 2, per: 7d}]\n"


@pytest.mark.parametrize(
    ("category", "channel", "basis", "capped"),
    [
        ("service", "email", "contract", True), ("promotional", "email", "contract", False),
        ("service", "sms", "contract", False), ("service", "email", "legal_obligation", False),
    ],
)  # fmt: skip
def test_contacts_are_counted_where_a_cap_means_them(folder: Folder, category, channel, basis, capped) -> None:
    folder.change("journeys/welcome.yaml", "    kind: update\n", "    kind: update\n    reaches: email\n")
    folder.change("journeys/welcome.yaml", "basis: contract", f"basis: {basis}")
    folder.add("hookline.yaml", CAPS % (category, channel))
    (step,) = plan(folder).routes["signup.completed"][0].steps
    assert step.reaches == "email"
    expected = (Cap("service", "email", 2, 7 * 86_400_000),) if capped else ()
    assert step.caps == expected
    assert remember.used(folder.load()) is capped
    assert plan(folder).routes["signup.completed"][0].category == "service"


def test_what_reaches_nobody_has_no_caps(folder: Folder) -> None:
    folder.add("hookline.yaml", CAPS % ("service", "email"))
    assert plan(folder).routes["signup.completed"][0].steps[0].caps == ()
    assert not remember.used(folder.load())


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        ("[{category: service, channel: email, max: 2, per: 401d}]", "caps[0].per: is longer than what is remembered"),
        (
            "[{category: service, channel: a, max: 2, per: 1d}, {category: service, channel: a, max: 3, per: 24h}]",
            "caps[1]: is here twice",
        ),
        ("[{category: service, channel: email, max: 101, per: 1d}]", "caps[0].max: "),
        ("[{category: loud, channel: email, max: 1, per: 1d}]", "caps[0].category: must be one of"),
    ],
)
def test_caps_that_cannot_be(folder: Folder, caps: str, said: str) -> None:
    assert said in folder.add("hookline.yaml", f"caps: {caps}\n").problem()
