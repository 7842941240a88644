"""`hookline backtest`: what a configuration would have done with the events of the past; nothing is sent."""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.adapters.schemas import KnownSchemas
    from pipeline.adapters.spool import Spool
    from pipeline.config.models import Config
    from pipeline.model import Record, SchemaRef
    from pipeline.ports import Tables
    from pipeline.testing.stage.history import History, Report

OK: Final = 0
NOTHING: Final = 1
RECORDS_MAX: Final = 1_000_000
"""Default bound on the records played; also how many are kept on disk."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "backtest",
        help="try a configuration on past events",
        description="Play the events of the input topics against the configuration, at their own times on a clock of "
        "its own, and count what would have come of them: per journey and step how many deliveries, skips by reason, "
        "missing fields, and each system's busiest minute. Nothing is sent and nothing is committed: systems answer as "
        "their contracts say. Consent and suppressions are today's. Drafts are played as if they were live. Exit code "
        "1 if no journey would have started.",
    )
    options.add_since(parser, "how far back")
    parser.add_argument(
        "--journey", metavar="NAME", action="append", default=[], help="only this journey; repeatable, default all"
    )
    parser.add_argument(
        "--limit", metavar="N", type=options.whole(1), default=RECORDS_MAX,
        help="at most so many records, the first that are read (default: %(default)s)",
    )  # fmt: skip
    options.add_config(parser)
    options.add_json(parser)
    parser.set_defaults(run=execute)


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading and playing. Raises ConfigError, TopicMissing, BrokerError."""
    from pipeline.adapters.schemas import KnownSchemas  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.adapters.spool import Spool  # noqa: PLC0415
    from pipeline.config.load import kafka_settings  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415
    from pipeline.testing.stage.history import History  # noqa: PLC0415

    if args.since is None:
        raise options.refuse("--since", "is needed, such as 7d")
    config, readers = options.checked(args)
    for name in args.journey:
        if name not in config.journeys:
            raise options.unknown("--journey", name, config.journeys, "journey")
    secrets = Secrets(config.folder)
    settings = kafka_settings(config, secrets)
    schemas = KnownSchemas.of(config, secrets)
    spool = Spool()
    try:
        since_ms = args.since.at_ms(time.time_ns() // 1_000_000)
        _read(config, settings, since_ms, args.limit, spool)
        with _tables(config, settings, readers, schemas) as tables:
            history = History(config, readers, args.journey or config.journeys, tables)
            report = _played(history, spool, schemas)
    finally:
        spool.close()
        schemas.close()
    if args.json:
        screen.print_json(_told(report))
    else:
        _print(config, report)
    return OK if report.outcomes else NOTHING


def _read(config: Config, settings: Mapping[str, str], since_ms: int, limit: int, spool: Spool) -> None:
    """Put the input topics' records on disk: only that brings those of all partitions into the order of time."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415

    for topic in dict.fromkeys(each.topic for each in config.events):
        with screen.progress(topic) as progress:
            for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
                if spool.count >= limit:
                    print(f"only the first {limit:,} records are played: --limit", file=sys.stderr)
                    return
                spool.add(record)


def _played(history: History, spool: Spool, schemas: KnownSchemas) -> Report:
    done = 0
    known: dict[SchemaRef, object] = {}
    with screen.progress("back") as progress:
        for batch in spool.batches():
            history.take(batch, _schemas(batch, schemas, known))
            done += len(batch)
            if progress is not None:
                progress(done, spool.count)
        return history.close()


def _schemas(batch: Sequence[Record], schemas: KnownSchemas, known: dict[SchemaRef, object]) -> dict[SchemaRef, object]:
    """Look up the schemas of a batch that are not known yet; those nobody knows are left out."""
    import asyncio  # noqa: PLC0415

    from pipeline.core import decode  # noqa: PLC0415
    from pipeline.model import Undecodable  # noqa: PLC0415
    from pipeline.ports import Found, Unreachable  # noqa: PLC0415

    new: dict[SchemaRef, object] = {}
    for record in batch:
        frame = decode.locate(record.value or b"", record.headers)
        if isinstance(frame, Undecodable) or frame[0] in known:
            continue
        found = asyncio.run(schemas.fetch(frame[0]))
        if isinstance(found, Unreachable):
            raise options.refuse("registry", f"does not tell a schema: {found.detail}")
        known[frame[0]] = found
        if isinstance(found, Found):
            new[frame[0]] = found.schema
    return new


@contextmanager
def _tables(
    config: Config, settings: Mapping[str, str], readers: Mapping[str, Any], schemas: KnownSchemas
) -> Iterator[Tables | None]:
    """Give what consent and suppressions say today; None where no journey asks, or the topics are not there."""
    import asyncio  # noqa: PLC0415

    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.adapters.tables.once import OnceTables  # noqa: PLC0415
    from pipeline.adapters.tables.records import Records  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core.tables import RECORDS  # noqa: PLC0415
    from pipeline.errors import TopicMissing  # noqa: PLC0415

    names = topics.consent(config.group), topics.suppressions(config.group)
    with tempfile.TemporaryDirectory() as folder:
        records = Records(
            names, [readers[each] for each in RECORDS], lambda ref: asyncio.run(schemas.fetch(ref)), _unlogged
        )
        tables = OnceTables(Path(folder) / "tables", records)
        try:
            for name in names:
                with screen.progress(name) as progress:
                    tables.read(read_topic(settings, name, progress=progress))
        except TopicMissing:
            print("without the topics of consent and suppressions only what events say counts", file=sys.stderr)
            yield None
        else:
            yield tables
        finally:
            tables.close()


def _unlogged(*_: object, **__: object) -> None:
    """What cannot be read denies; a backtest counts outcomes, not records of tables."""


def _told(report: Report) -> dict[str, object]:
    return {
        "records": report.records,
        "first": screen.utc(report.first_ms),
        "last": screen.utc(report.last_ms),
        "runs": dict(report.runs),
        "steps": [
            {
                "journey": journey, "step": step, "outcomes": dict(counts),
                "missing_fields": dict(report.missing.get((journey, step), {})),
            }
            for (journey, step), counts in sorted(report.outcomes.items())
        ],
        "records_that_started_nothing": dict(report.without),
        "busiest_minute": dict(report.busiest),
    }  # fmt: skip


def _print(config: Config, report: Report) -> None:
    span = f", {screen.utc(report.first_ms)} to {screen.utc(report.last_ms)}" if report.records else ""
    print(f"{report.records:,} records{span}")
    table = screen.table("journey", "step", "outcome", "deliveries", right=("deliveries",))
    for (journey, step), counts in sorted(report.outcomes.items(), key=lambda item: _order(config, *item[0])):
        for outcome, number in sorted(counts.items(), key=lambda item: -item[1]):
            fields = report.missing.get((journey, step), {}) if outcome == "dead(missing_field)" else {}
            said = (
                f"{outcome}: " + ", ".join(f"{name} ({each:,})" for name, each in fields.items()) if fields else outcome
            )
            table.add_row(journey, step, screen.cell(said), screen.count(number))
    if report.outcomes:
        screen.console().print(table)
    for reason, number in sorted(report.without.items()):
        print(f"{number:,} records started nothing: {reason}")
    for name, number in report.busiest.items():
        print(f"{name}: {number:,} requests in its busiest minute")
    print("nothing was sent")


def _order(config: Config, journey: str, step: str) -> tuple[str, int]:
    return journey, [each.name for each in config.journeys[journey].steps].index(step)
