"""Marks are compiled against the event: their texts, times and what an ending event is compared with."""

from __future__ import annotations

import pytest

from pipeline.config.scope import EventScope
from pipeline.config.steps import JourneyCompiler
from pipeline.core import types
from pipeline.model import ConsentSaid, FailureClass, Refused, Suppress, Unsuppress
from tests.unit.config.conftest import PLACED
from tests.unit.config.test_results import DATUM, WELCOME


def compiled(orders, mark):
    orders.add(WELCOME, f"  - step: ours\n    mark: {mark}\n")
    config = orders.load()
    scope = EventScope(config, config.events[0], types.tree(PLACED), strict=True)
    compiler = JourneyCompiler(config, config.journeys["welcome"], scope, strict=True, classes=True)
    return compiler.compile().steps[1], [str(each) for each in compiler.problems]


IDD = "event.id == trigger.idd"
UNTIL = "until: {event: ticket.closed, match: event.properties.ticket == trigger.id}"


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("{unsuppress: {id: 't:${event.id}'}}", Unsuppress("t:7:placed")),
        ("{consent: {channel: email, state: denied}}", ConsentSaid("email", granted=False, at_ms=1_795_428_000_000)),
        ("{consent: {purpose: marketing, state: granted, at: '2026-11-23T10:00:00Z'}}",
         ConsentSaid("marketing", granted=True, at_ms=1_795_428_000_000)),
        ("{consent: {purpose: marketing, state: granted, at: '${event.customer.email}'}}",
         Refused(FailureClass.MISSING_FIELD, "consent.at")),
        ("{suppress: {channel: email, id: 'o${event.properties.total}', at_most: 1s}}",
         Suppress("o129.50", "channel", "email", "", "", 1_007, 7)),
    ],
)  # fmt: skip
def test_marks(orders, mark, expected):
    step, problems = compiled(orders, mark)
    assert problems == []
    assert step.mark(DATUM, 7) == expected
    assert step.render(DATUM, 7) == b""


def test_the_same_trigger_is_matched_by_the_same_hash(orders):
    orders.change("hookline.yaml", "type: purchase.completed", "type: '${record.state}'")
    orders.change(WELCOME, "events: [purchase.completed]", "events: [paid]")
    step, problems = compiled(orders, f"{{suppress: {{category: promotional, id: x, {UNTIL}, at_most: 1d}}}}")
    assert problems == []
    first, again, other = (step.mark(DATUM | {"order_id": order}, 0) for order in (7, 7, 8))
    assert first.until_event == "ticket.closed"
    assert first.match == again.match != other.match


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ("{unsuppress: {id: '${event.idd}'}}", "31:37: steps[1].mark.unsuppress.id: the event has no `idd` here"),
        ("{unsuppress: {id: '${event.properties.lines}'}}", "must be text, this is list"),
        ("{consent: {channel: email, state: denied, at: '${event.properties.total}'}}",
         "steps[1].mark.consent.at: must be a timestamp, this is double"),
        ("{suppress: {channel: email, id: x, at_most: 1s, until: {event: purchase.completed, match: " + IDD + "}}}",
         "steps[1].mark.suppress.until.match: the event that starts the run has no `idd`"),
    ],
)  # fmt: skip
def test_marks_that_are_refused(orders, mark, problem):
    step, [found] = compiled(orders, mark)
    assert problem in found
    assert step.mark(DATUM, 0) == Refused(FailureClass.CONFIG, "mark")


def test_an_event_that_nothing_makes_ends_no_suppression(orders):
    orders.add(WELCOME, f"  - step: ours\n    mark: {{suppress: {{category: service, id: x, {UNTIL}, at_most: 1d}}}}\n")
    assert "steps[1].mark.suppress.until.event: no `events` entry of hookline.yaml makes this type" in orders.problem()
