"""`hookline destination`: try one end to end, or let it go on after trouble."""

from __future__ import annotations

import sys
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
        help="try a destination end to end, or let it go on after trouble",
        description="Try a destination end to end, or let it go on after trouble.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    testing = actions.add_parser(
        "test",
        help="try it end to end",
        description="Resolve, check the addresses, connect, verify the certificate, authenticate, sign and send one "
        "marked test delivery (header hookline-test: true), as a worker would, and explain each step. Asks before it "
        "sends. The body is the first of `examples` of the operation's request contract, else {}; what comes from "
        "events in path and query is hookline-test. Exit code 1 if anything fails, and if nobody "
        "could be asked.",
    )
    testing.add_argument("name", metavar="NAME", help="the destination")
    testing.add_argument("--operation", metavar="NAME", help="which operation; needed if it has several")
    testing.add_argument("--yes", action="store_true", help="send without asking")
    options.add_config(testing)
    options.add_json(testing)
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
    return _test(args) if args.action == "test" else _reset(args)


def _test(args: argparse.Namespace) -> int:
    import asyncio  # noqa: PLC0415 - commands import what is heavy once they run

    from pipeline.app.trial import Finding, trial  # noqa: PLC0415
    from pipeline.config import modes  # noqa: PLC0415
    from pipeline.config.load import load  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415

    config = load(args.config, args.env)
    if config.mode == "dry":
        raise options.refuse("--env", f"{args.env} is an environment of mode dry: nothing is sent")
    name = switching.known("NAME", args.name, config.destinations, "destination")
    operations = config.destinations[name].operations
    if args.operation is None and len(operations) > 1:
        raise options.refuse("--operation", f"is needed: {name} has {', '.join(sorted(operations))}")
    operation = args.operation or next(iter(operations))
    switching.known("--operation", operation, operations, f"operation of {name}")
    findings: list[Finding] = []
    sent = False

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not args.json:
            word = "ok  " if finding.ok else "FAIL"
            print(f"{word}  {finding.step:<12} {finding.ms:>6} ms  {screen.visible(finding.said)}", flush=True)
            if finding.remedy:
                print(f"{'':<29}{screen.visible(finding.remedy)}")

    def agreed() -> bool:
        nonlocal sent
        sent = args.yes or (not args.json and _asked(name, operation, operations[operation].method))
        return sent

    if said := modes.said(config):
        print(said, file=sys.stderr)
    ok = asyncio.run(trial(config, Secrets(config.folder), f"{name}.{operation}", agreed, tell))
    if args.json:
        screen.print_json({"destination": name, "operation": operation, "ok": ok, "sent": sent, "findings": findings})
    elif ok and not sent:
        print("nothing was sent: --yes sends without asking")
    asked = args.yes or (sys.stdin.isatty() and not args.json)
    return 0 if ok and asked else 1  # where nobody could be asked, nothing is shown to work


def _asked(name: str, operation: str, method: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"send one test delivery ({method}) to {name}.{operation}? [y/N] ").strip().lower() in ("y", "yes")


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
