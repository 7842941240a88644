"""A configuration becomes plans, routes, steps and destinations, or says all that is wrong with it."""

from __future__ import annotations

import io
import json
import pathlib
from decimal import Decimal

import fastavro
import pytest

from pipeline import __version__
from pipeline.config.compile import check, compile  # noqa: A004
from pipeline.config.secrets import Secrets
from pipeline.core import gates, routes
from pipeline.core.definitions import LATER
from pipeline.errors import ConfigError
from pipeline.model import (
    NOTHING,
    Delivery,
    Event,
    FailureClass,
    GatePolicy,
    Record,
    Refused,
    Route,
    Run,
    SkipReason,
    Undecodable,
)
from tests.unit.config.conftest import PLACED

LIFECYCLE = json.loads((pathlib.Path(__file__).parents[3] / "schemas" / "lifecycle_event.avsc").read_text())
NOW = 1_795_428_000_000
UUID = "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d"


def gate(step, event, datum):
    delivery = Delivery("d", step, Run(None, Route(step.journey, "", 0, None, (step,)), NOW), b"", b"", 0)
    return gates.ask(delivery, event, datum, NOTHING, GatePolicy(1_000), NOW)


def problems(folder, schemas=None):
    found = check(folder.load(), {"shop.OrderPlaced": PLACED} if schemas is None else schemas)
    return [str(each) for each in found]


def compiled(folder, schemas=None, **environ):
    return compile(
        folder.load(), Secrets(folder.root, environ), {"shop.OrderPlaced": PLACED} if schemas is None else schemas
    )


def encoded(schema, **given):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), given)
    return out.getvalue()


def placed(schema=PLACED, **changes):
    lines = [{"sku": "A", "price": Decimal("1.10")}, {"sku": "B", "price": Decimal("-2.00")}]
    given = {"order_id": 7, "placed_at": NOW * 1000, "buyer": "c-1", "mail": None, "opted_in": True,
             "total": Decimal("129.50"), "state": "paid", "remark": None, "lines": lines}  # fmt: skip
    return encoded(schema, **(given | changes))


def taken(plan, content):
    record = Record("shop.orders", 1, 2, None, content, (), NOW)
    datum = plan.read(content, 0)
    assert not isinstance(datum, Undecodable), datum
    event = plan.envelope(datum, record)
    assert isinstance(event, Event), event
    return event, datum


def body(step, datum):
    made = step.render(datum, NOW)
    return made if isinstance(made, Refused) else json.loads(made)


def test_a_foreign_record_becomes_an_event_and_a_request(orders):
    assert problems(orders) == []
    plan = compiled(orders).plan("shop.orders", PLACED)
    event, datum = taken(plan, placed())
    assert (event.id, event.type, event.time_ms, event.customer_id) == ("7:placed", "purchase.completed", NOW, "c-1")
    assert event.consent == {"marketing.email": True}
    [(route, why)] = routes.match(plan.routes[event.type], datum, NOW)
    assert why is None
    [step] = route.steps
    assert gate(step, event, datum) is None
    assert body(step, datum) == {
        "order": "7:placed",
        "customer": "c-1",
        "total": "129.50",
        "at": "2026-11-23T10:00:00.000Z",
        "shop": "eu",
        "subject": "Thanks for 2 things",
        "cents": 12950,
        "lines": [
            {"sku": "A", "price": "1.10", "order": "7:placed"},
            {"sku": "B", "price": "-2.00", "order": "7:placed"},
        ],
    }


def test_conditions_and_flags_come_from_the_record(orders):
    plan = compiled(orders).plan("shop.orders", PLACED)
    assert routes.match(plan.routes["purchase.completed"], taken(plan, placed(state="open"))[1], NOW) == []
    event, datum = taken(plan, placed(opted_in=False, lines=[]))
    [step] = plan.routes["purchase.completed"][0].steps
    assert gate(step, event, datum) is SkipReason.CONSENT
    granted, datum = taken(plan, placed(lines=[]))
    assert gate(step, granted, datum) is SkipReason.CONDITION_FALSE


def test_a_producer_may_evolve(orders):
    newer = PLACED | {"fields": [field for field in PLACED["fields"] if field["name"] != "remark"]
                      + [{"name": "voucher", "type": "string"}]}  # fmt: skip
    plan = compiled(orders).plan("shop.orders", newer)
    given = {"voucher": "V", "remark": None}
    assert taken(plan, placed(newer, **given))[0].id == "7:placed"


def test_a_condition_that_does_not_fit_the_writers_schema_errs_whatever_else_it_asks(orders):
    plan = compiled(orders, {}).plan("shop.orders", PLACED)
    [route] = plan.routes["purchase.completed"]
    assert [each.path for each in route.asks] == ["event.properties.total", "event.properties.state"]
    # Without a reader schema it may be right; a writer whose `total` is a time shows that it is not.
    fields = [each for each in PLACED["fields"] if each["name"] != "total"]
    total = {"name": "total", "type": {"type": "long", "logicalType": "timestamp-millis"}}
    other = PLACED | {"fields": [*fields, total]}
    plan = compiled(orders, {}).plan("shop.orders", other)
    [route] = plan.routes["purchase.completed"]
    assert route.asks == ()
    datum = taken(plan, placed(other, state="open", total=NOW))[1]
    assert routes.match(plan.routes["purchase.completed"], datum, NOW) == [(route, SkipReason.CONDITION_ERROR)]


def test_other_topics_and_records_are_unmapped(orders):
    made = compiled(orders)
    assert made.plan("elsewhere", PLACED) is None
    assert made.plan("shop.orders", PLACED | {"name": "Other"}) is None


def test_without_a_reader_schema_the_writers_schema_counts(orders):
    made = compiled(orders, {})
    plan = made.plan("shop.orders", PLACED)
    event, datum = taken(plan, placed())
    [(route, why)] = routes.match(plan.routes[event.type], datum, NOW)
    assert why is None
    assert body(route.steps[0], datum)["total"] == "129.50"
    without = PLACED | {"fields": [field for field in PLACED["fields"] if field["name"] != "total"]}
    plan = made.plan("shop.orders", without)
    event, datum = taken(plan, encoded(without, order_id=7, placed_at=NOW * 1000, buyer="c-1", mail=None, opted_in=True,
                                state="paid", remark=None, lines=[]))  # fmt: skip
    [(route, why)] = routes.match(plan.routes[event.type], datum, NOW)
    assert why is SkipReason.CONDITION_ERROR
    assert body(route.steps[0], datum) == Refused(FailureClass.MISSING_FIELD, "total")


def test_without_a_reader_schema_text_of_no_class_is_still_not_sent(orders):
    orders.change("journeys/welcome.yaml", "order: ${event.id}\n", "order: ${event.properties.remark}\n")
    plan = compiled(orders, {}).plan("shop.orders", PLACED)
    event, datum = taken(plan, placed(remark="call me"))
    [step] = plan.routes[event.type][0].steps
    assert body(step, datum) == Refused(FailureClass.CONFIG, "order")


def test_our_own_record_needs_no_mapping(folder):
    plan = compiled(folder, {"hookline.LifecycleEvent": LIFECYCLE}).plan("lifecycle.events", LIFECYCLE)
    given = {"id": UUID, "type": "signup.completed", "time": NOW, "customer": {"id": "c-1"},
             "consent": {"marketing": "granted"}}  # fmt: skip
    event, datum = taken(plan, encoded(LIFECYCLE, **given))
    assert (event.id, event.consent) == (UUID, {"marketing": True})
    assert body(plan.routes[event.type][0].steps[0], datum) == {"customer": "c-1"}
    content = encoded(LIFECYCLE, **(given | {"id": "order-7"}))
    record = Record("lifecycle.events", 0, 0, None, content, (), NOW)
    refused = plan.envelope(plan.read(content, 0), record)
    assert refused == Undecodable("id: not a UUID of 36 characters")


def test_a_position_is_the_id_everywhere(orders):
    orders.change("hookline.yaml", '"${record.order_id}:placed"', "position")
    plan = compiled(orders).plan("shop.orders", PLACED)
    event, datum = taken(plan, placed())
    assert event.id == "shop.orders/1/2"
    assert body(plan.routes[event.type][0].steps[0], datum)["order"] == event.id


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("event.properties.total >= 20.0 &&", "event.properties.totl >= 20.0 &&",
         "journeys/welcome.yaml:10:26: trigger.when: the event has no `totl` here (did you mean total)"),
        ('== "paid"', '== "payed"',
         'journeys/welcome.yaml:10:69: trigger.when: `event.properties.state` is never "payed" (did you mean paid)'),
        ("total >= 20.0", "total >= 20",
         "journeys/welcome.yaml:10:32: trigger.when: found no matching overload for '_>=_' applied to '(double, int)'"),
        ("when: size(event.properties.lines) > 0", "when: size(event.properties.lines)",
         "journeys/welcome.yaml:17:11: steps[0].when: a condition must be true or false, this is int"),
        ("customer: ${event.customer.id}", "customer: ${event.customer.email}",
         "journeys/welcome.yaml:20:17: steps[0].payload.customer: sends a field of class contact, which crm does not"),
        ("order: ${event.id}\n", "order: ${event.properties.remark}\n",
         "journeys/welcome.yaml:19:14: steps[0].payload.order: sends text of no class (name its class in"),
        ("order: ${event.id}\n", "order: Hello ${sha256(event.customer.email)}\n", "class contact"),
        ('sku: "${line.sku}"', 'sku: "${line.skuu}"', "there is no field `skuu` (did you mean sku)"),
        ("each: event.properties.lines", "each: event.properties.total", "must be a list, this is double"),
        ("order: ${event.id}\n", "order: ${record.order_id}\n", "journeys read the event, not the record"),
        ("order: ${event.id}\n", "order: ${event.id\n", "`${` is not closed"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_journey_has_its_place(orders, before, after, problem):
    orders.change("journeys/welcome.yaml", before, after)
    [found] = problems(orders)
    assert problem in found


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("time: ${record.placed_at}", "time: ${record.order_id}",
         "hookline.yaml:9:11: events[0].time: is no timestamp"),
        ("time: ${record.placed_at}", "time: yesterday", "is no timestamp"),
        ("type: purchase.completed\n    time: ${record.placed_at}", "type: purchase.completed\n    time: ${record.at}",
         "there is no field `at`"),
        ("${record.buyer}", "${record.byer}", "there is no field `byer` (did you mean buyer)"),
        ("${record.buyer}", "${record.lines}", "must be text or a whole number"),
        ("${record.opted_in}", "${record.state}", "events[0].consent.marketing.email: never says granted or denied"),
        ("${record.order_id}:placed", "${event.id}", "here only `record` and `now` are known"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_mapping_has_its_place(orders, before, after, problem):
    orders.change("hookline.yaml", before, after)
    assert any(problem in each for each in problems(orders)), problems(orders)


def test_all_problems_at_once_and_compile_raises_them(orders):
    orders.change("journeys/welcome.yaml", "event.properties.total >= 20.0 &&", "event.properties.totl > 1 &&")
    orders.change("journeys/welcome.yaml", "customer: ${event.customer.id}", "customer: ${event.custmer.id}")
    assert len(problems(orders)) == 2
    with pytest.raises(ConfigError) as caught:
        compiled(orders)
    assert len(caught.value.problems) == 2


def test_without_schemas_only_what_needs_none_is_checked(orders):
    orders.change("journeys/welcome.yaml", "event.properties.total >= 20.0", "event.properties.total >= 20")
    assert check(orders.load()) == ()
    orders.change("journeys/welcome.yaml", "event.properties.total >= 20", "event.properties.total >= (20")
    assert "Syntax error" in str(check(orders.load())[0])


def test_classes_of_the_configuration_win(orders):
    orders.change("journeys/welcome.yaml", "order: ${event.id}\n", "order: ${event.properties.remark}\n")
    orders.add("hookline.yaml", "classes: {properties.remark: public}\n")
    assert problems(orders) == []
    orders.change("hookline.yaml", "properties.remark: public", "properties.remark: free_text")
    assert "class free_text" in problems(orders)[0]


def test_draft_journeys_do_not_run(orders):
    orders.change("journeys/welcome.yaml", "status: live", "status: draft")
    made = compiled(orders)
    assert made.journeys == {}
    assert made.plan("shop.orders", PLACED).routes == {}


def test_channels_of_a_step_that_reaches_nobody_are_the_journeys(orders):
    orders.add(
        "journeys/welcome.yaml",
        """\
  - step: log
    call: crm.note
    kind: record
    payload: {a: 1}
  - step: duty
    call: crm.note
    kind: record
    basis: contract
    max_age: 1h
    payload: {a: 1}
""",
    )
    thanks, log, duty = compiled(orders).plan("shop.orders", PLACED).routes["purchase.completed"][0].steps
    assert (thanks.channels, log.channels, duty.channels) == (("email",), ("email",), ())
    assert (thanks.max_age_ms, duty.max_age_ms) == (7_200_000, 3_600_000)
    assert (log.basis, log.purpose, duty.basis) == ("consent", "marketing", "contract")


# ------------------------------------------------------------------------------------------------- past definitions


def later(orders, *changes):
    """The plan of a configuration that was changed, with what its control topic has of the one before."""
    orders.write("shared/common.yaml", "tables:\n  names: {paid: Paid}\n")
    orders.change(WELCOME, "shop: ${event.source.shop}", "shop: '${tables.names[event.properties.state]}'")
    before = compiled(orders)
    [(hash_, content)] = [(key, content) for key, content in before.definitions.due(10**12)]
    for change in changes:
        orders.change(*change)
    made = compiled(orders)
    made.definitions.note(hash_, content, 10**12)
    return made.plan("shop.orders", PLACED), hash_.decode().removeprefix("definition:"), before


WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"


def test_a_run_is_finished_by_the_definition_it_began_with(orders):
    plan, hash_, _ = later(
        orders,
        (WELCOME, "step: thanks", "step: thank_you"),
        (WELCOME, "      total: ${event.properties.total}\n", ""),
        ("shared/common.yaml", "paid: Paid", "paid: Settled"),
    )
    event, datum = taken(plan, placed())
    [route] = plan.routes[event.type]
    assert route.hash != hash_
    past = plan.pinned(hash_)
    assert (past.journey, past.hash, past.status) == ("welcome", hash_, "live")
    assert [step.name for step in past.steps] == ["thanks"]
    assert {"total", "shop"} <= body(past.steps[0], datum).keys()
    assert body(past.steps[0], datum)["shop"] == "Paid"
    assert body(route.steps[0], datum)["shop"] == "Settled"
    assert plan.pinned(hash_) is past
    assert hash_.encode() in past.steps[0].outcome_prefix


def test_destinations_are_todays(orders):
    plan, hash_, _ = later(orders, (CRM, "note: {path: /notes}", "note: {path: /v2/notes}"))
    assert plan.routes["purchase.completed"][0].hash == hash_
    step = plan.routes["purchase.completed"][0].steps[0]
    assert step.url_template == "/v2/notes"


def test_a_step_whose_operation_is_gone_is_dead_by_name(orders):
    orders.change(CRM, "note: {path: /notes}", "note: {path: /notes}\n  memo: {path: /memos}")
    plan, hash_, _ = later(orders, (WELCOME, "call: crm.note", "call: crm.memo"), (CRM, "  note: {path: /notes}\n", ""))
    _, datum = taken(plan, placed())
    [step] = plan.pinned(hash_).steps
    assert step.render(datum, NOW) == Refused(FailureClass.CONFIG, "operation_removed")


def test_what_only_a_later_configuration_can_carry_out_is_left_to_others(orders):
    made = compiled(orders)
    plan = made.plan("shop.orders", PLACED)
    made.definitions.begin()
    orders.change(CRM, "note: {path: /notes}", "note: {path: /notes}\n  memo: {path: /memos}")
    orders.change(WELCOME, "call: crm.note", "call: crm.memo")
    [(key, content)] = compiled(orders).definitions.due(10**12)
    made.definitions.note(key, content, 10**12)
    assert plan.pinned(key.decode().removeprefix("definition:")) == LATER
    made.definitions.note(b"definition:" + b"1" * 20, b'{"max_age_ms":1,"journey":{},"tables":{}}', 0)
    assert plan.pinned("1" * 20) == LATER


def test_what_cannot_be_found_or_read_says_so(orders):
    made = compiled(orders)
    plan = made.plan("shop.orders", PLACED)
    assert plan.pinned("0" * 20) == "definition_missing"
    made.definitions.note(b"definition:" + b"0" * 20, b'{"max_age_ms":1,"journey":{},"tables":{}}', 0)
    assert plan.pinned("0" * 20) == "definition_unreadable"


def test_a_definition_under_another_ones_hash_is_not_gone_on_with(orders):
    [(_, content)] = compiled(orders).definitions.due(10**12)
    orders.change(WELCOME, "step: thanks", "step: thank_you")
    made = compiled(orders)
    plan = made.plan("shop.orders", PLACED)
    made.definitions.note(b"definition:" + b"0" * 20, content, 0)
    assert plan.pinned("0" * 20) == "definition_mismatch"
    made.definitions.note(b"definition:" + b"1" * 20, content.replace(__version__.encode(), b"0.0.0-other"), 0)
    assert plan.pinned("1" * 20).journey == "welcome"  # of another release nobody can tell


def test_tables_are_constants(orders):
    orders.write("shared/common.yaml", "tables:\n  names: {paid: Paid, open: Open}\n")
    orders.change("journeys/welcome.yaml", "order: ${event.id}\n", "order: ${tables.names[event.properties.state]}\n")
    assert problems(orders) == []
    plan = compiled(orders).plan("shop.orders", PLACED)
    event, datum = taken(plan, placed())
    assert body(plan.routes[event.type][0].steps[0], datum)["order"] == "Paid"
