"""`hookline account`: proves that every committed position is accounted for, or names those that are not."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen
from pipeline.errors import BrokerError, ConfigError, TopicMissing

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.adapters.kafka.admin import Admin
    from pipeline.cli.named import Named, Position
    from pipeline.config.models import Config
    from pipeline.core.account import Part, Report, Waiting
    from pipeline.core.account.ranges import Ranges
    from pipeline.model import Record

OUTCOME_AHEAD_MS: Final = 3_600_000
"""How long before its ledger an outcome may have been written: a position waits for those below it to be settled."""
LIMIT: Final = 20
LIMIT_MAX: Final = 100_000
"""Events and deliveries that are named."""
CELLS: Final = 40
"""Characters of the picture of a partition."""
PARTS_MAX: Final = 50
"""Partitions that are pictured."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "account",
        help="prove that every consumed event is accounted for",
        description="Compare the offsets the group has committed with what its workers, on whatever machine, wrote "
        "about them: every committed position is either in the ledger (no delivery, and why) or has an outcome for "
        "each of its deliveries. Repeats cannot unbalance it. Exit code 0 if it balances, 1 if not; then each event "
        "that is not accounted for is named, and each delivery that waits nowhere.",
    )
    options.add_config(parser)
    options.add_since(parser, "judge only what was committed since")
    parser.add_argument(
        "--until", metavar="WHEN", type=options.Since, help="and until: an age or a time, likewise (default: now)"
    )
    parser.add_argument(
        "--limit", metavar="N", type=options.whole(1, LIMIT_MAX), default=LIMIT,
        help=f"name so many events and deliveries (default: {LIMIT}, at most {LIMIT_MAX})",
    )  # fmt: skip
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading. Raises ConfigError, TopicMissing, BrokerError."""
    config, settings = options.load(args)
    now_ms = time.time_ns() // 1_000_000
    since_ms = args.since.at_ms(now_ms) if args.since is not None else 0
    until_ms = args.until.at_ms(now_ms) if args.until is not None else None
    if until_ms is not None and until_ms < since_ms:
        raise options.refuse("--until", "is before --since")
    report = _report(config, settings, now_ms, since_ms, until_ms, args.limit)
    named = _named(config, settings, report, args.limit)
    if args.json:
        document = {
            "group": config.group, "balanced": report.balanced, "since_ms": since_ms or None, "until_ms": until_ms,
            **asdict(report), "missing_events": [_told(*each) for each in named.items()],
        }  # fmt: skip
        screen.print_json(document)
    else:
        _print(report, named, config.group)
    return 0 if report.balanced else 1


def _told(position: Position, named: Named) -> dict[str, Any]:
    topic, partition, offset = position
    return {"topic": topic, "partition": partition, "offset": offset, **asdict(named)}


# -------------------------------------------------------------------------------------------------------- reading


def _report(
    config: Config, settings: Mapping[str, str], now_ms: int, since_ms: int, until_ms: int | None, limit: int
) -> Report:
    """Ask in this order: what is committed was acked before, so that all its outcomes are there to be read."""
    from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core.account import ALWAYS_MS, Account  # noqa: PLC0415

    admin = Admin(settings)
    known = admin.partitions()
    read = {topic: group for topic, group in topics.read(config, known).items() if topic in known}
    committed = {place: at for topic, group in read.items() for place, at in admin.committed(group, [topic]).items()}
    begins = {place: first for place, (first, _) in admin.watermarks(list(read)).items()}
    retries_settled_at_ms = now_ms if _idle(admin, config, known) else 0
    outcomes = topics.outcomes(config.group)
    deleted = [number for (_, number), (first, _) in admin.watermarks([outcomes]).items() if first > 0]
    account = Account()
    with screen.progress(outcomes) as progress:
        begin_ms = max(since_ms - OUTCOME_AHEAD_MS, 0) or None
        records = read_topic(settings, outcomes, since_ms=begin_ms, progress=progress)
        oldest_ms = _feed(account, records)
    horizon_ms = _horizon_ms(deleted, oldest_ms, now_ms - config.retention.outcomes_ms)
    from_ms = max(since_ms, horizon_ms + OUTCOME_AHEAD_MS if horizon_ms else 0)
    upto_ms = ALWAYS_MS if until_ms is None else until_ms
    return account.report(committed, begins, now_ms, from_ms, retries_settled_at_ms, until_ms=upto_ms, named_max=limit)


def _named(config: Config, settings: Mapping[str, str], report: Report, limit: int) -> dict[Position, Named]:
    """Name the events at the missing positions that are told, as far as that can be done."""
    from pipeline.cli.named import names  # noqa: PLC0415

    positions = list(islice(_positions(report), limit))
    try:
        return names(config, settings, positions) if positions else {}
    except (ConfigError, TopicMissing, BrokerError) as error:
        print(f"the events at the missing positions cannot be named: {error}", file=sys.stderr)
        return {}


def _positions(report: Report) -> Iterator[Position]:
    for each in report.missing:
        for offset in range(each.first, each.last + 1):
            yield each.topic, each.partition, offset


def _idle(admin: Admin, config: Config, known: Mapping[str, int]) -> bool:
    """Whether every run that waits now has been settled. Ends first: what comes later does not count."""
    from pipeline.config import topics  # noqa: PLC0415

    logs = (*topics.logs(config).values(), *topics.removed_logs(config, known))
    for group, names in (
        (topics.retry_group(config.group), topics.retry_topics(config)), (topics.ordered_group(config.group), logs)
    ):  # fmt: skip
        there = [topic for topic in names if topic in known]
        ends = admin.watermarks(there)
        committed = admin.committed(group, there)
        if any(committed.get(place, first) < end for place, (first, end) in ends.items()):
            return False
    return True


def _feed(account: Any, records: Iterable[Record]) -> dict[int, int]:
    """Tell the account every row; return the oldest timestamp of each partition."""
    from pipeline.core.outcome import LedgerRow, OutcomeRow, decode  # noqa: PLC0415

    oldest_ms: dict[int, int] = {}
    for record in records:
        if record.partition not in oldest_ms:
            oldest_ms[record.partition] = record.timestamp_ms
        row = decode(record.value or b"")
        if isinstance(row, OutcomeRow):
            account.outcome(row)
        elif isinstance(row, LedgerRow):
            account.ledger(row)
        else:
            account.unreadable()
    return oldest_ms


def _horizon_ms(deleted: Sequence[int], oldest_ms: Mapping[int, int], retention_from_ms: int) -> int:
    """Return the moment since which no row is gone; 0 if none was ever deleted.

    Partitions lose their oldest records at different times, so the youngest beginning counts; one that lost all it had
    has lost what is older than the retention.
    """
    return max((oldest_ms.get(partition, retention_from_ms) for partition in deleted), default=0)


# ------------------------------------------------------------------------------------------------------- printing


def _print(report: Report, named: Mapping[Position, Named], group: str) -> None:
    out = screen.console()
    if report.parts:
        out.print(_picture(report.parts))
    shown = screen.table("committed positions", "", right=("",))
    shown.add_row("with all their deliveries", screen.count(report.events))
    for reason, number in report.ledger.items():
        shown.add_row(f"no delivery: {screen.cell(reason)}", screen.count(number))
    if report.missing_count:
        shown.add_row("[bold red]not accounted for[/]", screen.count(report.missing_count))
    shown.add_section()
    shown.add_row("together", screen.count(report.positions))
    out.print(shown)
    if report.deliveries:
        out.print(_deliveries(report))
    for line in _remarks(report):
        out.print(line)
    _print_missing(report, named)
    _print_waiting(report.stranded, report.stranded_count, "[red]lost[/]", "waits, but is in no retry topic and no log")
    _print_waiting(report.overdue, report.overdue_count, "[yellow]overdue[/]", "waits longer than it should")
    word = "[bold green]balanced[/]" if report.balanced else "[bold red]not balanced[/]"
    out.print(f"{group}: {word}, {screen.count(report.positions)} committed positions")


def _print_missing(report: Report, named: Mapping[Position, Named]) -> None:
    out = screen.console()
    for each in report.missing:
        span = f"{each.first}" if each.first == each.last else f"{each.first} to {each.last}"
        place = f"{screen.cell(each.topic)}/{each.partition}"
        out.print(f"[red]missing[/] {place}/{span}: {each.why}")
        for offset in range(each.first, each.last + 1):
            found = named.get((each.topic, each.partition, offset))
            if found is None:
                break  # so many are named
            what = f"event {screen.cell(found.event_id)}, {screen.cell(found.event_type)}" if found.event_id else ""
            out.print(f"  {place}/{offset}: {what or screen.cell(found.why)}", soft_wrap=True)
    if named and report.missing_count > len(named):
        out.print(f"[red]missing[/] and {screen.count(report.missing_count - len(named))} more: --limit")


def _picture(parts: Sequence[Part]) -> Any:
    """Show where in its partition each position is that is not accounted for; partitions with such come first."""
    shown = screen.table("partition", "from", "to", "", "missing", right=("from", "to", "missing"))
    ordered = sorted(parts, key=lambda each: not each.missing)
    for each in ordered[:PARTS_MAX]:
        missing = sum(end - first for first, end in each.missing)
        row = (f"{screen.cell(each.topic)}/{each.partition}", screen.count(each.first), screen.count(each.next - 1))
        shown.add_row(*row, strip(each), screen.count(missing) if missing else "")
    if len(ordered) > PARTS_MAX:
        shown.add_row(f"and {len(ordered) - PARTS_MAX} more", "", "", "", "")
    return shown


def strip(part: Part) -> str:
    """Draw a partition's committed positions: full where all are judged and accounted for, a dot where none is."""
    from pipeline.core.account import ranges  # noqa: PLC0415

    def share(of: Sequence[tuple[int, int]], cell: tuple[int, int]) -> int:
        within: Ranges = [cell]
        return ranges.size(ranges.intersect(list(of), within))

    size = part.next - part.first
    drawn = ""
    for number in range(min(CELLS, size)):
        first = part.first + number * size // min(CELLS, size)
        cell = first, part.first + (number + 1) * size // min(CELLS, size)
        judged = share(part.judged, cell)
        if share(part.missing, cell):
            drawn += "[bold red]✗[/]"
        else:
            drawn += "█" if judged == cell[1] - first else "▒" if judged else "·"
    return drawn


def _deliveries(report: Report) -> Any:
    shown = screen.table("deliveries", "", "reasons", right=("",))
    for outcome, number in report.deliveries.items():
        reasons = ", ".join(
            f"{screen.cell(reason)} {screen.count(each)}" for reason, each in report.reasons.get(outcome, {}).items()
        )
        shown.add_row(outcome, screen.count(number), reasons)
    return shown


def _remarks(report: Report) -> list[str]:
    lines = []
    if report.trigger_count:
        p50, p95 = screen.age(report.trigger_p50_ms), screen.age(report.trigger_p95_ms)
        lines.append(f"time to trigger (record to first attempt): p50 {p50}, p95 {p95}")
    counted = (
        (report.repeats, "rows repeated by a crash or a rebalance; each delivery counts once"),
        (report.waiting, "deliveries are waiting for a retry, or are being replayed"),
        (report.beyond, "positions have outcomes and are not committed yet"),
        (report.outside, "committed positions are outside the window, or older than what is kept, and not judged"),
        (report.unreadable, "records of the outcomes topic are neither outcome nor ledger"),
    )
    if failed := report.reasons.get("skipped", {}).get("condition_error", 0):
        lines.append(
            f"[yellow]{screen.count(failed)} deliveries were skipped because a condition failed on their event: is a "
            "property misspelt? hookline status and the log lines condition_failed name the conditions[/]"
        )
    if unasked := report.ledger.get("no_journey", 0):
        lines.append(
            f"{screen.count(unasked)} events have a type no journey asks for: if one is misspelt, hookline status and "
            "the log lines event_type_misspelt say so"
        )
    return lines + [f"{screen.count(number)} {what}" for number, what in counted if number]


def _print_waiting(named: Sequence[Waiting], number: int, label: str, what: str) -> None:
    out = screen.console()
    for each in named:
        due = screen.utc(each.due_ms)
        event, delivery = screen.cell(each.event_id), screen.cell(each.delivery_id)
        out.print(f"{label} event {event}, delivery {delivery}, due {due} UTC: {what}", soft_wrap=True)
    if number > len(named):
        out.print(f"{label} and {screen.count(number - len(named))} more")
