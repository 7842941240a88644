"""`hookline waiting`: list what waits on the retry tiers, let it go now, or let it end as dropped."""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from pipeline.cli import options, screen, switching
from pipeline.core import switches
from pipeline.core.switches import DROP, RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.cli.backlog import WaitingStep
    from pipeline.config.models import Config


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "waiting",
        help="list, release or drop runs that wait on the retry tiers and in logs",
        description="What waits on the retry tiers, and in the logs of journeys that keep order: list it, let it go "
        "before it is due, or let it end as dropped. What waits for its turn alone is not let go, and can be dropped.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    listing = actions.add_parser(
        "list",
        help="list what waits",
        description="List what waits by tier, destination, journey and failure class: how many deliveries, the oldest, "
        "and when the first and the last are due. Reads the retry topics, the logs, and the outcomes as far back.",
    )
    listing.add_argument("--destination", metavar="NAME", help="for this destination")
    listing.add_argument("--journey", metavar="NAME", help="of this journey")
    releasing = actions.add_parser(
        "release",
        help="let it go now",
        description="Runs that wait for a destination at this moment become due now: slowly at first, twice as fast "
        "every second. They go while its breaker is closed, and overtake others. A worker sees 1,000 records of each "
        "retry partition; those behind come as these go.",
    )
    releasing.add_argument("--rate", metavar="RATE", type=_rate, default=0.0, help="at most so many, such as 50/s")
    releasing.add_argument("--newest-first", action="store_true", help="of what a worker sees, the newest first")
    dropping = actions.add_parser(
        "drop",
        help="let it end as skipped(dropped)",
        description="Deliveries that wait for a destination at this moment, of runs that began before a time, end as "
        "skipped(dropped): accounted for, and not to be had back. Without --yes it only says how many.",
    )
    dropping.add_argument(
        "--before", metavar="WHEN", type=options.Since, required=True,
        help="runs that began before: an age such as 6h, or a time (RFC 3339)",
    )  # fmt: skip
    dropping.add_argument("--yes", action="store_true", help="do it")
    for each in (releasing, dropping):
        each.add_argument("--destination", metavar="NAME", required=True, help="for this destination")
        switching.add_reason(each)
    for each in (listing, releasing, dropping):
        options.add_config(each)
        options.add_json(each)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading and waiting. Raises ConfigError, TopicMissing, BrokerError."""
    config, settings = options.load(args)
    if args.destination is not None:
        switching.known("--destination", args.destination, config.destinations, "destination")
    if args.action == "list":
        return _list(args, config, settings)
    return _release(args, config, settings) if args.action == "release" else _drop(args, config, settings)


def _rate(text: str) -> float:
    from pipeline.config import units  # noqa: PLC0415 - commands import what is heavy once they run

    try:
        return units.rate_per_s(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a rate such as 50/s") from None


def _waiting(config: Config, settings: Mapping[str, str]) -> list[WaitingStep]:
    from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415
    from pipeline.cli.backlog import waiting  # noqa: PLC0415

    return waiting(config, settings, Admin(settings))


# ----------------------------------------------------------------------------------------------------------- list


def _list(args: argparse.Namespace, config: Config, settings: Mapping[str, str]) -> int:
    if args.journey is not None:
        switching.known("--journey", args.journey, config.journeys, "journey")
    found = [
        each
        for each in _waiting(config, settings)
        if args.destination in (None, each.destination) and args.journey in (None, each.journey)
    ]
    rows = groups(found)
    if args.json:
        screen.print_json({"count": len(found), "groups": rows})
        return 0
    if not rows:
        print("nothing waits")
        return 0
    now_ms = time.time_ns() // 1_000_000
    shown = screen.table(
        "tier", "destination", "journey", "why", "deliveries", "oldest", "first due", "last due", "example event",
        right=("deliveries",),
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            screen.cell(row["tier"].removeprefix(f"{config.group}.").removeprefix("retry.")),
            *(screen.cell(row[name]) for name in ("destination", "journey", "class")), screen.count(row["count"]),
            f"{screen.age(now_ms - row['oldest_ms'])} ago", _when(row["first_due_ms"], now_ms),
            _when(row["last_due_ms"], now_ms), screen.cell(row["event_id"]),
        )  # fmt: skip
    out = screen.console()
    out.print(shown)
    out.print(f"{screen.count(len(found))} deliveries wait")
    return 0


def groups(found: Sequence[WaitingStep]) -> list[dict[str, Any]]:
    """Count by tier, destination, journey and class; the example is the oldest. `oldest_ms` is when its run began."""
    rows: dict[tuple[str, str, str, str], dict[str, Any]] = {}
    for each in found:
        name = (each.topic, each.destination, each.journey, each.cls)
        row = rows.get(name)
        if row is None:
            rows[name] = {
                "tier": each.topic, "destination": each.destination, "journey": each.journey, "class": each.cls,
                "count": 1, "oldest_ms": each.began_ms, "first_due_ms": each.due_ms, "last_due_ms": each.due_ms,
                "event_id": each.event_id,
            }  # fmt: skip
            continue
        row["count"] += 1
        if each.began_ms < row["oldest_ms"]:
            row["oldest_ms"], row["event_id"] = each.began_ms, each.event_id
        row["first_due_ms"] = min(row["first_due_ms"], each.due_ms)
        row["last_due_ms"] = max(row["last_due_ms"], each.due_ms)
    return list(rows.values())


def _when(ms: int, now_ms: int) -> str:
    return f"in {screen.age(ms - now_ms)}" if ms > now_ms else "now"


# ------------------------------------------------------------------------------------------------ release, drop


def _release(args: argparse.Namespace, config: Config, settings: Mapping[str, str]) -> int:
    why, who = switching.reason(args), switching.who(args)
    fleet, said = switching.read(config, settings)
    name, now_ms = args.destination, time.time_ns() // 1_000_000
    holding = [each for each in said.of(name) if each.scope == "destination"]
    if holding:
        print(f"{name} is paused: what is released now would only be parked again. Remedy: hookline resume "
              f"destination {name} --reason TEXT, which releases it, too", file=sys.stderr)  # fmt: skip
        return 1
    key = switches.order_key(RELEASE, name, now_ms)
    content = switches.content(RELEASE, who, why, now_ms, rate=args.rate, newest_first=args.newest_first)
    missing = switching.give(config, settings, fleet, {key: content})
    (state,) = fleet.destinations(now_ms, [name])
    if args.json:
        screen.print_json({"destination": name, "rate_per_s": args.rate, "state": state.state, "unconfirmed": missing})
    else:
        print(f"what waits for {name} goes now; watch it with: hookline waiting list --destination {name}")
        if state.state in ("open", "half-open"):
            print(f"its breaker is {state.state}, so it waits for that to close: by a probe that succeeds, or by "
                  f"hookline destination reset {name}")  # fmt: skip
    return switching.verdict(missing)


def _drop(args: argparse.Namespace, config: Config, settings: Mapping[str, str]) -> int:
    why, who = switching.reason(args), switching.who(args)
    name, now_ms = args.destination, time.time_ns() // 1_000_000
    before_ms = args.before.at_ms(now_ms)
    meant = [each for each in _waiting(config, settings) if each.destination == name and each.began_ms < before_ms]
    missing: list[str] = []
    if meant and args.yes:
        fleet, _ = switching.read(config, settings)
        content = switches.content(DROP, who, why, now_ms, before_ms=before_ms)
        missing = switching.give(config, settings, fleet, {switches.order_key(DROP, name, now_ms): content})
    if args.json:
        screen.print_json({
            "destination": name, "before_ms": before_ms, "count": len(meant), "ordered": bool(meant and args.yes),
            "unconfirmed": missing,
        })  # fmt: skip
    elif not meant:
        print(f"nothing waits for {name} of runs that began before {screen.utc(before_ms)} UTC")
    elif args.yes:
        print(f"{screen.count(len(meant))} deliveries end as skipped(dropped); hookline account tells when all have")
    else:
        print(
            f"{screen.count(len(meant))} deliveries would end as skipped(dropped); nothing was done, do it with --yes"
        )
    return switching.verdict(missing)
