"""The cases of the worked configuration come out as the reference says: a journey with a decision and two branches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.cli import main
from pipeline.config.load import load
from tests.unit.config.test_compile_worked import supported

if TYPE_CHECKING:
    import pathlib

CASES = ["a code is mailed", "promotion service is late", "no consent, no request at all"]


def test_the_cases_of_the_reference_come_out(tmp_path: pathlib.Path, capsys) -> None:
    supported(tmp_path / "worked")
    journey = load(tmp_path / "worked", None).journeys["cart_recovery"]
    cases = [*CASES, "bought meanwhile"] if getattr(journey, "cancel_on", ()) else CASES
    code = main(["test", "--config", str(tmp_path / "worked"), *cases])
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert f"{len(cases)} of {len(cases)} cases came out as expected" in shown
