"""Edges that no run can follow are refused, each once, with its place and what to do."""

from __future__ import annotations

import pytest

from pipeline.config.graph import ancestors, ends

WELCOME = "journeys/welcome.yaml"
CALL = "call: crm.note, kind: update, payload: {a: 1}"
DECIDE = "call: crm.note, kind: decide, budget: 1s, default: {}, payload: {a: 1}"


def steps(folder, *given):
    """The journey with other steps, one a line from line 11 on."""
    text = (folder.root / WELCOME).read_text()
    lines = "".join(f"  - {{{step}}}\n" for step in given)
    return folder.write(WELCOME, text[: text.index("  - step:")] + lines)


def test_edges_are_read_in_all_three_ways(folder):
    steps(
        folder,
        f"step: a, {CALL}",
        f"step: b, {CALL}, after: a",
        f"step: c, {CALL}, after: [a, b]",
        f"step: d, {CALL}, after: {{c: [rejected, dead], b: [delivered]}}, join: any",
    )
    journey = folder.load().journeys["welcome"]
    assert [dict(step.after) for step in journey.steps] == [
        {},
        {"a": ("delivered", "defaulted")},
        {"a": ("delivered", "defaulted"), "b": ("delivered", "defaulted")},
        {"c": ("rejected", "dead"), "b": ("delivered",)},
    ]
    assert ancestors(journey, "d") == {"a", "b", "c"}
    assert ancestors(journey, "a") == frozenset()


def test_what_a_kind_can_end_in(folder):
    steps(
        folder,
        f"step: a, {DECIDE}",
        "step: b, call: crm.note, kind: enrich, default: {}, payload: {a: 1}",
        "step: c, mark: {unsuppress: {id: x}}",
    )
    decide, enrich, mark = folder.load().journeys["welcome"].steps
    assert "retrying" not in ends(decide)
    assert "rejected" not in ends(enrich)
    assert ends(mark) == ("delivered", "dead", "skipped")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: aa"],
         "12:69: steps[1].after.aa: there is no step `aa` (did you mean a)"),
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: [a, c]"],
         "12:73: steps[1].after[1]: there is no step `c` (there are: a)"),
        ([f"step: a, {CALL}, after: a"], "11:69: steps[0].after.a: a step cannot come after itself"),
        ([f"step: a, {CALL.replace('update', 'record')}", f"step: b, {CALL}, after: {{a: [delivered]}}"],
         "12:70: steps[1].after.a: cannot come after `a`, which is a record (nothing waits for a record; a step that "),
        ([f"step: a, {DECIDE}", f"step: b, {CALL}, after: {{a: [retrying]}}"],
         "steps[1].after.a: `a` never ends retrying (decide ends delivered, defaulted, dead, skipped)"),
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: [defaulted]}}"],
         "steps[1].after.a: `a` never ends defaulted (update ends delivered, rejected, dead, skipped, retrying)"),
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: [done]}}"],
         "steps[1].after.a[0]: must be one of: delivered, defaulted, rejected, dead, skipped, retrying"),
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: []}}"], "steps[1].after.a: must not be empty"),
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: [1]"],
         "steps[1].after: must be a step, a list of steps, or a mapping of steps to outcomes ({a: [delivered]})"),
        ([f"step: a, {CALL}, after: c", f"step: b, {CALL}, after: a", f"step: c, {CALL}, after: b",
          f"step: d, {CALL}, after: c"],
         "11:69: steps[0].after.c: waits for itself: a → b → c → a (take one of these `after` away)"),
        ([f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: [delivered]}}",
          f"step: c, {CALL}, after: {{a: [rejected], b: [delivered]}}", f"step: d, {CALL}, after: c"],
         "13:69: steps[2].after: can never start: it needs `a` to have ended in two ways"),
    ],
)  # fmt: skip
def test_edges_that_are_refused(folder, given, problem):
    found = steps(folder, *given).problem()
    assert problem in found


@pytest.mark.parametrize(
    "given",
    [
        [f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: [retrying]}}",
         f"step: c, {CALL}, after: {{a: [delivered], b: [delivered]}}"],
        [f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: [delivered]}}",
         f"step: c, {CALL}, after: {{a: [rejected], b: [skipped]}}"],
        [f"step: a, {CALL}", f"step: b, {CALL}, after: {{a: [delivered]}}",
         f"step: c, {CALL}, after: {{a: [rejected], b: [delivered]}}, join: any"],
        [f"step: a, {CALL}, join: any"],
        [f"step: a, {CALL}", f"step: b, {CALL}, after: a, join: any"],
    ],
)  # fmt: skip
def test_edges_that_are_followed(folder, given):
    assert len(steps(folder, *given).load().journeys["welcome"].steps) == len(given)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            "kind: decide, call: crm.note, payload: {a: 1}",
            "needs `budget`, within which a decide answers, and `default`, ",
        ),
        ("kind: decide, call: crm.note, payload: {a: 1}, default: {}", "needs `budget`: a decide answers within it"),
        ("kind: decide, call: crm.note, payload: {a: 1}, budget: 1s", "needs `default`: what counts when no answer"),
        ("kind: decide, call: crm.note, payload: {a: 1}, budget: 2m, default: {}", "has a `budget` of more than 60s"),
        ("kind: update, call: crm.note, payload: {a: 1}, budget: 1s", "has a `budget`, which only a decide has"),
        ("kind: update, call: crm.note, payload: {a: 1}, default: {}", "has a `default`, which only decide and enrich"),
        ("call: crm.note, payload: {a: 1}", "steps[0]: needs `kind` (update, enrich, decide or record)"),
        ("kind: update, payload: {a: 1}", "steps[0]: needs `call` or `mark`, and not both"),
    ],
)
def test_kinds_have_what_they_need(folder, given, problem):
    assert problem in steps(folder, f"step: a, {given}").problem()


def test_names_stay_unique_with_the_older_ones(folder):
    steps(folder, f"step: a, {CALL}", f"step: b, formerly: [a, c], {CALL}", f"step: d, formerly: [c], {CALL}")
    found = [str(each) for each in folder.problems()]
    assert [each.split(": ", 1)[1] for each in found] == [
        "steps[1].formerly[0]: is the name of a step (steps[0] has it; two steps must not share delivery IDs)",
        "steps[2].formerly[0]: is the name of a step (steps[1] has it; two steps must not share delivery IDs)",
    ]


def test_two_journeys_must_not_share_delivery_ids(folder):
    folder.add(WELCOME, "formerly: [welcome, greeting]\n")
    text = (folder.root / WELCOME).read_text()
    folder.write("journeys/greeting.yaml", text.replace("journey: welcome", "journey: greeting"))
    found = [str(each).split(": ", 1)[1] for each in folder.problems()]
    assert found == [
        "formerly[0]: is, or was, the name of journey welcome (two journeys must not share delivery IDs)",
        "formerly[1]: is its name still",
        "formerly[0]: is its name still",
        "formerly[1]: is, or was, the name of journey greeting (two journeys must not share delivery IDs)",
    ]


def test_alerts_are_known(folder):
    folder.add("hookline.yaml", "alerts: {on-call: {url: env:ALERT_URL}}\n")
    folder.add(WELCOME, "    on_failure: {alert: [oncall]}\non_failure: {alert: [on-call]}\n")
    assert folder.problem().endswith(
        "steps[0].on_failure.alert[0]: is no alert of hookline.yaml (did you mean on-call)"
    )
    folder.change(WELCOME, "[oncall]", "[]")
    journey = folder.load().journeys["welcome"]
    assert (journey.alerts_of(journey.steps[0]), journey.on_failure.alert) == ((), ("on-call",))
