"""The command line: parses arguments, calls one command, turns what it refuses into an exit code.

Exit codes: 0 it went well, 1 the command found problems (or Kafka failed it), 2 the call or the configuration is wrong,
130 interrupted. A command is a module of this package with `register(commands)`, which adds its parser, and
`execute(args) -> int`. Commands import what is heavy only once they run, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

import pipeline
from pipeline.cli import (
    account,
    affected,
    alert,
    backtest,
    bench,
    dead,
    demo,
    destination,
    erase,
    fmt,
    new,
    pages,
    pause,
    plan,
    produce,
    render,
    report,
    run,
    schema,
    simulate,
    status,
    test,
    topics,
    trace,
    validate,
    waiting,
)
from pipeline.errors import BrokerError, ConfigError, HooklineError, TopicMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS: Final = (
    demo, run,
    new, validate, fmt, schema, plan, pages,
    test, render, backtest,
    produce, topics, trace, status, affected, pause, destination, alert, waiting, dead, erase, account, report,
    simulate, bench,
)  # fmt: skip
"""In the order of `--help`: try it, run it, change it, look into it, measure it."""

OK: Final = 0
PROBLEMS: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130
BOOTSTRAP_HINT: Final = (
    "Its address is kafka.bootstrap, HOST:PORT, in hookline.yaml or env/NAME.yaml: without http://, with the port."
)


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; also what the reference page is generated from."""
    top = argparse.ArgumentParser(
        prog="hookline",
        description="Customer lifecycle events on Kafka become webhook actions, and every one is accounted for.",
        epilog="Exit codes: 0 it went well; 1 problems were found; 2 the call or the configuration is wrong.",
    )
    top.add_argument("--version", action="version", version=f"hookline {pipeline.__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for module in COMMANDS:
        module.register(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; argparse's own refusals exit with 2."""
    top = parser()
    args = top.parse_args(argv)
    if args.command is None:
        top.print_help()
        return USAGE
    try:
        code = args.run(args)
        sys.stdout.flush()
    except (ConfigError, TopicMissing) as error:
        print(error, file=sys.stderr)
        return USAGE
    except HooklineError as error:
        print(error, file=sys.stderr)
        if isinstance(error, BrokerError) and "did not answer" in str(error) and hasattr(args, "config"):
            print(BOOTSTRAP_HINT, file=sys.stderr)
        return PROBLEMS
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and the interpreter must not flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    return int(code)
