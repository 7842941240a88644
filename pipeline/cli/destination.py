"""`hookline destination`: try one end to end, or let it go on after trouble."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.cli import options, screen, switching
from pipeline.core import switches
from pipeline.core.switches import RELEASE, RESET

if TYPE_CHECKING:
    import argparse


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "destination",
        help="let a destination go on after trouble",
        description="One destination.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    resetting = actions.add_parser(
        "reset",
        help="enable its operations again, close its breaker",
        description="Enable operations that were disabled (410, or on_status: disable), close the breaker in every "
        "worker, and release what waits. With NAME.OPERATION only that operation is enabled. Returns once the workers "
        "confirm; exit code 1 if some do not.",
    )
    resetting.add_argument("name", metavar="NAME[.OPERATION]", help="the destination, or one of its operations")
    switching.add_reason(resetting)
    options.add_config(resetting)
    options.add_json(resetting)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks. Raises ConfigError, TopicMissing, BrokerError."""
    return _reset(args)


def _reset(args: argparse.Namespace) -> int:
    config, settings = options.load(args)
    why, who = switching.reason(args), switching.who(args)
    name, _, operation = args.name.partition(".")
    switching.known("NAME", name, config.destinations, "destination")
    if operation:
        switching.known("NAME", operation, config.destinations[name].operations, f"operation of {name}")
    fleet, said = switching.read(config, settings)
    disabled = [
        each.name for each in said.of(name) if each.scope == "operation" and (not operation or each.name == args.name)
    ]
    now_ms = time.time_ns() // 1_000_000
    records: dict[bytes, bytes | None] = {
        switches.disabled_key(name, each.partition(".")[2]): switches.content(RESET, who, why, now_ms)
        for each in disabled
    }
    if not operation:
        records[switches.order_key(RESET, name, now_ms)] = switches.content(RESET, who, why, now_ms)
    missing: list[str] = []
    if records:
        content = switches.content(RELEASE, who, f"reset: {why}", now_ms)
        records[switches.order_key(RELEASE, name, now_ms)] = content
        missing = switching.give(config, settings, fleet, records)
    if args.json:
        screen.print_json({
            "destination": name, "enabled": disabled, "breaker": "" if operation else "closed", "unconfirmed": missing,
        })  # fmt: skip
    else:
        for each in disabled:
            print(f"operation {each} is enabled again")
        if not operation:
            print(f"the breaker of {name} is closed; what waits goes now")
        elif not disabled:
            print(f"operation {args.name} is not disabled")
    return switching.verdict(missing)
