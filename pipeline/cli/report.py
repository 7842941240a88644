"""`hookline report`: what came of each journey: runs, outcomes by step, skips, and success against the holdout."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from pipeline.adapters.schemas import KnownSchemas
    from pipeline.config.measure import Measures
    from pipeline.config.models import Config
    from pipeline.core.report import Compared, Group, Journey, Report
    from pipeline.model import Record, SchemaRef

SINCE_MS: Final = 7 * 86_400_000
"""How far back is looked without `--since`."""
BAR: Final = 30
"""Columns of the longest bar."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "report",
        help="tell what came of each journey, and what it achieved",
        description="For each journey: runs, outcomes by step, why runs were skipped, how old facts were when "
        "delivered, and if it says what `success` is, how many customers did that within the window, of those who were "
        "treated and of those held out, with the "
        "difference and its bounds (95%). Read from the outcomes topic and, for success, from the input topics; "
        "customers are never named. Customers whose window is not over yet are counted apart. Exit code 1 if no "
        "journey ran.",
    )
    parser.add_argument(
        "--journey", metavar="NAME", action="append", default=[], help="only this journey; repeatable, default all"
    )
    options.add_since(parser, "runs of events recorded since (default: 7d)")
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading. Raises ConfigError, TopicMissing, BrokerError."""
    config, settings = options.load(args)
    for name in args.journey:
        if name not in config.journeys:
            raise options.unknown("--journey", name, config.journeys, "journey")
    names = args.journey or list(config.journeys)
    now_ms = time.time_ns() // 1_000_000
    since_ms = args.since.at_ms(now_ms) if args.since is not None else now_ms - SINCE_MS
    report = _outcomes(config, settings, since_ms, names)
    if report.judges():
        _events(config, settings, since_ms, report)
    journeys = list(report.journeys(names, now_ms))
    for number, what in zip(report.beyond, ("outcomes", "events of success"), strict=True):
        if number:
            print(f"{number:,} {what} did not fit into memory and are left out: a shorter --since", file=sys.stderr)
    if args.json:
        screen.print_json({"group": config.group, "since_ms": since_ms, "journeys": list(map(_document, journeys))})
    else:
        for each in journeys:
            _print(config, each)
    return 0 if any(each.runs for each in journeys) else 1


# -------------------------------------------------------------------------------------------------------- reading


def _outcomes(config: Config, settings: Mapping[str, str], since_ms: int, names: list[str]) -> Report:
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core.outcome import OutcomeRow, decode  # noqa: PLC0415
    from pipeline.core.report import Report, Wanted  # noqa: PLC0415

    wanted = {
        name: Wanted(each.within_ms, correlated=each.match != "true", valued=each.value is not None)
        for name in names
        if (each := config.journeys[name].success) is not None
    }
    report: Any = Report(wanted, topics.events(config.group))  # a protocol's members are writable, a row's are not
    topic = topics.outcomes(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
            row = decode(record.value or b"")
            if isinstance(row, OutcomeRow) and row.record_time_ms >= since_ms and row.journey in names:
                report.outcome(row)
    made: Report = report
    return made


def _events(config: Config, settings: Mapping[str, str], since_ms: int, report: Report) -> None:
    """Read the input topics: who the runs are of, and who succeeded."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.adapters.schemas import KnownSchemas  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415
    from pipeline.core.report import of_copy  # noqa: PLC0415

    schemas = KnownSchemas.of(config, Secrets(config.folder))
    try:
        reading = _Reading(config, schemas)
        for topic in topics.inputs(config):
            with screen.progress(topic) as progress:
                for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
                    found = reading.event(record)
                    if found is None:
                        continue
                    source = record.topic, record.partition, record.offset
                    customer = found.event.customer_id
                    for known in (source, of_copy(found.event.id)):
                        for journey in report.started(known):
                            report.trigger(journey, known, customer, found.trigger(journey))
                    for journey, match, worth in found.successes():
                        report.success(journey, found.event.id, customer, found.event.time_ms, match, worth)
    finally:
        schemas.close()


class _Reading:
    """Reads records as events; what is compiled for a schema is compiled once."""

    def __init__(self, config: Config, schemas: KnownSchemas) -> None:
        self._config = config
        self._schemas = schemas
        self._readers = schemas.reader_schemas()
        self._made: dict[tuple[str, SchemaRef], Measures | None] = {}

    def event(self, record: Record) -> Any:
        """Return a config.measure.Read, or None for what is no event of this configuration."""
        from pipeline.core import decode  # noqa: PLC0415
        from pipeline.model import Undecodable  # noqa: PLC0415

        if record.value is None:
            return None
        frame = decode.locate(record.value, record.headers)
        if isinstance(frame, Undecodable):
            return None
        key = record.topic, frame[0]
        if key not in self._made:
            self._made[key] = self._measures(*key)
        made = self._made[key]
        return None if made is None else made.event(record, frame[1])

    def _measures(self, topic: str, ref: SchemaRef) -> Measures | None:
        import asyncio  # noqa: PLC0415

        from pipeline.config.measure import measures  # noqa: PLC0415
        from pipeline.ports import Found, Unreachable  # noqa: PLC0415

        found = asyncio.run(self._schemas.fetch(ref))
        if isinstance(found, Unreachable):
            raise options.refuse("registry", f"does not tell a schema: {found.detail}")
        return measures(self._config, self._readers, topic, found.schema) if isinstance(found, Found) else None


# ------------------------------------------------------------------------------------------------------- printing


def _document(journey: Journey) -> dict[str, Any]:
    compared = journey.success
    success = None if compared is None else {
        "treated": _group(compared.treated), "holdout": _group(compared.holdout),
        "difference": compared.treated.rate - compared.holdout.rate if compared.holdout.customers else None,
        "low": compared.low, "high": compared.high, "window_open": compared.open, "unknown": compared.unknown,
    }  # fmt: skip
    return {
        "journey": journey.name, "runs": journey.runs, "skipped_whole": journey.skipped, "skips": journey.skips,
        "steps": {
            name: {"outcomes": dict(counts), "reasons": dict(journey.reasons.get(name, {}))}
            for name, counts in journey.steps.items()
        },
        "freshness": {
            each.step: {"delivered": each.delivered, "p50_ms": each.p50_ms, "p95_ms": each.p95_ms}
            for each in journey.fresh
        },
        "success": success,
    }  # fmt: skip


def _group(group: Group) -> dict[str, Any]:
    return {
        "customers": group.customers, "succeeded": group.succeeded, "rate": group.rate, "value": group.worth,
    }  # fmt: skip


def _print(config: Config, journey: Journey) -> None:
    out = screen.console()
    skips = ", ".join(f"{screen.cell(reason)} {screen.count(number)}" for reason, number in journey.skips.items())
    told = f"; skipped as a whole: {skips}" if skips else ""
    out.print(f"[bold]{screen.cell(journey.name)}[/]: {screen.count(journey.runs)} runs{told}", soft_wrap=True)
    if journey.steps:
        shown = screen.table("step", "outcome", "deliveries", "", "reasons", right=("deliveries",))
        known = [each.name for each in config.journeys[journey.name].steps]
        order = {name: at for at, name in enumerate(known)}
        longest = max(max(counts.values()) for counts in journey.steps.values())
        for step in sorted(journey.steps, key=lambda name: order.get(name, len(order))):
            for outcome, number in sorted(journey.steps[step].items(), key=lambda item: -item[1]):
                why = [
                    f"{reason.partition('(')[2][:-1]} {screen.count(each)}"
                    for reason, each in journey.reasons.get(step, {}).items()
                    if reason.startswith(f"{outcome}(")
                ]
                shown.add_row(
                    screen.cell(step), outcome, screen.count(number), bar(number, longest), screen.cell(", ".join(why))
                )  # fmt: skip
        out.print(shown)
        for fresh in sorted(journey.fresh, key=lambda each: order.get(each.step, len(order))):
            p50, p95 = screen.age(fresh.p50_ms), screen.age(fresh.p95_ms)
            said = f"fresh: {fresh.step} was delivered p50 {p50}, p95 {p95} after its event happened"
            out.print(screen.cell(said), soft_wrap=True)
    success = config.journeys[journey.name].success
    if journey.success is not None and success is not None:
        said = f"success: {success.event} within {screen.age(success.within_ms)}, customers whose window is over"
        out.print(screen.cell(said), soft_wrap=True)
        for line in compared_lines(journey.success):
            out.print(line, soft_wrap=True)
    out.print()


def compared_lines(compared: Compared) -> Iterator[str]:
    """Say how the two groups compare, in words and as bars."""
    most = max(compared.treated.rate, compared.holdout.rate)
    for name, group in (("treated", compared.treated), ("holdout", compared.holdout)):
        worth = "" if group.worth is None or not group.customers else f", {group.worth / group.customers:,.2f} each"
        numbers = f"{screen.count(group.succeeded)} of {screen.count(group.customers)}"
        yield f"  {name} {group.rate:>7.2%}  {bar(group.rate, most):<{BAR}} {numbers}{worth}"
    if compared.treated.customers and compared.holdout.customers:
        between = (compared.treated.rate - compared.holdout.rate) * 100
        low, high = compared.low * 100, compared.high * 100
        sure = "" if low > 0 or high < 0 else ": may be chance"
        yield f"  difference {between:+.2f} points, with 95% certainty from {low:+.2f} to {high:+.2f}{sure}"
    elif not compared.holdout.customers:
        yield "  nobody was held out whose window is over: without `holdout` there is nothing to compare with"
    if compared.open:
        yield f"  {screen.count(compared.open)} customers more have their window still open"
    if compared.unknown:
        runs = screen.count(compared.unknown)
        yield f"  {runs} runs are not judged: the input topic does not have their event any more"


def bar(number: float, longest: float) -> str:
    """Draw a number as a bar, the longest BAR columns; what is not nothing is seen."""
    columns = round(BAR * number / longest) if longest else 0
    return "█" * (max(columns, 1) if number else 0)
