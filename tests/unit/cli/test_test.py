"""`hookline test` plays what is chosen, says what came out otherwise, and ends with an exit code."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from pipeline.cli import main

CDNOW = pathlib.Path("tests/data/config/cdnow")
CASES = """\
journey: purchase_thanks
event:
  type: purchase.completed
  time: 1997-05-01T12:00:00Z
  customer: {id: "1"}
  properties: {order_value: "11.77", quantity: 1}
cases:
  - case: both are told
    expect:
      outcomes: {crm: delivered, touchpoint: delivered}
      requests:
        touchpoint: {body: {event_id: 00000000-0000-5000-8000-000000000001, customer_id: "1", type: purchase.completed,
                            at: "1997-05-01T12:00:00.000Z"}}
    event: {id: 00000000-0000-5000-8000-000000000001}
  - case: the CRM refuses
    answers: {crm: {status: 400}}
    expect: {outcomes: {crm: rejected, touchpoint: delivered}}
"""


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))
    (folder / "tests").mkdir()
    (folder / "tests/purchases.yaml").write_text(CASES)
    return folder


def test_good_cases(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", str(config)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["ok    purchase_thanks: both are told", "ok    purchase_thanks: the CRM refuses"]
    assert lines[2].startswith("2 of 2 cases came out as expected, in ")


def test_a_difference_is_shown_with_its_place_and_reason(
    config: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config / "tests/purchases.yaml"
    file.write_text(CASES.replace("crm: rejected", "crm: delivered"))
    assert main(["test", "--config", str(config), "the CRM refuses"]) == 1
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "FAIL  purchase_thanks: the CRM refuses (tests/purchases.yaml:15)",
        "      crm: expected delivered, got rejected (tests/purchases.yaml:17)",
        "        1 attempt, the last one: HTTP 400",
    ]


def test_as_json(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "tests/purchases.yaml").write_text(CASES.replace("crm: rejected", "crm: delivered"))
    assert main(["test", "--config", str(config), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["passed"], told["failed"]) == (1, 1)
    assert told["cases"][1]["outcomes"] == {"crm": "rejected", "touchpoint": "delivered"}
    (difference,) = told["cases"][1]["differences"]
    assert (difference["step"], difference["expected"], difference["got"]) == ("crm", "delivered", "rejected")


def test_a_choice_that_means_nothing(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", str(config), "purchase_thank"]) == 2
    assert "there is no such journey or case (did you mean purchase_thanks)" in capsys.readouterr().err
    (config / "tests/purchases.yaml").unlink()
    assert main(["test", "--config", str(config)]) == 2
    assert "there are no cases" in capsys.readouterr().err


def test_what_validate_refuses_is_not_played(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "tests/purchases.yaml").write_text(CASES.replace("quantity: 1", "quantity: {a: 1}"))
    assert main(["test", "--config", str(config)]) == 2
    assert "tests/purchases.yaml:6:48: event.properties.quantity: must be" in capsys.readouterr().err
    assert main(["validate", "--config", str(config)]) == 2


def test_the_cases_of_the_documentation_come_out(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pathlib.Path(shutil.copytree("deploy/compose/config", tmp_path / "shop"))
    page = pathlib.Path("docs/howto/test-journeys.md").read_text("utf-8")
    (folder / "tests").mkdir()
    (folder / "tests/page.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    assert main(["test", "--config", str(folder)]) == 0
    assert "4 of 4 cases" in capsys.readouterr().out
