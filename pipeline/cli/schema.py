"""`hookline schema`: JSON Schemas of the configuration's files, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from pipeline.cli.screen import print_json

if TYPE_CHECKING:
    import argparse

KINDS: Final = ("hookline", "journey", "destination", "shared", "env", "test")
FOLDER: Final = ".schemas"
"""Where `--write` puts them: hidden, so no part of the configuration."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "schema",
        help="JSON Schemas for editors",
        description="Print the JSON Schema of a kind of file, for completion and checks in editors, or write all of "
        f"them into {FOLDER}/ of the configuration. Editors know fewer rules than validate.",
    )
    parser.add_argument("kind", metavar="KIND", choices=KINDS, nargs="?", help="one of: " + ", ".join(KINDS))
    parser.add_argument("--write", action="store_true", help=f"write all of them into {FOLDER}/ of the configuration")
    parser.add_argument("--config", metavar="DIR", type=Path, default=Path(), help="configuration folder (default: .)")
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on the file system. Raises ConfigError."""
    from pipeline.cli.options import refuse  # noqa: PLC0415
    from pipeline.config.jsonschema import schema  # noqa: PLC0415 - commands import what is heavy once they run

    if args.kind and not args.write:
        print_json(schema(args.kind))
        return 0
    if not args.write:
        raise refuse("KIND", f"name a kind of file ({', '.join(KINDS)}), or --write all")
    if not (args.config / "hookline.yaml").is_file():
        raise refuse("--config", "there is no hookline.yaml")
    folder = args.config / FOLDER
    folder.mkdir(exist_ok=True)
    for kind in [args.kind] if args.kind else KINDS:
        path = folder / f"{kind}.json"
        path.write_bytes(orjson.dumps(schema(kind), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        print(f"{FOLDER}/{path.name}")
    return 0
