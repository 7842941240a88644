"""`hookline report` as it is printed; the page that explains it shows what the command prints."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

from pipeline.cli import main, report
from pipeline.core.report import Compared, Fresh, Group, Journey, difference

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "measure-a-journey.md"
TREATED, HOLDOUT = Group(27_982, 4_021, 333_545.44), Group(3_104, 342, 28_122.24)
CART = Journey(
    "cart_recovery", 41_203, 13_350,
    {"incentive": {"delivered": 27_377, "skipped": 13_350, "defaulted": 476}},
    {"incentive": {
        "skipped(consent)": 9_218, "skipped(holdout)": 4_120, "skipped(stale)": 12, "defaulted(timeout)": 476,
    }},
    {"consent": 9_218, "holdout": 4_120, "stale": 12},
    Compared(TREATED, HOLDOUT, 4_410, 0, *difference(TREATED, HOLDOUT)), (Fresh("incentive", 27_377, 1_000, 9_000),),
)  # fmt: skip
CONFIG = SimpleNamespace(journeys={
    "cart_recovery": SimpleNamespace(
        steps=[SimpleNamespace(name="incentive")],
        success=SimpleNamespace(event="purchase.completed", within_ms=7 * 86_400_000),
    ),
})  # fmt: skip


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report._print(CONFIG, CART)  # type: ignore[arg-type]
    [shown] = re.findall(r"```text\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert [line.rstrip() for line in capsys.readouterr().out.strip().splitlines()] == shown.strip().splitlines()


def test_freshness_as_json() -> None:
    assert report._document(CART)["freshness"] == {"incentive": {"delivered": 27_377, "p50_ms": 1_000, "p95_ms": 9_000}}


def test_without_a_holdout_there_is_nothing_to_compare_with() -> None:
    compared = Compared(Group(5, 1, None), Group(0, 0, None), 0, 3, -1.0, 1.0)
    lines = list(report.compared_lines(compared))
    assert "nobody was held out" in lines[2]
    assert lines[3] == "  3 runs are not judged: the input topic does not have their event any more"
    assert report._document(Journey("a", 5, 0, {}, {}, {}, compared))["success"]["difference"] is None


def test_a_difference_that_may_be_chance_says_so() -> None:
    treated, holdout = Group(100, 12, None), Group(100, 10, None)
    compared = Compared(treated, holdout, 0, 0, *difference(treated, holdout))
    assert list(report.compared_lines(compared))[2].endswith(": may be chance")


def test_bars_show_what_is_not_nothing() -> None:
    assert [len(report.bar(number, 1_000)) for number in (0, 1, 500, 1_000)] == [0, 1, 15, 30]
    assert report.bar(0, 0) == ""


def test_an_unknown_journey_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--config", "deploy/compose/config", "--env", "host"]
    assert main(["report", "--journey", "cart_recovry", *place]) == 2
    assert "there is no such journey (did you mean cart_recovery)" in capsys.readouterr().err
