"""`hookline schema` gives editors what they need, and an editor's own checker agrees with it."""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from pipeline.cli import main, schema

CDNOW = pathlib.Path("tests/data/config/cdnow")
CHECKER = pathlib.Path(sys.executable).parent / "check-jsonschema"


@pytest.fixture
def config(tmp_path: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(CDNOW, tmp_path / "cdnow"))


@pytest.mark.parametrize("kind", schema.KINDS)
def test_one_is_printed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", kind]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_an_editor_s_checker_takes_them(config: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """check-jsonschema, as editors would: all files of a folder pass, a mistake does not."""
    assert main(["schema", "--write", "--config", str(config)]) == 0
    assert main(["new", "destination", "desk", "--config", str(config)]) == 0
    assert main(["new", "journey", "calm", "--call", "desk.send", "--config", str(config)]) == 0
    assert main(["validate", "--config", str(config)]) == 0, "a hidden folder is no part of the configuration"
    capsys.readouterr()
    journey = config / "journeys/calm.yaml"
    assert journey.read_text().startswith("# yaml-language-server: $schema=../.schemas/journey.json\n")
    for kind, pattern in (("hookline", "hookline.yaml"), ("journey", "journeys/*"), ("destination", "destinations/*")):
        assert checker(config, kind, *config.glob(pattern)).returncode == 0
    journey.write_text(journey.read_text().replace("kind: update", "kind: updaet"))
    done = checker(config, "journey", journey)
    assert done.returncode == 1
    assert "'updaet' is not one of" in done.stdout


def checker(config: pathlib.Path, kind: str, *files: pathlib.Path) -> subprocess.CompletedProcess[str]:
    known = config / schema.FOLDER / f"{kind}.json"
    command = [CHECKER, "--schemafile", known, "--no-cache", *files]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_a_folder_that_is_no_configuration(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--write", "--config", str(tmp_path)]) == 2
    assert main(["schema"]) == 2
    assert "name a kind of file" in capsys.readouterr().err
