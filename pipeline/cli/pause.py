"""`hookline pause` and `hookline resume`: hold a destination, journey, step or intake back, and let it go again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pipeline.cli import options, screen, switching
from pipeline.core import switches
from pipeline.core.switches import INTAKE, PAUSED, RELEASE, SCOPES

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from pipeline.config.models import Config


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands' parsers."""
    pausing = commands.add_parser(
        "pause",
        help="hold a destination, journey, step or intake back",
        description="From now on nothing of it is sent, in the whole fleet: its runs wait on the retry tiers, no "
        "attempt is used, and none is dead before its max_age. Attempts under way end. An intake is an input topic, "
        "`retry` for what the retry tiers release, or `ordered` for what journeys keep in order: nothing of it is "
        "taken up. Returns once the workers confirm; exit code 1 if some do not.",
    )
    resuming = commands.add_parser(
        "resume",
        help="let it go again",
        description="End a pause. What waited is released at once, slowly at first; --keep leaves it to its tiers. "
        "An intake goes on even if its brake stopped it (`brakes.intake`): whatever comes in the next ten minutes is "
        "taken up, and what comes to nothing is put on the dead topic.",
    )
    for parser in (pausing, resuming):
        parser.add_argument("scope", choices=SCOPES, help="what NAME is")
        parser.add_argument("name", metavar="NAME", help="its name; a step's is JOURNEY.STEP, an intake's its topic")
        switching.add_reason(parser)
        options.add_config(parser)
        options.add_json(parser)
    resuming.add_argument("--keep", action="store_true", help="release nothing: what waits goes when its tier says so")
    pausing.set_defaults(run=_pause)
    resuming.set_defaults(run=_resume)


def _pause(args: argparse.Namespace) -> int:
    """Run `pause`; blocks. Raises ConfigError, TopicMissing, BrokerError."""
    return _switch(args, PAUSED)


def _resume(args: argparse.Namespace) -> int:
    """Run `resume`; blocks. Raises ConfigError, TopicMissing, BrokerError."""
    return _switch(args, "resumed")


def _switch(args: argparse.Namespace, state: str) -> int:
    config, settings = options.load(args)
    why, who = switching.reason(args), switching.who(args)
    fleet, said = switching.read(config, settings)
    was = next((each for each in said.all() if (each.scope, each.name) == (args.scope, args.name)), None)
    if state == PAUSED or was is None:  # what was paused can be resumed, whatever the configuration knows by now
        switching.known(args.scope, args.name, _names(config)[args.scope], args.scope)
    holds = was is not None and was.on
    # A brake may hold an intake that nobody paused, in some worker: that is resumed whatever the topic says.
    changes = holds != (state == PAUSED) or (args.scope == INTAKE and state != PAUSED)
    missing: list[str] = []
    if changes:
        now_ms = time.time_ns() // 1_000_000
        key = switches.pause_key(args.scope, args.name)
        records = {key: switches.content(state, who, why, now_ms)}
        if state != PAUSED and not args.keep:
            for destination in _called(config, args.scope, args.name):
                order = switches.order_key(RELEASE, destination, now_ms)
                records[order] = switches.content(RELEASE, who, f"resumed: {why}", now_ms)
        missing = switching.give(config, settings, fleet, records)
    if args.json:
        document = {"scope": args.scope, "name": args.name, "state": state, "changed": changes, "unconfirmed": missing}
        screen.print_json(document)
    elif changes:
        print(f"{args.scope} {args.name} is {state}")
    elif was is not None and holds:
        ago = screen.age(time.time_ns() // 1_000_000 - was.at_ms)
        print(f"{args.scope} {args.name} is paused already, since {ago}, by {screen.visible(was.who)}: "
              f"{screen.visible(was.reason)}")  # fmt: skip
    else:
        print(f"{args.scope} {args.name} is not paused")
    return switching.verdict(missing)


def _names(config: Config) -> Mapping[str, list[str]]:
    from pipeline.config import topics  # noqa: PLC0415 - commands import what is heavy once they run

    return {
        INTAKE: [*topics.read(config, ()), "retry", *(["ordered"] if topics.logs(config) else [])],
        "destination": list(config.destinations),
        "journey": list(config.journeys),
        "step": [f"{journey.name}.{step.name}" for journey in config.journeys.values() for step in journey.steps],
    }


def _called(config: Config, scope: str, name: str) -> list[str]:
    """Return the destinations whose waiting runs may have waited for this: for an intake there are none."""
    if scope == "destination":
        return [name]
    found = {
        step.destination
        for journey in config.journeys.values()
        for step in journey.steps
        if step.destination and name in (journey.name, f"{journey.name}.{step.name}")
    }
    return sorted(found)
