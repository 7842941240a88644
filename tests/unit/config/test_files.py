"""A configuration folder holds what it should, and everything else is named, whoever put it there."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipeline.config import files, yaml
from pipeline.config.load import load
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    import pathlib

    from tests.unit.config.conftest import Folder


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("hookline.yml", "hookline.yml: does not belong here (did you mean hookline.yaml)"),
        (
            "event.json",
            (
                "event.json: does not belong here (objects are in journeys/, destinations/, shared/ and env/; "
                "keep anything else, such as an event to render, outside this folder)"
            ),
        ),
        ("journey/a.yaml", "journey/: is no folder of a configuration (did you mean journeys)"),
        ("journeys/a.yml", "journeys/a.yml: is not a .yaml file (rename it to .yaml)"),
        ("journeys/a.yaml.bak", "journeys/a.yaml.bak: is not a .yaml file"),
        (
            "journeys/Hello-1.yaml",
            "journeys/Hello-1.yaml: is not named like an object (lower-case letters, digits and underscores)",
        ),
        (
            "journeys/more/a.yaml",
            "journeys/more/: folders in folders are refused (one object a file, directly in its folder)",
        ),
        ("schemas/a.json", "schemas/a.json: does not belong here (only .avsc files do)"),
        ("contracts/a.yaml", "contracts/a.yaml: does not belong here (only .json files do)"),
        ("tests/welcome.yml", "tests/welcome.yml: is not a .yaml file (rename it to .yaml)"),
    ],
)
def test_stray_files(folder: Folder, file: str, expected: str) -> None:
    assert folder.write(file, "a: 1\n").problem() == expected


@pytest.mark.parametrize(
    "file", [".git/x", ".DS_Store", "journeys/.welcome.yaml.swp", "README.md", "secrets/deep/crm", "schemas/a.avsc"]
)
def test_files_that_may_be_there(folder: Folder, file: str) -> None:
    folder.write(file, "anything").load()


def test_kubernetes_mounts_files_as_links(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> None:
    mount = tmp_path_factory.mktemp("mount")
    (mount / "..data").symlink_to(folder.root)
    for entry in ("hookline.yaml", "journeys", "destinations"):
        (mount / entry).symlink_to(mount / "..data" / entry)
    assert load(mount, None).group == "shop"


def test_no_folder_and_no_main_file(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such folder \(name it with --config DIR\)"):
        load(tmp_path / "none", None)
    with pytest.raises(ConfigError, match=r"^hookline.yaml: is missing from the configuration folder"):
        load(tmp_path, None)


def test_what_looks_like_a_file_and_is_none(folder: Folder) -> None:
    os.mkfifo(folder.root / "journeys/pipe.yaml")
    (folder.root / "journeys/gone.yaml").symlink_to(folder.root / "nowhere")
    assert [str(each) for each in folder.problems()] == [
        "journeys/gone.yaml: is no file",
        "journeys/pipe.yaml: is no file",
    ]


def test_objects_are_told_by_kind_and_name(folder: Folder) -> None:
    folder.write("journeys/again.yaml", "journey: again\n").write("env/eu-west.yaml", "mode: live\n")
    read = files.read(folder.root)
    assert [(name, file) for name, file, _ in read.of("journeys")] == [
        ("again", "journeys/again.yaml"),
        ("welcome", "journeys/welcome.yaml"),
    ]
    assert [(name, tree) for name, _, tree in read.of("env")] == [("eu-west", {"mode": "live"})]
    assert list(read.of("shared")) == []
    assert read.problems == []


def test_a_file_is_read_no_further_than_its_bound(folder: Folder) -> None:
    folder.write("journeys/huge.yaml", b"# " + b"x" * yaml.FILE_BYTES_MAX)
    [problem] = files.read(folder.root).problems
    assert problem.file == "journeys/huge.yaml"
