"""`hookline new`: a journey or a destination to begin with, valid as it is, its choices in comments beside it."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.cli import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
OWNER: Final = "you@example.com"
GOAL: Final = "Say in one sentence what this is for"
EVENT: Final = "something.happened"
OK: Final = 0
UNFINISHED: Final = 1
MODELINE: Final = "# yaml-language-server: $schema=../{schemas}/{kind}.json\n"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "new",
        help="begin a journey or a destination",
        description="Write a file to begin with, valid as it is. On a terminal it asks for what no option says. Exit "
        "code 1 if something is left to do before it is valid, such as a contract that wants more.",
    )
    actions = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    journey = actions.add_parser(
        "journey",
        help="a draft of one step, and test cases",
        description="Write journeys/NAME.yaml, a draft of one step, and tests/NAME.yaml, cases for it that pass.",
    )
    _add_common(journey)
    journey.add_argument("--goal", metavar="TEXT", help="what it is for, in one sentence")
    journey.add_argument("--event", metavar="TYPE", help="what starts it; default: the first type of hookline.yaml")
    journey.add_argument(
        "--call", metavar="DESTINATION.OPERATION", help="what its step calls; default: the first there is"
    )
    journey.set_defaults(run=execute_journey)
    destination = actions.add_parser(
        "destination", help="a system with one operation", description="Write destinations/NAME.yaml."
    )
    _add_common(destination)
    destination.set_defaults(run=execute_destination)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", type=_name, help="lower-case letters, digits and underscores")
    parser.add_argument("--owner", metavar="WHO", help="who answers for it")
    parser.add_argument("--config", metavar="DIR", type=Path, default=Path(), help="configuration folder (default: .)")


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError("must be lower-case letters, digits and underscores, a letter first")
    return text


def execute_destination(args: argparse.Namespace) -> int:
    """Write a destination. Blocks on files, and on a terminal on answers. Raises ConfigError."""
    from pipeline.config import starter  # noqa: PLC0415 - commands import what is heavy once they run

    _loaded(args.config)
    text = starter.destination(args.name, _asked(args.owner, "Who answers for it?", OWNER))
    return _written(args.config, {f"destinations/{args.name}.yaml": text})


def execute_journey(args: argparse.Namespace) -> int:
    """Write a journey and its test cases. Blocks on files, and on a terminal on answers. Raises ConfigError."""
    from pipeline.config import starter  # noqa: PLC0415

    config = _loaded(args.config)
    calls = [f"{name}.{each}" for name, known in sorted(config.destinations.items()) for each in known.operations]
    if not calls:
        raise options.refuse("journey", "there is no destination to call; begin with: hookline new destination NAME")
    call = _asked(args.call, f"What does it call? ({', '.join(calls)})", calls[0])
    if call not in calls:
        raise options.unknown("--call", call, calls, "operation")
    literal = [each.type for each in config.events if each.type and "${" not in each.type]
    event = _asked(args.event, "Which event starts it?", next(iter(literal), EVENT))
    destination, _, name = call.partition(".")
    operation = config.destinations[destination].operations[name]
    contract = config.contracts[operation.request_schema].schema if operation.request_schema else None
    owner = _asked(args.owner, "Who answers for it?", OWNER)
    goal = _asked(args.goal, "What is it for, in one sentence?", GOAL)
    text = starter.journey(args.name, owner, goal, event, call, operation, contract)
    with_cases = {f"journeys/{args.name}.yaml": text, f"tests/{args.name}.yaml": starter.cases(args.name, event)}
    return _written(args.config, with_cases)


def _loaded(folder: Path) -> Config:
    """Load the configuration as far as it can be used. Raises ConfigError where that is not at all."""
    from pipeline.config.load import examine  # noqa: PLC0415
    from pipeline.errors import ConfigError  # noqa: PLC0415

    config, problems = examine(folder, None)
    if config is None:
        raise ConfigError(problems)
    return config


def _asked(given: str | None, question: str, default: str) -> str:
    """Return what an option says; else ask on a terminal; else the default."""
    if given is not None:
        return given
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return default
    return input(f"{question} [{default}] ").strip() or default


def _written(folder: Path, files: Mapping[str, str]) -> int:
    """Write all files unless one is there, and say what is left to do."""
    from pipeline.app.check import checked  # noqa: PLC0415
    from pipeline.cli.schema import FOLDER  # noqa: PLC0415

    for file in files:
        if (folder / file).exists():
            raise options.refuse("NAME", f"{file} is there already")
    for file, text in files.items():
        kind, _, _ = file.partition("/")
        head = MODELINE.format(schemas=FOLDER, kind=kind.removesuffix("s")) if (folder / FOLDER).is_dir() else ""
        (folder / kind).mkdir(exist_ok=True)
        with (folder / file).open("x", encoding="utf-8") as new:
            new.write(head + text)
        print(f"{file} is there")
    left = [each for each in checked(folder, None)[1] if each.file in files]
    for problem in left:
        print(problem, file=sys.stderr)
    return UNFINISHED if left else OK
