"""`hookline fmt` writes what has another layout, and only that; `--check` writes nothing."""

from __future__ import annotations

import json
import pathlib
import shutil

import pytest

from pipeline.cli import main
from pipeline.config.load import load

CDNOW = pathlib.Path("tests/data/config/cdnow")


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))


def mess_up(file: pathlib.Path) -> str:
    text = file.read_text()
    file.write_text(text.replace("status: live\n", "").replace("\n\n", "\n\n\n") + "status: 'live'   \n")
    return text


def test_what_is_laid_out_stays(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in config.rglob("*.yaml")}
    assert main(["fmt", "--config", str(config), "--check"]) == 0
    assert main(["fmt", "--config", str(config)]) == 0
    assert capsys.readouterr().out == ""
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in config.rglob("*.yaml")} == before


def test_what_has_another_layout_is_written(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    journey = config / "journeys/purchase_thanks.yaml"
    meant = load(config, None).journeys
    was = mess_up(journey)
    journey.chmod(0o640)
    assert main(["fmt", "--config", str(config), "--check"]) == 1
    assert "journeys/purchase_thanks.yaml: has another layout" in capsys.readouterr().out
    assert main(["fmt", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "journeys/purchase_thanks.yaml\n"
    assert journey.read_text() == was.replace("status: live", 'status: "live"')
    assert journey.stat().st_mode & 0o777 == 0o640
    assert load(config, None).journeys == meant
    assert not list(config.rglob(".*")), "nothing is left behind"


def test_what_cannot_be_read_is_named_and_left(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken, other = config / "destinations/crm.yaml", config / "journeys/purchase_thanks.yaml"
    broken.write_text("destination: crm\nowner: [\n")
    mess_up(other)
    assert main(["fmt", "--config", str(config), "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["changed"] == ["journeys/purchase_thanks.yaml"]
    assert [(each["file"], each["line"]) for each in said["problems"]] == [("destinations/crm.yaml", 3)]
    assert broken.read_text() == "destination: crm\nowner: [\n"


def test_a_folder_that_is_no_configuration(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fmt", "--config", str(tmp_path)]) == 2
    assert "hookline.yaml: is missing" in capsys.readouterr().err
