"""A default has the fields of the response it stands for, with their types; what is computed is checked at run time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.config.scope import EventScope
from pipeline.config.steps import JourneyCompiler
from pipeline.core import types
from pipeline.model import FailureClass, Refused
from tests.unit.config.conftest import PLACED
from tests.unit.config.test_results import CRM, DATUM, WELCOME

FIELDS = """\
  ask:
    response:
      code: {at: /code, type: string}
      stage: {at: /stage, type: string, one_of: [new, old], optional: true}
      share: {at: /share, type: number, optional: true}
      until: {at: /until, type: timestamp, optional: true}
"""


def asking(orders, default):
    orders.add(CRM, FIELDS)
    text = (orders.root / WELCOME).read_text()
    step = f"  - {{step: ask, call: crm.ask, kind: decide, budget: 1s, payload: {{a: 1}}, default: {default}}}\n"
    orders.write(WELCOME, text[: text.index("  - step:")] + step)
    return orders.change(WELCOME, "basis: consent\npurpose: marketing", "basis: contract")


def compiled(orders, default):
    config = asking(orders, default).load()
    scope = EventScope(config, config.events[0], types.tree(PLACED), strict=True)
    compiler = JourneyCompiler(config, config.journeys["welcome"], scope, strict=True, classes=True)
    return compiler.compile().steps[0].default, [str(each) for each in compiler.problems]


@pytest.mark.parametrize(
    ("default", "response"),
    [
        ("{code: ''}", {"code": ""}),
        ("{code: x, stage: new, share: 1}", {"code": "x", "stage": "new", "share": 1}),
        ("{code: x, until: null}", {"code": "x"}),
        ("{code: x, until: '2026-11-23T10:00:00Z'}", {"code": "x", "until": datetime(2026, 11, 23, 10, tzinfo=UTC)}),
        ("{code: '${event.id}', share: '${event.properties.total}', until: '${event.time}'}",
         {"code": "7:placed", "share": 129.5, "until": datetime(2026, 11, 23, 10, tzinfo=UTC)}),
        ("{code: 'for ${event.customer.id}', stage: '${event.properties.remark}'}", {"code": "for c-1"}),
    ],
)  # fmt: skip
def test_defaults(orders, default, response):
    made, problems = compiled(orders, default)
    assert problems == []
    assert made(DATUM, 0) == response


@pytest.mark.parametrize(
    ("default", "refused"),
    [
        ("{code: '${event.properties.remark}'}", Refused(FailureClass.MISSING_FIELD, "default.code")),
        ("{code: x, stage: '${event.properties.state}'}", Refused(FailureClass.SCHEMA, "default.stage")),
        ("{code: '${string(1 / (event.properties.total > 1.0 ? 0 : 1))}'}",
         Refused(FailureClass.CONDITION_ERROR, "default.code")),
    ],
)  # fmt: skip
def test_what_an_event_makes_unusable(orders, default, refused):
    made, problems = compiled(orders, default)
    assert problems == []
    assert made(DATUM, 0) == refused


@pytest.mark.parametrize(
    ("default", "problem"),
    [
        ("{}", "steps[0].default: lacks `code`, a field of the response (crm.ask always answers it; later steps rely"),
        (
            "{code: null}",
            "steps[0].default.code: is null, but crm.ask always answers it (give it a value of type string)",
        ),
        ("{code: 1}", "steps[0].default.code: must be of type string, as crm.ask answers it"),
        ("{code: x, cod: y}", "steps[0].default.cod: is no field of the response of crm.ask (did you mean code)"),
        ("{code: x, stage: newer}", "steps[0].default.stage: is not one of what crm.ask answers (there are: new, old)"),
        (
            "{code: event.id}",
            "steps[0].default.code: is text as it stands, not a value (write ${…}",
        ),
        ("{code: x, until: soon}", "steps[0].default.until: must be of type timestamp, as crm.ask answers it"),
    ],
)
def test_defaults_that_are_refused(orders, default, problem):
    assert problem in asking(orders, default).problem()


@pytest.mark.parametrize(
    ("default", "problem"),
    [
        ("{code: '${event.time}'}", "steps[0].default.code: is timestamp, but `code` is of type string"),
        ("{code: '${event.properties.totl}'}", "the event has no `totl` here (did you mean total)"),
    ],
)
def test_expressions_that_are_refused(orders, default, problem):
    made, [found] = compiled(orders, default)
    assert problem in found
    assert made(DATUM, 0) == Refused(FailureClass.CONFIG, "default.code")


def test_a_batch_has_no_answer_for_one(folder):
    folder.change(
        CRM, "note: {path: /notes}", "note: {path: /notes, metadata: headers_and_body, batch: {max_events: 9}}"
    )
    folder.change(WELCOME, "kind: update", "kind: enrich")
    problem = folder.problem()
    assert "steps[0].kind: enrich needs an answer of its own, and crm.note is batched (call an operation of " in problem
