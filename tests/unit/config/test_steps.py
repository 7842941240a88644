"""A journey's expressions become tests and payloads; each flaw has its place, and what is flawed sends nothing."""

from __future__ import annotations

import json

import pytest

from pipeline.config.scope import EventScope
from pipeline.config.steps import JourneyCompiler
from pipeline.core import types
from pipeline.model import FailureClass, Refused
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
    assert problem.endswith("(did you mean `total`?)")


def test_a_flawed_condition_errs_and_a_flawed_value_refuses_its_delivery(orders):
    orders.change("journeys/welcome.yaml", "size(event.properties.lines) > 0", "size(event.properties.lins) > 0")
    orders.change("journeys/welcome.yaml", "customer: ${event.customer.id}", "customer: ${event.custmer.id}")
    parts, problems = made(orders)
    assert [problem.split(": ")[1] for problem in problems] == ["steps[0].payload.customer", "steps[0].when"]
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
