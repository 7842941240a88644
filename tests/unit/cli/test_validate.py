"""`hookline validate` says what is wrong and where, as text or JSON, with an exit code."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from pipeline.cli import main

CDNOW = pathlib.Path("tests/data/config/cdnow")


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))


def change(file: pathlib.Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


@pytest.mark.parametrize("args", [[], ["--env", "test"]])
def test_a_valid_configuration(config: pathlib.Path, args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--config", str(config), *args]) == 0
    assert capsys.readouterr().out == "valid: 1 journey, 2 destinations, 1 topic\n"


def test_the_summary_as_json(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--config", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "problems": [],
        "summary": {"journeys": 1, "destinations": 2, "topics": 1},
    }


def test_problems(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(config / "destinations/crm.yaml", "timeout: 5s", "timeout: 5")
    change(config / "journeys/purchase_thanks.yaml", "status: live", "status: on")
    assert main(["validate", "--config", str(config)]) == 2
    printed = capsys.readouterr()
    assert printed.out == (
        "destinations/crm.yaml:8:10: timeout: needs a unit (such as 800ms, 2s, 10m, 1h or 7d)\n"
        "journeys/purchase_thanks.yaml:2:9: status: must be one of: draft, live\n"
    )
    assert printed.err == "2 problems\n"


def test_what_the_compiler_finds_has_a_place_too(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(
        config / "journeys/purchase_thanks.yaml", "quantity: ${event.properties.quantity}", "quantity: ${event.nope}"
    )
    assert main(["validate", "--config", str(config), "--json"]) == 2
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert (problem["file"], problem["line"]) == ("journeys/purchase_thanks.yaml", 19)
    assert problem["field"] == "steps[0].payload.quantity"


def test_schemas_of_the_configuration_are_checked_too(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config / "schemas").mkdir()
    (config / "schemas/broken.avsc").write_text("{")
    change(config / "destinations/crm.yaml", "timeout: 5s", "timeout: 5")
    assert main(["validate", "--config", str(config)]) == 2
    out = capsys.readouterr().out
    assert "destinations/crm.yaml:8:10" in out
    assert "schemas/broken.avsc:1:2" in out


def test_no_configuration(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--config", str(tmp_path)]) == 2
    assert "hookline.yaml: is missing from the configuration folder" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["hookline", "journey", "destination", "shared", "env"])
def test_schemas_for_editors(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "--schema", kind]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
