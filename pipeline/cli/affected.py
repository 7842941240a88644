"""`hookline affected`: whom a destination in trouble touches: customers, journeys, deliveries, what expires soon."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen, switching
from pipeline.model import Outcome, last_word, value

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.config.models import Config
    from pipeline.core.outcome import OutcomeRow

SINCE_MS: Final = 86_400_000
"""How far back is looked without `--since`."""
SOON_MS: Final = 3_600_000
"""Deliveries that expire within this are called out."""
LIMIT: Final = 20
LIMIT_MAX: Final = 10_000
"""Deliveries that are listed, those that expire first."""
MASKED_DIGITS: Final = 6
"""Digits of a customer reference that are shown without `--reveal`."""

WAITING: Final = "waiting"
_BAD: Final = {Outcome.RETRYING: WAITING, Outcome.DEAD: "dead", Outcome.REJECTED: "rejected"}


@value
class Affected:
    """One delivery that is not delivered. Times are Unix ms; `expires_ms` 0 unless it waits."""

    fate: str  # waiting | dead | rejected
    customer_ref: str
    journey: str
    step: str
    event_id: str
    delivery_id: str
    cls: str
    since_ms: int
    expires_ms: int


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "affected",
        help="tell whom a destination in trouble touches",
        description="Customers (by reference), journeys and deliveries that wait, are dead or were rejected; the "
        "oldest; what expires within the hour. From the outcomes topic: events nobody has taken up yet are not in it. "
        "Exit code 1 if there are any.",
    )
    parser.add_argument("--destination", metavar="NAME", required=True, help="the destination")
    options.add_since(parser, "settled or put off since (default: 24h)")
    parser.add_argument(
        "--limit", metavar="N", type=options.whole(1, LIMIT_MAX), default=LIMIT,
        help=f"list so many deliveries (default: {LIMIT}, at most {LIMIT_MAX})",
    )  # fmt: skip
    parser.add_argument("--reveal", action="store_true", help="show customer references whole")
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading. Raises ConfigError, TopicMissing, BrokerError."""
    config, settings = options.load(args)
    switching.known("--destination", args.destination, config.destinations, "destination")
    now_ms = time.time_ns() // 1_000_000
    since_ms = args.since.at_ms(now_ms) if args.since is not None else now_ms - SINCE_MS
    found = affected(_rows(config, settings, since_ms), config, args.destination)
    document = summary(found, args.destination, since_ms, now_ms, args.limit, reveal=args.reveal)
    if args.json:
        screen.print_json(document)
    else:
        _print(document, now_ms)
    return 1 if found else 0


def _rows(config: Config, settings: Mapping[str, str], since_ms: int) -> Iterable[OutcomeRow]:
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core.outcome import OutcomeRow, decode  # noqa: PLC0415

    topic = topics.outcomes(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
            row = decode(record.value or b"")
            if isinstance(row, OutcomeRow):
                yield row


def affected(rows: Iterable[OutcomeRow], config: Config, destination: str) -> list[Affected]:
    """Return the deliveries to a destination whose last word is not that they were taken, those that expire first.

    Memory: the destination's deliveries.
    """
    words: dict[tuple[str, str, int, int], OutcomeRow] = {}
    for row in rows:
        if row.destination != destination:
            continue
        name = (row.delivery_id, row.topic, row.partition, row.offset)
        was = words.get(name)
        if was is None or last_word(row) >= last_word(was):
            words[name] = row
    ages = _ages(config, destination)
    found = [_affected(row, ages) for row in words.values() if row.outcome in _BAD]
    return sorted(found, key=lambda each: (each.fate != WAITING, each.expires_ms, each.since_ms))


def _ages(config: Config, destination: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the two age limits of each step that calls the destination: from the event, from the first attempt."""
    return {
        (journey.name, step.name): (
            min(step.max_age_ms or journey.trigger.max_age_ms, journey.trigger.max_age_ms),
            config.destinations[destination].retry.max_age_ms,
        )
        for journey in config.journeys.values()
        for step in journey.steps
        if step.destination == destination
    }


def _affected(row: OutcomeRow, ages: Mapping[tuple[str, str], tuple[int, int]]) -> Affected:
    expires_ms = 0
    if row.outcome is Outcome.RETRYING and (limits := ages.get((row.journey, row.step))) is not None:
        expires_ms = min(row.event_time_ms + limits[0], (row.first_attempt_at_ms or row.record_time_ms) + limits[1])
    return Affected(
        _BAD[row.outcome], row.customer_ref, row.journey, row.step, row.event_id, row.delivery_id, row.reason,
        row.record_time_ms, expires_ms,
    )  # fmt: skip


def summary(
    found: Sequence[Affected], destination: str, since_ms: int, now_ms: int, limit: int, *, reveal: bool
) -> dict[str, Any]:
    """Return what is printed. Customers are references (a keyed hash), cut short unless `reveal`."""
    fates = Counter(each.fate for each in found)
    journeys: dict[str, Counter[str]] = {}
    for each in found:
        journeys.setdefault(each.journey, Counter())[each.fate] += 1
    expiring = [each for each in found if 0 < each.expires_ms <= now_ms + SOON_MS]
    return {
        "destination": destination,
        "since_ms": since_ms,
        "customers": len({each.customer_ref for each in found}),
        "deliveries": {fate: fates.get(fate, 0) for fate in _BAD.values()},
        "classes": dict(Counter(each.cls for each in found).most_common()),
        "journeys": {name: dict(counts) for name, counts in sorted(journeys.items())},
        "oldest_ms": min((each.since_ms for each in found), default=0),
        "expiring": {
            "within_ms": SOON_MS, "deliveries": len(expiring), "customers": len({e.customer_ref for e in expiring}),
            "first_ms": min((each.expires_ms for each in found if each.expires_ms), default=0),
        },
        "listed": [
            {
                "fate": each.fate, "customer_ref": _masked(each.customer_ref, reveal=reveal), "journey": each.journey,
                "step": each.step, "event_id": each.event_id, "delivery_id": each.delivery_id, "class": each.cls,
                "since_ms": each.since_ms, "expires_ms": each.expires_ms,
            }
            for each in found[:limit]
        ],
    }  # fmt: skip


def _masked(reference: str, *, reveal: bool) -> str:
    return reference if reveal else f"{reference[:MASKED_DIGITS]}..."


def _print(document: Mapping[str, Any], now_ms: int) -> None:
    out = screen.console()
    numbers = document["deliveries"]
    total = sum(numbers.values())
    name, since = document["destination"], screen.age(now_ms - document["since_ms"])
    if not total:
        out.print(f"nobody: no delivery to {name} of the last {since} waits, is dead or was rejected")
        return
    told = ", ".join(f"{screen.count(number)} {fate}" for fate, number in numbers.items() if number)
    out.print(f"{screen.count(document['customers'])} customers, {screen.count(total)} deliveries to {name}: {told}")
    out.print(f"oldest: {screen.age(now_ms - document['oldest_ms'])} ago; looked back {since}")
    expiring = document["expiring"]
    if expiring["deliveries"]:
        out.print(
            f"[bold red]{screen.count(expiring['deliveries'])} deliveries of {screen.count(expiring['customers'])} "
            f"customers expire within {screen.age(expiring['within_ms'])}[/]: raise max_age and deploy before that, "
            "if they are still worth sending"
        )
    elif expiring["first_ms"]:
        out.print(f"the first expires in {screen.age(expiring['first_ms'] - now_ms)}")
    shown = screen.table("journey", *numbers, right=tuple(numbers))
    for journey, counts in document["journeys"].items():
        shown.add_row(screen.cell(journey), *(screen.count(counts.get(fate, 0)) for fate in numbers))
    out.print(shown)
    listed = screen.table("customer", "fate", "why", "journey.step", "event", "since", "expires")
    for each in document["listed"]:
        expires = f"in {screen.age(each['expires_ms'] - now_ms)}" if each["expires_ms"] else ""
        cells = (each["customer_ref"], each["fate"], each["class"], f"{each['journey']}.{each['step']}",
                 each["event_id"], f"{screen.age(now_ms - each['since_ms'])} ago", expires)  # fmt: skip
        listed.add_row(*map(screen.cell, cells))
    out.print(listed)
    if total > len(document["listed"]):
        out.print(f"{len(document['listed'])} are listed; more with --limit")
