"""Performs the reading of a configuration folder: which files there are, what is in them, and what does not belong.

Hidden entries (a leading dot) are passed over: editors, Git and Kubernetes' mounted volumes make them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pipeline.config import yaml
from pipeline.config.overlay import MAIN_FILE
from pipeline.config.places import Places
from pipeline.config.section import suggestion
from pipeline.model import Problem

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

FILES_MAX: Final = 2_000

YAML_FOLDERS: Final = ("journeys", "destinations", "shared", "env", "tests")
OTHER_FOLDERS: Final = {"schemas": (".avsc",), "contracts": (".json",), "secrets": (), "certs": ()}
"""Folders that other parts read: Avro schemas; contracts; files that `file:PATH` names."""

OTHER_FILES: Final = ("README.md", "LICENSE")

_TOP_HINT: Final = (
    "objects are in journeys/, destinations/, shared/ and env/; "
    "keep anything else, such as an event to render, outside this folder"
)

_STEM: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_ENV_STEM: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


@dataclass(slots=True)
class Folder:
    """The parsed files of one configuration folder, by path relative to it, and everything wrong with them so far."""

    trees: dict[str, object] = field(default_factory=dict)
    places: Places = field(default_factory=Places)
    problems: list[Problem] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[tuple[str, str, object]]:
        """Yield (name, file, tree) of one of YAML_FOLDERS, by name."""
        for file in sorted(self.trees):
            if file.startswith(f"{kind}/"):
                yield file.removeprefix(f"{kind}/").removesuffix(".yaml"), file, self.trees[file]


def read(root: pathlib.Path) -> Folder:
    """Read every file of the folder at `root`. Blocks on the file system; raises nothing."""
    folder = Folder()
    if not root.is_dir():
        folder.problems.append(Problem(str(root), 0, 0, "", "there is no such folder", "name it with --config DIR"))
    elif not (root / MAIN_FILE).is_file():
        hint = "a configuration is a folder with that file; name it with --config DIR"
        folder.problems.append(Problem(MAIN_FILE, 0, 0, "", "is missing from the configuration folder", hint))
    else:
        for name, path in _entries(folder, root):
            _top(folder, name, path)
    return folder


def _entries(folder: Folder, path: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    try:
        entries = sorted(path.iterdir())[:FILES_MAX]
    except OSError as error:
        _stray(folder, f"{path.name}/", f"cannot be read: {error.strerror}")
        return
    for entry in entries:
        if not entry.name.startswith("."):
            yield entry.name, entry


def _top(folder: Folder, name: str, path: pathlib.Path) -> None:
    if name == MAIN_FILE:
        _parse(folder, name, path)
    elif name in OTHER_FILES and path.is_file():
        return
    elif not path.is_dir():
        hint = suggestion(name, (MAIN_FILE,)) or _TOP_HINT
        _stray(folder, name, "does not belong here", hint)
    elif name in YAML_FOLDERS:
        _yaml_folder(folder, name, path)
    elif name in OTHER_FOLDERS:
        _other_folder(folder, name, path)
    else:
        known = (*YAML_FOLDERS, *OTHER_FOLDERS)
        hint = suggestion(name, known) or "one of " + ", ".join(f"{each}/" for each in known)
        _stray(folder, f"{name}/", "is no folder of a configuration", hint)


def _yaml_folder(folder: Folder, kind: str, path: pathlib.Path) -> None:
    entries = list(_entries(folder, path))
    if len(entries) == FILES_MAX:
        _stray(folder, f"{kind}/", f"has {FILES_MAX} files or more")
    pattern = _ENV_STEM if kind == "env" else _STEM
    for name, entry in entries:
        file = f"{kind}/{name}"
        if entry.is_dir():
            _stray(folder, f"{file}/", "folders in folders are refused", "one object a file, directly in its folder")
        elif not entry.is_file():
            _stray(folder, file, "is no file")
        elif entry.suffix != ".yaml":
            hint = "rename it to .yaml" if entry.suffix in (".yml", ".YAML", ".YML") else ""
            _stray(folder, file, "is not a .yaml file", hint)
        elif pattern.fullmatch(entry.stem) is None:
            _stray(folder, file, "is not named like an object", "lower-case letters, digits and underscores")
        else:
            _parse(folder, file, entry)


def _other_folder(folder: Folder, kind: str, path: pathlib.Path) -> None:
    suffixes = OTHER_FOLDERS[kind]
    for name, entry in _entries(folder, path):
        if suffixes and (entry.is_dir() or entry.suffix not in suffixes):
            _stray(folder, f"{kind}/{name}", "does not belong here", f"only {', '.join(suffixes)} files do")


def _parse(folder: Folder, file: str, path: pathlib.Path) -> None:
    try:
        with path.open("rb") as source:
            raw = source.read(yaml.FILE_BYTES_MAX + 1)
    except OSError as error:
        _stray(folder, file, f"cannot be read: {error.strerror}")
        return
    tree, problems = yaml.parse(file, raw, folder.places)
    folder.problems.extend(problems)
    folder.trees[file] = tree


def _stray(folder: Folder, file: str, message: str, hint: str = "") -> None:
    folder.problems.append(Problem(file, 0, 0, "", message, hint))
