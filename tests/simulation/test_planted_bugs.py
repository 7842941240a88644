"""Bugs planted in the product are caught: the checks of the simulation are no decoration. Most are bugs others had."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from pipeline.testing.simulation.run import Simulation
from tests.simulation import planted_commits, planted_journeys

CAUGHT_WITHIN = 150
"""Seeds; most take a few."""

BROKEN = re.compile(r"\b(TypeError|AttributeError|NameError)\b")

MUTANTS = [
    each
    for module in (planted_commits, planted_journeys)
    for each in vars(module).values()
    if inspect.isfunction(each) and list(inspect.signature(each).parameters) == ["patch"]
]


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation()


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 45


def test_those_the_guarantees_name_are_there():
    named = set(re.findall(r"planted as `(\w+)`|`(\w+)`(?= \|$)", Path("docs/guarantees.md").read_text(), re.MULTILINE))
    names = {name for pair in named for name in pair if name and not name.startswith("test_")}
    assert names <= {each.__name__ for each in MUTANTS}
    assert len(names) > 8


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.__name__)
def test_a_planted_bug_is_caught(simulation, monkeypatch, mutant):
    mutant(monkeypatch.setattr)
    for seed in range(CAUGHT_WITHIN):
        flaws = simulation.run(seed).flaws
        broken = [each for each in flaws if BROKEN.search(each)]
        assert not broken, "it was planted badly: what fails is the plant, and not what was promised"
        if flaws:
            return
    pytest.fail(f"not caught by {CAUGHT_WITHIN} seeds")
