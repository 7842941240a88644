"""A step reads how those before it ended and what they answered: typed, classed, absent where there is nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pipeline.config.scope import EventScope
from pipeline.config.steps import JourneyCompiler
from pipeline.core import types
from pipeline.model import ABSENT, RESULTS, FailureClass, Outcome, Refused, Result
from tests.unit.config.conftest import PLACED

WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"
DATUM = {"order_id": 7, "placed_at": 1_795_428_000_000_000, "buyer": "c-1", "mail": None, "opted_in": True,
         "total": (12_950).to_bytes(2, "big"), "state": "paid", "remark": None,
         "lines": [{"sku": "A", "price": b"\x6e"}]}  # fmt: skip
RESPONSE = """\
  ask:
    path: /ask
    response:
      code: {at: /code, type: string, class: public}
      stage: {at: /stage, type: string, one_of: [new, old]}
      note: {at: /note, type: string, optional: true}
      mail: {at: /mail, type: string, class: contact}
      n: {at: /n, type: int}
      share: {at: /share, type: number}
      ok: {at: /ok, type: bool}
      until: {at: /until, type: timestamp, optional: true}
      items: {at: /items, type: list, class: public, optional: true}
      more: {at: /more, type: map, class: public, optional: true}
"""
DEFAULT = "{code: '', stage: new, mail: '', n: 0, share: 0.5, ok: false}"
ASK = f"  - {{step: ask, call: crm.ask, kind: decide, budget: 1s, default: {DEFAULT}, payload: {{a: 1}}}}\n"
ANSWER = {
    "code": "SAVE", "stage": "old", "mail": "ann@example.org", "n": 3, "share": 1, "ok": True,
    "until": datetime(2026, 11, 23, 10, tzinfo=UTC), "items": [{"a": 1}, None], "more": {"x": {"y": "z"}, "no": None},
}  # fmt: skip


def compiled(orders, *steps):
    """The journey's parts with `ask` before the given steps, and what is wrong with it."""
    orders.add(CRM, RESPONSE)
    text = (orders.root / WELCOME).read_text()
    orders.write(WELCOME, text[: text.index("  - step:")] + ASK + "".join(f"  - {{{step}}}\n" for step in steps))
    orders.change(WELCOME, "basis: consent\npurpose: marketing", "basis: contract")
    config = orders.load()
    scope = EventScope(config, config.events[0], types.tree(PLACED), strict=True)
    compiler = JourneyCompiler(config, config.journeys["welcome"], scope, strict=True, classes=True)
    return compiler.compile(), [str(each) for each in compiler.problems]


def run(result=None):
    return DATUM | {RESULTS: {} if result is None else {"ask": result}}


def delivered(**answer):
    return run(Result(Outcome.DELIVERED, "", 200, answer or ANSWER))


def sent(orders, value):
    """What a payload value is in JSON, for one datum."""
    parts, problems = compiled(orders, f"step: b, after: ask, call: crm.note, kind: update, payload: {{a: '{value}'}}")
    assert problems == []

    def of(datum):
        made = parts.steps[1].render(datum, 0)
        return made if isinstance(made, Refused) else json.loads(made)["a"]

    return of


@pytest.mark.parametrize(
    ("value", "json"),
    [
        ("${steps.ask.response.code}", "SAVE"),
        ("${steps.ask.response.stage}", "old"),
        ("${steps.ask.response.n}", 3),
        ("${steps.ask.response.n + 1}", 4),
        ("${steps.ask.response.share}", 1),
        ("${steps.ask.response.share * 2.0}", 2.0),
        ("${steps.ask.response.ok}", True),
        ("${steps.ask.response.until}", "2026-11-23T10:00:00.000Z"),
        ('${steps.ask.response.until + duration("1h")}', "2026-11-23T11:00:00.000Z"),
        ("${size(steps.ask.response.items)}", 2),
        ("${steps.ask.response.more.x.y}", "z"),
        ("${has(steps.ask.response.note)}", False),
        ("${has(steps.ask.response)}", True),
        ("${steps.ask.outcome}", "delivered"),
        ("${steps.ask.class}", ""),
        ("it was ${steps.ask.status}", "it was 200"),
    ],
)
def test_what_is_read_of_an_answer(orders, value, json):
    assert sent(orders, value)(delivered()) == json


def test_what_was_not_answered_is_absent(orders):
    of = sent(orders, '${has(steps.ask.response.code) ? steps.ask.response.code : "none"}')
    assert of(delivered()) == "SAVE"
    assert of(run(Result(Outcome.DEAD, "timeout", 503))) == "none"
    assert of(run()) == "none"
    assert of(DATUM) == "none"  # a run that keeps no results
    assert of(delivered(code="")) == ""


def test_a_moment_is_the_same_after_a_hand_over(orders):
    of = sent(orders, "${steps.ask.response.until}")
    assert of(delivered(until="2026-11-23T10:00:00+00:00")) == "2026-11-23T10:00:00.000Z"
    assert of(delivered(until="never")).field == "a"


@pytest.mark.parametrize(
    ("when", "result", "expected"),
    [
        ('steps.ask.response.code != ""', ANSWER, True),
        ('steps.ask.response.stage == "new"', ANSWER, False),
        ("steps.ask.response.n > 3", ANSWER, False),
        ("steps.ask.response.share >= 1.0", ANSWER, True),
        ('steps.ask.response.code != ""', None, None),
        ('steps.ask.class == "timeout" && steps.ask.outcome != "dead"', None, True),
    ],
)
def test_conditions(orders, when, result, expected):
    step = f"step: b, after: ask, when: '{when}', call: crm.note, kind: update, payload: {{a: 1}}"
    parts, problems = compiled(orders, step)
    assert problems == []
    outcome = Outcome.DELIVERED if result else Outcome.DEFAULTED
    assert parts.steps[1].when(run(Result(outcome, "" if result else "timeout", 0, result)), 0) is expected


@pytest.mark.parametrize(
    ("when", "problem"),
    [
        ("steps.ask.response.cod == 1", "the response of crm.ask has no `cod` (did you mean code)"),
        ("steps.asks.outcome == 1", "there is no step `asks` before this one (did you mean ask)"),
        ("steps.c.outcome == 1", "`c` does not come before this step; add it to `after` (there are: ask)"),
        ("steps.b.outcome == 1", "`b` does not come before this step"),
        ("steps.ask.answer == 1", "of a step there is no `answer` (there are: outcome, class, status, response)"),
        ("steps.ask == 1", "`ask` is a step: its outcome, class, status or response can be read"),
        ("steps == 1", "`steps` needs the name of a step"),
        ("steps.ask.status.x == 1", "`status` has no fields"),
        ("steps.ask.response.n.x == 1", "`n` has no fields"),
        ('steps.ask.response.stage == "newer"', '`steps.ask.response.stage` is never "newer" (did you mean new)'),
        ('steps.ask.outcome == "rejected"', '`steps.ask.outcome` is never "rejected"'),
        ('steps.ask.class == "time_out"', '`steps.ask.class` is never "time_out" (did you mean timeout)'),
        ("steps.ask.response.n == 1.5", "found no matching overload"),
        ("trigger.id == 1", "only a `match` knows the event that started the run"),
    ],
)
def test_what_cannot_be_read_has_its_place(orders, when, problem):
    note = "call: crm.note, kind: update, payload: {a: 1}"
    _, problems = compiled(orders, f"step: b, after: ask, when: '{when}', {note}", f"step: c, {note}")
    assert len(problems) == 1
    assert problem in problems[0]
    assert problems[0].startswith("journeys/welcome.yaml:13:")


def test_an_update_keeps_no_response(orders):
    note = "call: crm.note, kind: update, payload: {a: 1}"
    _, [problem] = compiled(orders, f"step: b, {note}", f"step: c, after: b, when: has(steps.b.response.x), {note}")
    assert "`b` keeps no response: only enrich and decide do" in problem


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (
            "${steps.ask.response.note}",
            "sends text of no class (name its class in `class` of the field in destinations/crm",
        ),
        ("${steps.ask.response.mail}", "sends a field of class contact, which crm does not receive"),
        ("${steps.ask.response.more}", "`steps.ask.response.more` is a whole object"),
        ("${steps.ask.response.items}", "`steps.ask.response.items` is a list of whole objects, or of what nobody"),
    ],
)
def test_an_answer_is_sent_on_by_its_class(orders, value, problem):
    _, problems = compiled(orders, f"step: b, after: ask, call: crm.note, kind: update, payload: {{a: '{value}'}}")
    assert len(problems) == 1
    assert problem in problems[0]


def test_items_of_an_answer_are_mapped(orders):
    orders.add(CRM, "")
    item = "{each: steps.ask.response.items, as: one, item: {a: '${one.a}'}}"
    parts, problems = compiled(orders, f"step: b, after: ask, call: crm.note, kind: update, payload: {{a: {item}}}")
    assert problems == []
    assert parts.steps[1].render(delivered(items=[{"a": 1}]), 0) == b'{"a":[{"a":1}]}'


def test_items_of_an_answer_that_are_objects_do_not_go_whole(orders):
    item = "{each: steps.ask.response.items, as: one, item: '${one}'}"
    parts, problems = compiled(orders, f"step: b, after: ask, call: crm.note, kind: update, payload: {{a: {item}}}")
    assert problems == []
    assert parts.steps[1].render(delivered(items=["x", 1]), 0) == b'{"a":["x",1]}'
    assert parts.steps[1].render(delivered(items=[{"a": 1}]), 0) == Refused(FailureClass.SCHEMA, "a[]")


def test_an_object_in_an_answer_does_not_go_whole(orders):
    assert sent(orders, "${steps.ask.response.more.x}")(delivered()) == Refused(FailureClass.SCHEMA, "a")


def test_a_deadline_is_read_from_an_answer_and_may_be_absent(orders):
    step = "step: b, after: ask, deadline: '${steps.ask.response.until}', call: crm.note, kind: update, payload: {a: 1}"
    parts, problems = compiled(orders, step)
    assert problems == []
    deadline = parts.steps[1].deadline
    assert (deadline(delivered(), 0), deadline(delivered(code=""), 0)) == (1_795_428_000_000, ABSENT)


@pytest.mark.parametrize(
    ("deadline", "problem"),
    [
        ("soon", "steps[1].deadline: is no moment"),
        ("${steps.ask.response.n}", "steps[1].deadline: must be a timestamp, this is int"),
        ("${steps.ask.response.x}", "has no `x`"),
    ],
)
def test_deadlines_that_are_refused(orders, deadline, problem):
    step = f"step: b, after: ask, deadline: '{deadline}', call: crm.note, kind: update, payload: {{a: 1}}"
    parts, problems = compiled(orders, step)
    assert problem in problems[0]
    assert parts.steps[1].deadline(delivered(), 0) is None
