"""The cases of the worked configuration come out as the reference says: a journey with a decision and two branches."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from pipeline.cli import main
from pipeline.config.load import load
from tests.unit.config.test_compile_worked import WORKED

if TYPE_CHECKING:
    import pathlib


def test_what_a_user_would_copy_is_valid_as_it_is(tmp_path: pathlib.Path, capsys) -> None:
    shutil.copytree(WORKED, tmp_path / "worked")
    code = main(["validate", "--config", str(tmp_path / "worked"), "--json"])
    assert (json.loads(capsys.readouterr().out)["problems"], code) == ([], 0)


def test_the_cases_of_the_reference_come_out(tmp_path: pathlib.Path, capsys) -> None:
    shutil.copytree(WORKED, tmp_path / "worked")
    assert load(tmp_path / "worked", None).journeys["cart_recovery"].holdout == 0.1
    code = main(["test", "--config", str(tmp_path / "worked")])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert "4 of 4 cases came out as expected" in shown


@pytest.mark.parametrize(("given", "reason"), [("holdout: in", "holdout"), ("rollout: out", "rollout")])
def test_a_case_says_who_is_drawn(tmp_path: pathlib.Path, capsys, given: str, reason: str) -> None:
    shutil.copytree(WORKED, tmp_path / "worked")
    journey = tmp_path / "worked/journeys/cart_recovery.yaml"
    journey.write_text(journey.read_text().replace("rollout: 100% ", "rollout: 99% "))
    cases = tmp_path / "worked/tests/cart_recovery.yaml"
    steps = ", ".join(f"{name}: skipped({reason})" for name in ("incentive", "with_code", "without_code", "reached"))
    with cases.open("a") as file:
        file.write(f"  - case: drawn\n    given: {{{given}}}\n    expect: {{outcomes: {{{steps}}}}}\n")
    code = main(["test", "--config", str(tmp_path / "worked"), "drawn"])
    assert code == 0, capsys.readouterr().out
