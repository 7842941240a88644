"""What a mark may say: one of three, a suppression of one thing, a match of nothing but equalities."""

from __future__ import annotations

import pytest

from pipeline.config.mark import equalities

WELCOME = "journeys/welcome.yaml"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("true", ()),
        ("event.properties.a == trigger.id", (("properties.a", "id"),)),
        ("trigger.id==event.b && event.c == trigger.d", (("b", "id"), ("c", "d"))),
        ("event.a == event.b", None),
        ("event.a != trigger.b", None),
        ('event.a == "x"', None),
        ("event.a == trigger.b || event.c == trigger.d", None),
        ("", None),
    ],
)
def test_equalities(text, pairs):
    assert equalities(text) == pairs


def marked(folder, mark):
    return folder.add(WELCOME, f"  - step: ours\n    mark: {mark}\n")


@pytest.mark.parametrize(
    "mark",
    [
        '{suppress: {category: promotional, id: "t:${event.id}", at_most: 30d}}',
        "{suppress: {journey: welcome, id: x, until: {event: a.b, match: event.a == trigger.id}, at_most: 30d}}",
        "{unsuppress: {id: x}}",
        "{consent: {channel: email, purpose: service, state: denied}}",
    ],
)
def test_marks(folder, mark):
    step = marked(folder, mark).load().journeys["welcome"].steps[1]
    assert (step.call, step.destination, step.operation) == (None, "", "")


def test_what_consent_is_about(folder):
    mark = marked(folder, "{consent: {channel: email, purpose: service, state: denied}}").load()
    consent = mark.journeys["welcome"].steps[1].mark.consent
    assert (consent.key, consent.at) == ("service.email", "${event.time}")


@pytest.mark.parametrize(
    ("mark", "problem"),
    [
        ("{}", "steps[1].mark: needs exactly one of `suppress`, `unsuppress` and `consent`"),
        ("{unsuppress: {id: x}, consent: {channel: a, state: denied}}", "needs exactly one of"),
        ("{suppress: {id: x, at_most: 1d}}", "needs exactly one of `category`, `channel` and `journey`"),
        ("{suppress: {category: promotional, channel: a, id: x, at_most: 1d}}", "needs exactly one of `category`"),
        ("{suppress: {category: promotional, id: x}}", "steps[1].mark.suppress.at_most: is required"),
        ("{suppress: {journey: welcom, id: x, at_most: 1d}}", "there is no such journey (did you mean welcome)"),
        ("{suppress: {channel: a, id: x, at_most: 1d, until: {event: a.b, match: event.a == 1}}}",
         "steps[1].mark.suppress.until.match: must compare fields of `event` with fields of `trigger`"),
        ("{consent: {state: denied}}", "steps[1].mark.consent: needs `channel`, `purpose` or both"),
        ("{consent: {channel: a, state: maybe}}", "steps[1].mark.consent.state: must be one of: granted, denied"),
        ("{consent: {purpose: servce, state: denied}}", "is no purpose of hookline.yaml (did you mean service)"),
        ("{unsuppress: {id: x}}\n    kind: update", "has `kind`, which a mark has no use for"),
        ("{unsuppress: {id: x}}\n    payload: {a: 1}", "has `payload`, which a mark has no use for"),
        ("{unsuppress: {id: x}}\n    call: crm.note", "needs `call` or `mark`, and not both"),
    ],
)  # fmt: skip
def test_marks_that_are_refused(folder, mark, problem):
    found = marked(folder, mark).problem()
    assert found.startswith("journeys/welcome.yaml:")
    assert problem in found
