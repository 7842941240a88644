"""Errors read well as they are: every problem at once, with its place, its field and what to do."""

from __future__ import annotations

import pytest

from pipeline.errors import BrokerError, ConfigError, HooklineError, Problem, TopicMissing

WHOLE = Problem("a.yaml", 3, 7, "steps[0].call", "no such thing", "did you mean x?")


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (WHOLE, "a.yaml:3:7: steps[0].call: no such thing (did you mean x?)"),
        (Problem("a.yaml", 3, 0, "", "stray file"), "a.yaml:3: stray file"),
        (Problem("a.yaml", 0, 0, "owner", "missing"), "a.yaml: owner: missing"),
    ],
)
def test_a_problem_leads_to_its_place(problem, text):
    assert str(problem) == text


def test_a_config_error_tells_all_problems_at_once():
    problems = (Problem("a.yaml", 1, 1, "x", "one"), Problem("b.yaml", 2, 2, "y", "two"))
    error = ConfigError(problems)
    assert str(error).splitlines() == ["a.yaml:1:1: x: one", "b.yaml:2:2: y: two"]
    assert error.problems == problems
    assert isinstance(error, HooklineError)


def test_missing_topics_are_named_with_the_command_that_creates_them():
    error = TopicMissing(("a.dead", "a.outcomes"))
    assert isinstance(error, BrokerError)
    assert "a.dead, a.outcomes" in str(error)
    assert "hookline topics create" in str(error)
