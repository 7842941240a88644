"""What beginners write in CEL's place is refused with what to write instead, and told once."""

from __future__ import annotations

import pytest

from pipeline.core import expressions
from pipeline.core.expressions import Unknown, Variable

KNOWN = {
    ("event", "total"): "double", ("event", "plan"): "string", ("event", "properties", "plan"): "string",
    ("steps", "code", "outcome"): "string", ("now",): "timestamp", ("event", "time"): "timestamp",
}  # fmt: skip


def scope(names):
    if names in KNOWN:
        return Variable(".".join(names), KNOWN[names], lambda *_: None, lambda *_: None)
    return Unknown(len(names) - 1, "not there") if names[0] in ("event", "steps", "now") else None


@pytest.mark.parametrize(
    ("text", "offset", "written", "remedy"),
    [
        ('event.plan = "pro"', 11, "=", "write == to compare"),
        ('event.plan === "pro"', 13, "=", "two are enough: write =="),
        ('event.total > 2.0 and event.plan == "pro"', 18, "and", "write &&"),
        ('event.total > 2.0 OR event.plan == "pro"', 18, "OR", "write ||"),
        ("not event.total > 2.0", 0, "not", "write ! before what is not so"),
        ('event.total > 2.0 & event.plan == "pro"', 18, "&", "write &&"),
        ('event.total > 2.0 | event.plan == "pro"', 18, "|", "write ||"),
        ('event.plan <> "pro"', 11, "<>", "write !="),
        ("event.plan is not null", 11, "is", "whether there is a value is asked with has(event.properties.NAME)"),
        ("event.plan == None", 14, "None", "whether there is a value is asked with has(event.properties.NAME)"),
        ("has(event.plan) == True", 19, "True", "write true"),
        ('event.plan in ("a", "b")', 11, "in", 'a list has brackets: in ["a", "b"]'),
        ('event.plan contains "a"', 11, "contains", 'write it behind a dot: event.properties.NAME.contains("text")'),
        ("now - event.time > 7d", 19, "7d", "write days(7)"),
        ("now - event.time > 90m", 19, "90m", 'write duration("90m")'),
    ],
)
def test_it_is_told_once_with_its_place(text, offset, written, remedy) -> None:
    [flaw] = expressions.condition(text, scope)
    assert (flaw.offset, flaw.message, flaw.hint) == (offset, f"`{written}` means nothing in CEL", remedy)


@pytest.mark.parametrize(
    "text", ['event.plan == "a and b = c | d"', "event.plan.contains('7d')", "event.total > 2.0 // not this and that"]
)
def test_what_compiles_is_left_alone(text) -> None:
    assert callable(expressions.condition(text, scope)[0])


@pytest.mark.parametrize(
    ("text", "offset", "hint"),
    [
        ('code.outcome == "dead"', 0, "did you mean steps.code.outcome"),
        ('event.total > 2.0 && properties.plan == "pro"', 21, "did you mean event.properties.plan"),
        ('plan == "pro"', 0, "did you mean event.plan"),
        ("evnt.total > 2.0", 0, "did you mean event.total"),
        ('customer == "a"', 0, "paths begin with event, steps, tables, now"),
    ],
)
def test_a_path_without_its_root_is_told_which_it_may_be(text, offset, hint) -> None:
    [flaw] = expressions.condition(text, scope)
    assert (flaw.offset, flaw.hint) == (offset, hint)
    assert flaw.message.endswith("begins with nothing that is known here")
