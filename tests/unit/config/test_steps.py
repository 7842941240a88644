"""A journey's expressions become tests and payloads; each flaw has its place, and what is flawed sends nothing."""

from __future__ import annotations

import json

import pytest

from pipeline.config.scope import EventScope
from pipeline.config.steps import JourneyCompiler
from pipeline.core import types
from pipeline.errors import ConfigError
from pipeline.model import Event, FailureClass, Refused
from tests.unit.config.conftest import PLACED

DATUM = {"order_id": 7, "placed_at": 1_795_428_000_000_000, "buyer": "c-1", "mail": None, "opted_in": True,
         "total": (12_950).to_bytes(2, "big"), "state": "paid", "remark": None,
         "lines": [{"sku": "A", "price": b"\x6e"}]}  # fmt: skip


def made(folder, *, strict=True, classes=True):
    """The parts of the one journey, and what is wrong with it without its file."""
    config = folder.load()
    scope = EventScope(config, config.events[0], types.tree(PLACED), strict=strict)
    compiler = JourneyCompiler(config, config.journeys["welcome"], scope, strict=strict, classes=classes)
    parts = compiler.compile()
    return parts, [str(each).removeprefix("journeys/welcome.yaml:") for each in compiler.problems]


def test_conditions_and_payload(orders):
    parts, problems = made(orders)
    assert problems == []
    assert parts.condition(DATUM, 0) is True
    assert parts.condition(DATUM | {"state": "open"}, 0) is False
    [step] = parts.steps
    assert (step.when(DATUM, 0), step.when(DATUM | {"lines": []}, 0)) == (True, False)
    body = json.loads(step.render(DATUM, 0))
    assert (body["total"], body["lines"]) == ("129.50", [{"sku": "A", "price": "1.10", "order": "7:placed"}])


def test_without_a_condition_nothing_is_asked(folder):
    parts, _ = made(folder, strict=False)
    assert (parts.condition, parts.steps[0].when) == (None, None)


def test_the_place_of_a_flaw_is_exact(orders):
    orders.change("journeys/welcome.yaml", "event.properties.total >= 20.0", "event.properties.totl >= 20.0")
    _, [problem] = made(orders)
    assert problem.startswith("10:26: trigger.when: ")
    assert problem.endswith("(did you mean total)")


def test_a_flawed_condition_errs_and_a_flawed_value_refuses_its_delivery(orders):
    orders.change("journeys/welcome.yaml", "size(event.properties.lines) > 0", "size(event.properties.lins) > 0")
    orders.change("journeys/welcome.yaml", "customer: ${event.customer.id}", "customer: ${event.custmer.id}")
    parts, problems = made(orders)
    assert [problem.split(": ")[1] for problem in problems] == ["steps[0].when", "steps[0].payload.customer"]
    assert parts.steps[0].when(DATUM, 0) is None
    assert parts.steps[0].render(DATUM, 0) == Refused(FailureClass.CONFIG, "customer")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("'${ {\"a\": event.id} }'", "makes a whole object (write its keys as YAML)"),
        ("${event.customer.email}", "class contact"),
        ("${event.properties.remark}", "sends text of no class"),
    ],
)
def test_what_may_not_be_sent(orders, value, expected):
    orders.change("journeys/welcome.yaml", "customer: ${event.customer.id}", f"customer: {value}")
    _, [problem] = made(orders)
    assert expected in problem


def test_without_a_schema_classes_are_left_to_the_records(orders):
    orders.change("journeys/welcome.yaml", "customer: ${event.customer.id}", "customer: ${event.customer.email}")
    assert made(orders, classes=False)[1] == []


def test_only_a_list_is_mapped(orders):
    orders.change("journeys/welcome.yaml", "each: event.properties.lines", "each: event.properties.state")
    _, problems = made(orders)
    assert problems[0].split(": ", 1)[1] == "steps[0].payload.lines.each: must be a list, this is string"


# ----------------------------------------------------------------------------------------------- what operations ask


CRM = "destinations/crm.yaml"


def calling(orders, operation, payload):
    """The one step with another operation and payload; both as YAML flow mappings."""
    orders.change(CRM, "note: {path: /notes}", f"note: {operation}")
    text = (orders.root / "journeys/welcome.yaml").read_text()
    return orders.write("journeys/welcome.yaml", text[: text.index("    payload:")] + f"    payload: {payload}\n")


def test_parameters_leave_the_payload_for_the_path(orders):
    operation = '{path: "/buyers/{buyer}/orders/{order}", query: {expand: a b, total: "${event.properties.total}"}}'
    calling(orders, operation, "{buyer: '${event.customer.id}', order: 7, state: '${event.properties.state}'}")
    parts, problems = made(orders)
    assert problems == []
    [step] = parts.steps
    assert step.render(DATUM, 0) == b'{"state":"paid"}'
    assert step.target(DATUM | {"buyer": "a/b"}, 0) == b"/buyers/a%2Fb/orders/7?expand=a%20b&total=129.50"
    assert step.target(DATUM | {"buyer": ""}, 0) == Refused(FailureClass.MISSING_FIELD, "buyer")
    assert step.target(DATUM | {"buyer": ".."}, 0) == Refused(FailureClass.SCHEMA, "buyer")


def test_without_a_body_parameters_are_all_that_is_sent(orders):
    calling(orders, '{method: DELETE, path: "/buyers/{buyer}", body: none}', "{buyer: '${event.customer.id}'}")
    [step] = made(orders)[0].steps
    assert (step.render(DATUM, 0), step.target(DATUM, 0)) == (b"", b"/buyers/c-1")


def test_what_no_event_changes_is_no_target(orders):
    calling(orders, "{path: /notes, query: {a: b}}", "{order: '${event.id}'}")
    [step] = made(orders)[0].steps
    assert (step.target, step.metadata) == (None, None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("form", b"order=7%3Aplaced&n=1&when=2026-11-23T10%3A00%3A00.000Z"),
        ("ndjson", b'{"order":"7:placed","n":1,"when":"2026-11-23T10:00:00.000Z"}\n'),
    ],
)
def test_bodies(orders, body, expected):
    calling(orders, f"{{body: {body}}}", "{order: '${event.id}', n: 1, when: '${event.time}'}")
    assert made(orders)[0].steps[0].render(DATUM, 0) == expected


def test_a_request_that_breaks_its_contract_is_refused_by_place_and_keyword(orders):
    orders.write(
        "contracts/a.json", '{"properties": {"n": {"type": "integer"}, "hookline": {"required": ["event_id"]}}}'
    )
    operation = "{request_schema: contracts/a.json, metadata: headers_and_body}"
    calling(orders, operation, "{n: '${event.properties.total}', at: '${event.time}'}")
    [step] = made(orders)[0].steps
    assert step.render(DATUM, 0) == Refused(FailureClass.SCHEMA, "#/n type")
    orders.change("journeys/welcome.yaml", "{n: '${event.properties.total}'", "{n: '${size(event.properties.lines)}'")
    [step] = made(orders)[0].steps
    body = step.metadata(step.render(DATUM, 0), Event("e-1", "t", 0, "c", {}), "d-1")
    assert json.loads(body)["hookline"]["delivery_id"] == "d-1"


@pytest.mark.parametrize(
    ("operation", "payload", "problem"),
    [
        ('{path: "/{m}"}', "{m: '${event.customer.email}'}",
         "journeys/welcome.yaml:18:18: steps[0].payload.m: puts a field of class contact into the URL (logs on "),
        ('{path: "/{m}"}', "{m: 'x${sha256(event.customer.email)}'}", "puts a field of class contact into the URL"),
        ('{query: {m: "${event.customer.email}"}}', "{n: 1}",
         "destinations/crm.yaml:7:21: operations.note.query.m: puts a field of class contact into the URL (logs on"),
        ('{query: {m: "${event.customer.mail}"}}', "{n: 1}", "the event has no `mail` here"),
        ('{query: {m: "${event.properties.remark}"}}', "{n: 1}", "query.m: sends text of no class"),
        ('{query: {m: "${event.properties.lines}"}}', "{n: 1}", "query.m: is a list, which a URL cannot say"),
        ('{query: {m: "${event.properties.lines"}}', "{n: 1}", "query.m: `${` is not closed"),
        ('{path: "/{m}"}', "{m: '${event.properties.lines}'}", "payload.m: is a list, which a URL cannot say"),
        ("{body: form}", "{m: '${event.properties.lines}'}", "payload.m: is a list, which a form cannot say"),
        ("{body: form}", "{m: '${event.customer}'}", "sends a whole object"),
    ],
)  # fmt: skip
def test_what_a_url_or_a_form_must_not_hold(orders, operation, payload, problem):
    orders.change(CRM, "receives: [identifier]", "receives: [identifier, contact]")
    calling(orders, operation, payload)
    try:
        config = orders.load()
    except ConfigError as error:
        found = [str(each) for each in error.problems]
    else:
        scope = EventScope(config, config.events[0], types.tree(PLACED), strict=True)
        compiler = JourneyCompiler(config, config.journeys["welcome"], scope, strict=True, classes=True)
        compiler.compile()
        found = [str(each) for each in compiler.problems]
    assert len(found) == 1
    assert problem in found[0]
