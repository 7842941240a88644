"""`hookline validate`: every problem of a configuration at once, without needing a secret; and schemas for editors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from pipeline.cli.options import add_config, add_json
from pipeline.cli.screen import print_json

if TYPE_CHECKING:
    import argparse

    from pipeline.config.models import Config

OK: Final = 0
REFUSED: Final = 2
SCHEMAS: Final = ("hookline", "journey", "destination", "shared", "env", "test")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "validate",
        help="check a configuration",
        description="Check a configuration: every problem at once, each with file, line and column. Needs no secrets "
        "and contacts nothing. Without --env each environment is checked. Exit code 0 if it is fit to run, 2 if not.",
    )
    add_config(parser)
    add_json(parser)
    parser.add_argument("--schema", choices=SCHEMAS, help="print the JSON Schema of such a file, for editors, and stop")
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks on the file system."""
    if args.schema:
        from pipeline.config.jsonschema import schema  # noqa: PLC0415 - commands import what is heavy once they run

        print_json(schema(args.schema))
        return OK
    from pipeline.app.check import checked  # noqa: PLC0415

    config, problems = checked(args.config, args.env)
    fit = config is not None and not problems
    if args.json:
        print_json({"problems": problems, "summary": _counts(config) if config and fit else None})
    elif config and fit:
        counts = (f"{number} {noun if number != 1 else noun[:-1]}" for noun, number in _counts(config).items())
        print("valid: " + ", ".join(counts))
    else:
        for problem in problems:
            print(problem)
        print(f"{len(problems)} problem{'s' if len(problems) != 1 else ''}", file=sys.stderr)
    return OK if fit else REFUSED


def _counts(config: Config) -> dict[str, int]:
    return {
        "journeys": len(config.journeys),
        "destinations": len(config.destinations),
        "topics": len({mapping.topic for mapping in config.events}),
    }
