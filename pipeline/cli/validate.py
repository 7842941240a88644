"""`hookline validate`: every problem of a configuration at once, without needing a secret; and schemas for editors."""

from __future__ import annotations

import json
import pathlib
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from pipeline.config.models import Config
    from pipeline.model import Problem

OK = 0
USAGE = 2
SCHEMAS = ("hookline", "journey", "destination", "env", "shared")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "validate",
        help="check a configuration, needing no secrets",
        description="Check a configuration: every problem at once, each with file, line and column. Needs no secrets. "
        "Exit code 0 if it is fit to run, 2 if not.",
    )
    parser.add_argument("--config", metavar="DIR", type=pathlib.Path, default=pathlib.Path(), help="default: .")
    parser.add_argument("--env", metavar="NAME", help="check it as in this environment; default: as in each of them")
    parser.add_argument("--json", action="store_true", help="print problems and summary as JSON")
    parser.add_argument("--schema", choices=SCHEMAS, help="print the JSON Schema of such a file, for editors, and stop")
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on the file system."""
    if args.schema:
        from pipeline.config.jsonschema import schema  # noqa: PLC0415 - commands import what is heavy once they run

        print(json.dumps(schema(args.schema), indent=2, ensure_ascii=False))
        return OK
    config, problems = _checked(args.config, args.env)
    if args.json:
        document = {"problems": [asdict(each) for each in problems], "summary": _counts(config) if config else None}
        print(json.dumps(document, indent=2, ensure_ascii=False))
    elif config is None:
        for problem in problems:
            print(problem)
        print(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", file=sys.stderr)
    else:
        print("valid: " + ", ".join(f"{number} {noun}" for noun, number in _counts(config).items()))
    return OK if config else USAGE


def _checked(folder: pathlib.Path, env: str | None) -> tuple[Config | None, tuple[Problem, ...]]:
    """Load and compile; return the configuration, or None and its problems."""
    from pipeline.config import compile as compiling  # noqa: PLC0415
    from pipeline.config.load import load  # noqa: PLC0415
    from pipeline.errors import ConfigError  # noqa: PLC0415

    try:
        config = load(folder, env)
    except ConfigError as error:
        return None, error.problems
    problems = compiling.check(config)
    return (None, problems) if problems else (config, ())


def _counts(config: Config) -> dict[str, int]:
    return {
        "journeys": len(config.journeys),
        "destinations": len(config.destinations),
        "topics": len({mapping.topic for mapping in config.events}),
    }
