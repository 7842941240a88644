"""`hookline pages`: what a configuration does, for those who answer for it: pages, diagrams, contracts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from pipeline.cli import options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

MARK: Final = "Written by `hookline pages`; change the configuration, not this page."
"""In every page and contract: what has it may be written over, or removed."""
OK: Final = 0
OUTDATED: Final = 1
HEAD_BYTES: Final = 2_048
"""How much of a file is read to find the mark."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "pages",
        help="write what a configuration does, for those who answer for it",
        description="Write pages (Markdown) about every journey and destination: who answers for it, what for, on "
        "which basis, a diagram of its steps, every field sent with its personal-data class and retention; the "
        "contract of every destination (OpenAPI 3.1, webhooks) and of the topics (AsyncAPI 3). Pages of what is gone "
        "are removed. Needs no secrets and contacts nothing.",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where to write; made if it is not there")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if a page is out of date")
    parser.add_argument("--config", metavar="DIR", type=Path, default=Path(), help="configuration folder (default: .)")
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on the file system. Raises ConfigError."""
    wanted = made(args.config)
    known = _known(args.folder)
    gone = sorted(known - wanted.keys())
    outdated = [file for file, content in wanted.items() if _content(args.folder / file) != content]
    if args.check:
        for file in (*outdated, *gone):
            print(f"{file}: is out of date (hookline pages writes it)")
        return OUTDATED if outdated or gone else OK
    foreign = [file for file in outdated if (args.folder / file).exists() and file not in known]
    if foreign:
        raise options.refuse("FOLDER", "has files of others that would be written over: " + ", ".join(foreign))
    for file in outdated:
        (args.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (args.folder / file).write_bytes(wanted[file])
    for file in gone:
        (args.folder / file).unlink()
    print(f"{len(outdated)} written, {len(gone)} removed, {len(wanted) - len(outdated)} as they were", file=sys.stderr)
    return OK


def made(folder: Path) -> Mapping[str, bytes]:
    """Return all files, by path. Blocks on the file system. Raises ConfigError for what is not fit to run."""
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.app.check import checked  # noqa: PLC0415
    from pipeline.cli.pages import text  # noqa: PLC0415
    from pipeline.config import asyncapi, files, openapi  # noqa: PLC0415
    from pipeline.config.compile import sent  # noqa: PLC0415
    from pipeline.errors import ConfigError  # noqa: PLC0415

    config, problems = checked(folder, None)
    if config is None:
        raise ConfigError(problems)
    schemas = Folders.examined((packaged(), folder / "schemas"))[0]
    known = text.Known(config, files.read(folder).trees, sent(config, schemas))
    made = {"index.md": text.index(known), "topics.asyncapi.json": _json(asyncapi.document(config, schemas))}
    for name in sorted(config.journeys):
        made[f"journeys/{name}.md"] = text.journey(known, name)
    for name in sorted(config.destinations):
        made[f"destinations/{name}.md"] = text.destination(known, name)
        made[f"destinations/{name}.openapi.json"] = _json(openapi.document(config, name, known.sent))
    return {file: content.encode() for file, content in made.items()}


def _json(document: dict[str, object]) -> str:
    marked = {**document, "x-hookline": MARK}
    return orjson.dumps(marked, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _known(folder: Path) -> set[str]:
    """Return the files in the folder that this command wrote."""
    found = set()
    for pattern in ("*.md", "*.json", "journeys/*.md", "destinations/*.md", "destinations/*.json"):
        for path in folder.glob(pattern):
            with path.open("rb") as source:
                head = source.read(HEAD_BYTES)
                source.seek(max(path.stat().st_size - HEAD_BYTES, 0))
                if MARK.encode() in head or MARK.encode() in source.read():
                    found.add(str(path.relative_to(folder)))
    return found


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
