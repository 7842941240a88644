"""The command line: parses arguments, calls one command, turns what it refuses into an exit code.

Exit codes: 0 it went well, 1 the command found problems (or Kafka failed it), 2 the call or the configuration is wrong,
130 interrupted. A command is a module of this package with `register(commands)`, which adds its parser, and
`execute(args) -> int`. Commands import what is heavy only once they run, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, Final, Protocol, cast

import pipeline
from pipeline.errors import ConfigError, HooklineError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    "demo", "run", "validate", "produce", "topics", "trace", "status", "dead", "account", "bench",
)  # fmt: skip
"""In the order of `--help`: try it, run it, look into it, measure it."""

OK: Final = 0
PROBLEMS: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


class Command(Protocol):
    """What each command module offers."""

    def register(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the command's parser, with `set_defaults(run=execute)`."""

    def execute(self, args: argparse.Namespace) -> int:
        """Run the command; returns the exit code. May raise HooklineError."""


def _modules() -> list[Command]:
    modules: list[Command] = []
    for name in COMMANDS:
        try:
            modules.append(cast("Command", importlib.import_module(f"pipeline.cli.{name}")))
        except ModuleNotFoundError as error:
            if error.name != f"pipeline.cli.{name}":
                raise
    return modules


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; also what the reference page is generated from."""
    top = argparse.ArgumentParser(
        prog="hookline",
        description="Customer lifecycle events on Kafka become webhook actions, and every one is accounted for.",
        epilog="Exit codes: 0 it went well; 1 problems were found; 2 the call or the configuration is wrong.",
    )
    top.add_argument("--version", action="version", version=f"hookline {pipeline.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    for module in _modules():
        module.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; argparse's own refusals exit with 2."""
    args = parser().parse_args(argv)
    try:
        code = args.run(args)
        sys.stdout.flush()
    except (ConfigError, TopicMissing) as error:
        print(error, file=sys.stderr)
        return USAGE
    except HooklineError as error:
        print(error, file=sys.stderr)
        return PROBLEMS
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return int(code)
