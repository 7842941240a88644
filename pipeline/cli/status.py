"""`hookline status`: how destinations, workers and backlogs are, from the control topic and the groups' offsets."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen, switching, workers
from pipeline.model import value

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from pipeline.adapters.kafka.admin import Admin
    from pipeline.config.models import Config
    from pipeline.core.fleet import DestinationState, Fleet, WorkerReport
    from pipeline.core.runstate import RunState
    from pipeline.core.switches import Switches
    from pipeline.model import Record

WAITING_READ_MAX: Final = 10_000
"""Waiting runs of a tier that are read to tell their destinations apart; beyond that, counts are `at least`."""

MISSES_SHOWN: Final = 10
"""Places with a name that may be misspelt that are shown, the most frequent first."""

_RECOVERED_MS: Final = 7_200_000
"""For so long after a breaker closed, what waits is put down to it."""
_STYLES: Final = {"closed": "green", "open": "bold red", "half-open": "yellow", "paused": "yellow"}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "status",
        help="show how destinations, workers and backlogs are",
        description="Show each destination's state, since when, what waits for it and how long that will take; the "
        "retry tiers; the lag of the inputs; the workers; who holds what back and why; what to do next. Exit code 1 if "
        "anything needs attention: a breaker that is not closed, a pause, a disabled operation, no worker, one gone, "
        "something that stands still in one, a changed configuration that a worker refused, a log of which as much is "
        "held as may be.",
    )
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading. Raises ConfigError, TopicMissing, BrokerError."""
    from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415 - commands import what is heavy once they run

    config, settings = options.load(args)
    admin = Admin(settings)
    fleet, switches = switching.read(config, settings)
    seen = Seen(
        time.time_ns() // 1_000_000,
        fleet,
        switches,
        tuple(_input(admin, group, topic) for topic, group in _read(config, admin).items()),
        (*(_tier(config, settings, topic, admin) for topic in _retry_topics(config)), *_logs(config, settings, admin)),
    )
    if args.json:
        screen.print_json(_document(config, seen))
    else:
        _print(config, seen)
    return 1 if _attention(config, seen) else 0


# -------------------------------------------------------------------------------------------------------- reading


@value
class Lag:
    """What the group has not committed of one input topic, in positions."""

    topic: str
    partitions: int
    lag: int


@value
class Tier:
    """What waits in one retry topic or log. `destinations` counts deliveries, `began_ms` has each one's oldest begin.

    `partial`: not all were read. Runs that were let go early may still be counted, until what is before them has gone.
    """

    topic: str
    waiting: int
    oldest_ms: int
    destinations: Mapping[str, int]
    began_ms: Mapping[str, int]
    partial: bool


@value
class Seen:
    """Everything that is shown."""

    now_ms: int
    fleet: Fleet
    switches: Switches
    inputs: tuple[Lag, ...]
    tiers: tuple[Tier, ...]


def _read(config: Config, admin: Admin) -> dict[str, str]:
    from pipeline.config import topics  # noqa: PLC0415

    return topics.read(config, admin.partitions())


def _retry_topics(config: Config) -> tuple[str, ...]:
    from pipeline.config import topics  # noqa: PLC0415

    return topics.retry_topics(config)


def _input(admin: Admin, group: str, topic: str) -> Lag:
    committed = admin.committed(group, [topic])
    ends = admin.watermarks([topic])
    lag = sum(max(end - max(committed.get(place, first), first), 0) for place, (first, end) in ends.items())
    return Lag(topic, len(ends), lag)


def _tier(config: Config, settings: Mapping[str, str], topic: str, admin: Admin) -> Tier:
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core import runstate  # noqa: PLC0415

    committed = admin.committed(topics.retry_group(config.group), [topic])
    ends = admin.watermarks([topic])
    begin = {place[1]: max(committed.get(place, first), first) for place, (first, _) in ends.items()}
    waiting = sum(max(end - begin[partition], 0) for (_, partition), (_, end) in ends.items())
    oldest_ms = read = 0
    destinations: Counter[str] = Counter()
    began_ms: dict[str, int] = {}
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, begin=begin, progress=progress) if waiting else ():
            oldest_ms = min(oldest_ms or record.timestamp_ms, record.timestamp_ms)
            state = runstate.decode(record.header(runstate.STATE_HEADER))
            if isinstance(state, runstate.RunState):
                for name in (_destination(config, state.journey, step) for step in state.steps):
                    destinations[name] += 1
                    began_ms[name] = min(began_ms.get(name, state.started_ms), state.started_ms)
            read += 1
            if read >= WAITING_READ_MAX:
                break
    return Tier(topic, waiting, oldest_ms, destinations, began_ms, read < waiting)


def _logs(config: Config, settings: Mapping[str, str], admin: Admin) -> Iterator[Tier]:
    """Say what waits in each log: for a retry, or for its turn."""
    from pipeline.cli.backlog import in_logs  # noqa: PLC0415

    found: dict[str, list[tuple[Record, RunState]]] = {}
    for record, state in in_logs(config, settings, admin):
        found.setdefault(record.topic, []).append((record, state))
    for topic, waiting in found.items():
        destinations: Counter[str] = Counter()
        began_ms: dict[str, int] = {}
        for name, state in ((_destination(config, each.journey, step), each) for _, each in waiting
                            for step in each.steps):  # fmt: skip
            destinations[name] += 1
            began_ms[name] = min(began_ms.get(name, state.started_ms), state.started_ms)
        oldest_ms = min(record.timestamp_ms for record, _ in waiting)
        yield Tier(topic, len(waiting), oldest_ms, destinations, began_ms, partial=False)


def _destination(config: Config, journey: str, step: str) -> str:
    """Return the destination a waiting step calls; "" if the configuration does not have the step any more."""
    known = config.journeys.get(journey)
    found = [each for each in known.steps if each.name == step] if known is not None else []
    return found[0].destination if found else ""


# ------------------------------------------------------------------------------------------------------- printing


def _rows(config: Config, seen: Seen) -> list[tuple[DestinationState, int, int | None]]:
    """Return each destination with what waits for it in retry tiers, and how long all of it takes."""
    from pipeline.core.fleet import drain_ms  # noqa: PLC0415

    rows = []
    for state in seen.fleet.destinations(seen.now_ms, sorted(config.destinations)):
        waiting = sum(tier.destinations.get(state.name, 0) for tier in seen.tiers)
        limit = config.destinations[state.name].limits.rate
        drain = drain_ms(waiting + state.queued + state.in_flight, state.rate_per_s, limit)
        rows.append((state, waiting, drain))
    return rows


def _lags(seen: Seen) -> tuple[int, int, int]:
    """Return lag, and its parts: positions nobody has read yet, and those read but not settled."""
    lag = sum(each.lag for each in seen.inputs)
    unsettled = min(sum(each.unsettled for each in seen.fleet.alive(seen.now_ms)), lag)
    return lag, lag - unsettled, unsettled


def _document(config: Config, seen: Seen) -> dict[str, Any]:
    lag, unread, unsettled = _lags(seen)
    return {
        "group": config.group,
        "at_ms": seen.now_ms,
        "destinations": [
            {"destination": state.name, "state": state.state, "since_ms": state.since_ms,
             "last_good_ms": state.last_good_ms, "last_class": state.last_class, "last_event_id": state.last_event_id,
             "waiting": waiting, "queued": state.queued, "in_flight": state.in_flight,
             "limit": state.limit, "parked": state.parked,
             "rate_per_s": state.rate_per_s, "drain_ms": drain,
             "waiting_by_tier": {tier.topic: tier.destinations[state.name] for tier in seen.tiers
                                 if state.name in tier.destinations},
             "oldest_waiting_ms": _oldest_ms(seen, state.name), "next": _advice(config, seen, state, waiting)}
            for state, waiting, drain in _rows(config, seen)
        ],
        "held": [each for each in seen.switches.all() if each.on],
        "last_changes": [each for each in seen.switches.all() if not each.on],
        "orders": seen.switches.orders("release", "drop", "reset"),
        "retry": seen.tiers,
        "input": {"lag": lag, "unread": unread, "unsettled": unsettled, "topics": seen.inputs},
        "misses": seen.fleet.misses(seen.now_ms),
        "workers": [
            {"alive": alive, **workers.document(each)}
            for alive, some in ((True, seen.fleet.alive(seen.now_ms)), (False, seen.fleet.stale(seen.now_ms)))
            for each in some
        ],
    }  # fmt: skip


def _print(config: Config, seen: Seen) -> None:
    out = screen.console()
    out.print(_destinations(config, seen))
    if seen.switches.on():
        out.print(_held(seen))
    out.print(_backlog(seen))
    lag, unread, unsettled = _lags(seen)
    out.print(f"input lag {screen.count(lag)}: {screen.count(unread)} unread, {screen.count(unsettled)} unsettled")
    for line in _misses(seen):
        out.print(f"[yellow]{line}[/]")
    _print_workers(out, config, seen)
    for line in _paused(seen):
        out.print(line)
    for state, waiting, _ in _rows(config, seen):
        if advice := _advice(config, seen, state, waiting):
            advice += f"; for example: hookline trace {state.last_event_id}" if state.last_event_id else ""
            out.print(f"[bold]{screen.cell(state.name)}[/]: {screen.cell(advice)}", soft_wrap=True)


def _print_workers(out: Console, config: Config, seen: Seen) -> None:
    alive, stale = seen.fleet.alive(seen.now_ms), seen.fleet.stale(seen.now_ms)
    if alive or stale:
        out.print(workers.table(alive, stale, seen.now_ms))
    if not alive:
        out.print(f"[yellow]{_nobody(config, seen, stale)}[/]")
    stuck = workers.stuck(alive, config.group)
    told = *workers.unsent(alive), *stuck, *workers.refused(alive), *workers.halted(alive, seen.now_ms)
    for line in told:
        out.print(line, soft_wrap=True)


def _paused(seen: Seen) -> Iterator[str]:
    for each in seen.switches.on():
        if each.scope in ("journey", "step", "intake"):
            command = f"hookline resume {each.scope} {each.name}"
            yield f"{each.scope} {screen.cell(each.name)} is paused; when that is over: {screen.cell(command)}"


def _attention(config: Config, seen: Seen) -> bool:
    """Whether anything needs somebody to look at it."""
    states = {state.state for state, _, _ in _rows(config, seen)}
    alive = seen.fleet.alive(seen.now_ms)
    gone = seen.fleet.stale(seen.now_ms) or not alive
    return bool(
        states & {"open", "half-open"}
        or seen.switches.on()
        or gone
        or any(each.refused or each.halts or each.stuck for each in alive)
    )


def _oldest_ms(seen: Seen, destination: str) -> int:
    return min((tier.began_ms[destination] for tier in seen.tiers if destination in tier.began_ms), default=0)


def _advice(config: Config, seen: Seen, state: DestinationState, waiting: int) -> str:
    """Say what to do next, naming the command; "" if nothing is wrong."""
    name = state.name
    for each in seen.switches.of(name):
        if each.scope == "destination":
            return f"paused by {each.who}: {each.reason}; when that is over: hookline resume destination {name}"
        return (
            f"operation {each.name} is disabled: {each.reason}; when it is back: hookline destination reset {each.name}"
        )
    if state.state in ("open", "half-open"):
        if state.last_class == "auth":
            remedy = f"renew the credentials, and see: hookline destination test {name}"
        elif state.last_class == "client_error":
            remedy = f"it refuses what is sent: hookline dead list --destination {name}"
        else:
            remedy = f"tell {config.destinations[name].owner}, and see: hookline destination test {name}"
        return f"{remedy}; who is affected: hookline affected --destination {name}"
    if waiting and state.state == "closed" and (seen.now_ms - state.since_ms) < _RECOVERED_MS:
        return f"it is back; what waits goes as its tiers say, or now: hookline waiting release --destination {name}"
    return ""


def _held(seen: Seen) -> Any:
    shown = screen.table("held back", "state", "since", "by", "reason")
    for each in seen.switches.on():
        told = (f"{each.scope} {each.name}", each.state, _ago(seen.now_ms, each.at_ms), each.who, each.reason)
        shown.add_row(*map(screen.cell, told))
    return shown


def _misses(seen: Seen) -> list[str]:
    """Say what came to nothing since the workers started, the most frequent first."""
    lines = []
    found = seen.fleet.misses(seen.now_ms)
    for each in found[:MISSES_SHOWN]:
        times = "once" if each.count == 1 else f"{screen.count(each.count)} times"
        name, place = screen.cell(each.name), screen.cell(each.place)
        if each.kind == "condition":
            lines.append(f"{name}: {place} failed {times}: is a property it reads misspelt, or optional?")
        else:
            lines.append(f"{place}: an event's type was almost {name} {times}, and no journey asks for it: misspelt?")
    if len(found) > MISSES_SHOWN:
        lines.append(f"and {screen.count(len(found) - MISSES_SHOWN)} more places like these: --json has them all")
    return lines


def _nobody(config: Config, seen: Seen, stale: tuple[WorkerReport, ...]) -> str:
    from pipeline.config import topics  # noqa: PLC0415

    if stale:
        return "no worker is alive: all that reported fell silent"
    if seen.fleet.reported:
        return "no worker is running: the last one stopped in good order"
    return f"no worker has ever reported to {topics.control(config.group)}: start one with hookline run"


def _destinations(config: Config, seen: Seen) -> Any:
    shown = screen.table(
        "destination", "state", "since", "last good", "last failure", "waiting", "oldest", "queued",
        "in flight", "drained in",
        right=("waiting", "queued", "in flight"),
    )  # fmt: skip
    partial = any(tier.partial for tier in seen.tiers)
    for state, waiting, drain in _rows(config, seen):
        word, since_ms = _word(seen, state)
        style = _STYLES.get(word, "dim")
        tiers = [
            f"{_short(config, tier.topic)} {screen.count(tier.destinations[state.name])}"
            for tier in seen.tiers
            if state.name in tier.destinations
        ]
        shown.add_row(
            state.name, f"[{style}]{screen.cell(word)}[/]", _ago(seen.now_ms, since_ms),
            _ago(seen.now_ms, state.last_good_ms), screen.cell(state.last_class),
            ("at least " if partial else "") + screen.count(waiting) + (f" ({', '.join(tiers)})" if tiers else ""),
            _ago(seen.now_ms, _oldest_ms(seen, state.name)), screen.count(state.queued),
            screen.count(state.in_flight) + (f" of {screen.count(state.limit)}" if state.limit else ""),
            "unknown" if drain is None else screen.age(drain) if drain else "",
        )  # fmt: skip
    return shown


def _word(seen: Seen, state: DestinationState) -> tuple[str, int]:
    """Return what a destination is, to those who look, and since when: paused comes before what its breaker is."""
    for each in seen.switches.of(state.name):
        if each.scope == "destination":
            return each.state, each.at_ms
    return state.state, state.since_ms


def _short(config: Config, topic: str) -> str:
    return topic.removeprefix(f"{config.group}.").removeprefix("retry.")


def _backlog(seen: Seen) -> Any:
    shown = screen.table("retry tier or log", "waiting runs", "oldest", right=("waiting runs",))
    for tier in seen.tiers:
        shown.add_row(tier.topic, screen.count(tier.waiting), _ago(seen.now_ms, tier.oldest_ms))
    return shown


def _ago(now_ms: int, ms: int) -> str:
    return f"{screen.age(now_ms - ms)} ago" if ms else ""
