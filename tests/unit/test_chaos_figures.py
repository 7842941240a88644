"""The figures of `make chaos` in the documentation: each of its tests has a row, and no row says more than it may."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import figures
from tests.support.figures import Row, block, flaws

CHAOS = Path(__file__).parents[1] / "chaos"
TESTS = sorted({name for file in CHAOS.glob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())})
ROWS = [
    Row("workers killed", 1_200, 0, 0.0, "test_one"),
    Row("a worker cut off", 800, 7, -3.2, "test_two"),
    Row("a worker stopped", 800, 90, 1.26, "test_three"),
]


def test_the_page_has_the_figures_of_a_whole_run():
    assert TESTS
    assert flaws(figures.PAGE.read_text(encoding="utf-8"), TESTS) == []


def test_what_a_run_writes_is_what_is_checked_and_replaces_the_last_run(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{figures.BEGIN}\nold\n{figures.END}\n\nafter\n")
    monkeypatch.setattr(figures, "PAGE", page)
    figures.write(ROWS)
    figures.write(ROWS)
    text = page.read_text()
    assert text == f"before\n\n{block(ROWS)}\n\nafter\n"
    assert flaws(text, ["test_one", "test_two", "test_three"]) == []
    assert "| 90 (11.2%) | 1.3 s before |" in text
    assert "| 7 (0.9%) | - |" in text


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("| 1200 | 0 |", "| 1200 | 1 |"),
        ("| balances |", "| does not balance |"),
        ("Run on 2", "Run on "),
        ("| 90 (11.2%) |", "| few |"),
        (figures.END, ""),
        ("`test_two`", "`test_2`"),
    ],
)
def test_a_block_that_was_touched_by_hand_is_noticed(was, becomes):
    text = block(ROWS)
    assert was in text
    assert flaws(text.replace(was, becomes, 1), ["test_one", "test_two", "test_three"])
