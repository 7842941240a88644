"""`hookline fmt`: the one layout of a configuration's files, so that a change shows what changed and nothing else."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.cli.options import add_json
from pipeline.cli.screen import print_json
from pipeline.model import Problem, value

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pipeline.config.section import Section

FOLDERS: Final = {
    "journeys": "journey", "destinations": "destination", "shared": "shared", "env": "env", "tests": "test",
}  # fmt: skip
"""By folder: the kind of its files, see config.jsonschema."""
OK: Final = 0
DIFFERENT: Final = 1
REFUSED: Final = 2


@value
class Laid:
    """A file of the folder: what it was, and the text it should be; None with a problem."""

    path: Path
    before: str
    after: str | None


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "fmt",
        help="lay out a configuration's files",
        description="Give the YAML files of a configuration their one layout: keys in the order of the reference, two "
        "blanks a level, double quotes, comments kept. What a file means never changes; one that cannot be read is "
        "left alone, with exit code 2.",
    )
    parser.add_argument("--config", metavar="DIR", type=Path, default=Path(), help="configuration folder (default: .)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a file has another layout")
    add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on the file system."""
    problems: list[Problem] = []
    changed: list[Laid] = []
    for path in _files(args.config):
        laid = _laid(args.config, path, problems)
        if laid.after is not None and laid.after != laid.before:
            changed.append(laid)
    if not (args.config / "hookline.yaml").is_file():
        hint = "a configuration is a folder with that file; name it with --config DIR"
        problems.append(Problem("hookline.yaml", 0, 0, "", "is missing from the configuration folder", hint))
    names = [str(each.path.relative_to(args.config)) for each in changed]
    for each in changed if not args.check else ():
        _replace(each.path, each.after or "")
    if args.json:
        print_json({"problems": problems, "changed": names, "written": not args.check})
    else:
        for name in names:
            print(f"{name}: has another layout (hookline fmt writes it)" if args.check else name)
        for problem in problems:
            print(problem, file=sys.stderr)
    if problems:
        return REFUSED
    return DIFFERENT if args.check and changed else OK


def _files(folder: Path) -> Iterator[Path]:
    main = folder / "hookline.yaml"
    if main.is_file():
        yield main
    for name in FOLDERS:
        yield from sorted(each for each in (folder / name).glob("[!.]*.yaml") if each.is_file())


def _laid(folder: Path, path: Path, problems: list[Problem]) -> Laid:
    from pipeline.config import yaml  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config.layout import LayoutError, laid_out  # noqa: PLC0415
    from pipeline.config.places import Places  # noqa: PLC0415

    file = str(path.relative_to(folder))
    raw = path.read_bytes()
    found = yaml.parse(file, raw, Places())[1]
    if found:
        problems.extend(found)
        return Laid(path, "", None)
    before = raw.decode()
    try:
        return Laid(path, before, laid_out(_model(file), before))
    except LayoutError as error:
        hint = "it was left as it is; a comment in an odd place is the usual reason"
        problems.append(Problem(file, 1, 1, "", f"laid out, it {error}", hint))
        return Laid(path, before, None)


def _model(file: str) -> type[Section] | None:
    from pipeline.config.jsonschema import FILES  # noqa: PLC0415

    kind = FOLDERS[file.partition("/")[0]] if "/" in file else "hookline"
    return FILES[kind][1] if kind in FILES else None


def _replace(path: Path, text: str) -> None:
    """Write a file as a whole or not at all, whoever reads it meanwhile; its mode stays."""
    real = path.resolve()
    with tempfile.NamedTemporaryFile(
        "w", dir=real.parent, prefix=".", encoding="utf-8", newline="", delete=False
    ) as new:
        new.write(text)
    Path(new.name).chmod(real.stat().st_mode & 0o7777)
    os.replace(new.name, real)  # noqa: PTH105 - says what it does
