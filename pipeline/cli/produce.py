"""`hookline produce`: publishes events, or entries of a table, from a file to Kafka, in Avro, keyed by customer."""

from __future__ import annotations

import argparse
import json
import random
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import lines, options
from pipeline.config import units
from pipeline.errors import BrokerError, ConfigError
from pipeline.model import Problem, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.adapters.kafka.feed import Feed, Settled
    from pipeline.adapters.telemetry import OtelTelemetry
    from pipeline.config.models import Config
    from pipeline.config.secrets import Secrets
    from pipeline.ports import Headers

WRONG_SHOWN_MAX: Final = 20
"""Lines that are named when they are refused; the rest is only counted."""
PROGRESS_EVENTS: Final = 500
"""Events between two looks at the progress display."""
PACE_S: Final = 0.05
"""Longest pause at a time when `--rate` holds events back; acks are collected between pauses."""

WIRES: Final = ("single-object", "confluent", "guid")
FORMATS: Final = ("cdnow", "jsonl")
TABLES: Final = ("consent", "suppressions")
_JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "produce",
        help="publish events from a file",
        description="Publish events from a file as hookline.LifecycleEvent, keyed by customer ID, with a traceparent "
        "that names the event; or entries of the tables of consent and suppressions. The whole file is "
        "checked first: if a line is wrong, none is sent.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="CDNOW purchases, or one JSON event a line")
    parser.add_argument("--config", type=Path, default=Path(), metavar="DIR", help="configuration folder (default: .)")
    parser.add_argument("--env", metavar="NAME", help="environment: env/NAME.yaml of the folder")
    parser.add_argument("--topic", help="default: the first input topic of hookline.yaml that takes lifecycle events")
    parser.add_argument(
        "--table", choices=TABLES,
        help="publish entries of this table instead: JSON objects with `customer`, `entry` and the fields of "
        "hookline.Consent or hookline.Suppression, or `gone`: true",
    )  # fmt: skip
    parser.add_argument("--format", choices=FORMATS, help="default: jsonl for .jsonl, .ndjson and .json, else cdnow")
    parser.add_argument("--limit", type=options.whole(1), metavar="N", help="only the first N events")
    parser.add_argument("--rate", type=_rate, metavar="N/s", help="at most so many events a second, such as 200/s")
    parser.add_argument(
        "--wire", choices=WIRES, default=WIRES[0],
        help="how the value names its schema: Avro single-object encoding, or a registry's ID or GUID "
        "(the schema is registered as TOPIC-value; default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--id-from", choices=lines.ID_FROM, default="line",
        help="event ID where a line has none: from its number and text, its text alone, or new each time "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--consent", type=_consent, action="append", default=[], metavar="KEY=STATE",
        help="consent flag of every CDNOW event, such as email=granted; repeatable",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.set_defaults(run=execute)


def _rate(text: str) -> float:
    try:
        return units.rate_per_s(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _consent(text: str) -> tuple[str, str]:
    key, _, state = text.partition("=")
    if not key or state not in ("granted", "denied"):
        raise argparse.ArgumentTypeError("must be KEY=granted or KEY=denied")
    return key, state


@value
class Summary:
    """What came of it. `unacked` records were neither taken nor refused when waiting ended."""

    topic: str
    events: int
    delivered: int
    failed: dict[str, int]
    unacked: int
    seconds: float
    interrupted: bool

    @property
    def complete(self) -> bool:
        """Whether Kafka has every event of the file."""
        return self.delivered == self.events and not self.interrupted


def execute(args: argparse.Namespace) -> int:
    """Check the file, then publish it. Exit 0 if Kafka has everything, 1 if not or a line is wrong, 2 for the call."""
    from pipeline.adapters.kafka.feed import Feed  # noqa: PLC0415 - keep `hookline --help` fast
    from pipeline.adapters.schemas import Folders, packaged  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.config.load import kafka_settings, load  # noqa: PLC0415
    from pipeline.config.models import LIFECYCLE_EVENT  # noqa: PLC0415
    from pipeline.config.secrets import Secrets  # noqa: PLC0415
    from pipeline.core import tables  # noqa: PLC0415

    config = load(args.config, args.env)
    secrets = Secrets(config.folder)
    if args.table:
        number = TABLES.index(args.table)
        topic, record = args.topic or topics.tables(config.group)[number], tables.RECORDS[number]
    else:
        topic, record = args.topic or _topic(config), LIFECYCLE_EVENT
    schema = Folders((packaged(),)).readers[record]
    if not args.file.is_file():
        raise _refused(str(args.file), "there is no such file")
    convert = _conversion(args, schema)
    events = _check(args, convert)
    if events is None:
        return 1
    frame = _frame(args.wire, topic, schema, config, secrets)
    feed = Feed(kafka_settings(config, secrets), topic)
    with _telemetry(config, secrets) as telemetry:
        publish = Entries(feed, frame, topic) if args.table else Publisher(feed, frame, telemetry, topic)
        summary = _publish(args, convert, publish, events)
    _report(summary, _noun(args), as_json=args.json)
    if summary.interrupted:
        return 130
    return 0 if summary.complete else 1


# ------------------------------------------------------------------------------------------------------ what to send


def _topic(config: Config) -> str:
    for mapping in config.events:
        if mapping.is_lifecycle_event:
            return mapping.topic
    raise _refused("hookline.yaml", "no entry of `events` takes hookline.LifecycleEvent", "name one with --topic")


def _refused(file: str, message: str, hint: str = "") -> ConfigError:
    return ConfigError((Problem(file, 0, 0, "", message, hint),))


def _conversion(args: argparse.Namespace, schema: Any) -> Callable[[str], dict[str, Any] | None]:
    if args.table:
        return lines.entry_lines(schema)
    wanted = args.format or ("jsonl" if args.file.suffix in _JSON_SUFFIXES else "cdnow")
    return lines.json_lines(schema) if wanted == "jsonl" else lines.cdnow(dict(args.consent))


def _read(args: argparse.Namespace, convert: Callable[[str], dict[str, Any] | None]) -> Iterator[Any]:
    left = args.limit or sys.maxsize
    with args.file.open("rb") as source:
        for found in lines.read(source, convert, args.id_from):
            yield found
            left -= isinstance(found, lines.Made)
            if not left:
                return


def _check(args: argparse.Namespace, convert: Callable[[str], dict[str, Any] | None]) -> int | None:
    """Return how many events there are; None, after naming them, if lines are wrong."""
    events = wrong = 0
    for found in _read(args, convert):
        if isinstance(found, lines.Wrong):
            wrong += 1
            if wrong <= WRONG_SHOWN_MAX:
                print(f"{args.file}:{found.line}: {found.message}", file=sys.stderr)
        else:
            events += 1
    if wrong > WRONG_SHOWN_MAX:
        print(f"… and {wrong - WRONG_SHOWN_MAX} more lines", file=sys.stderr)
    if wrong:
        print(f"nothing was sent: {wrong} of {wrong + events} lines are no {_noun(args)}", file=sys.stderr)
        return None
    return events


@value
class Frame:
    """How values are written: `encode(event)` is the whole value, `headers` go with each."""

    encode: Callable[[dict[str, Any]], bytes]
    headers: Headers


def _frame(wire: str, topic: str, schema: Any, config: Config, secrets: Secrets) -> Frame:
    from pipeline.adapters.schemas import Registry  # noqa: PLC0415
    from pipeline.core import decode  # noqa: PLC0415

    body = decode.encode(schema)
    if wire == "single-object":
        return _framed(body, decode.single_object(decode.fingerprint(schema)), [])
    registry = Registry.of(config, secrets)
    if registry is None:
        raise _refused("hookline.yaml", f"`registry` is missing; --wire {wire} registers the schema there")
    try:
        schema_id, guid = registry.register(f"{topic}-value", schema)
    finally:
        registry.close()
    if wire == "confluent":
        return _framed(body, decode.confluent(schema_id), [])
    if guid is None:
        raise BrokerError("the registry gives schemas no GUIDs; use --wire confluent")
    return _framed(body, b"", [decode.guid_header(guid)])


def _framed(body: Callable[[dict[str, Any]], bytes], prefix: bytes, headers: Headers) -> Frame:
    return Frame(lambda event: prefix + body(event), headers)


@contextmanager
def _telemetry(config: Config, secrets: Secrets) -> Iterator[OtelTelemetry]:
    from pipeline.adapters.telemetry import OtelTelemetry, Places, Settings  # noqa: PLC0415

    places = Places(config.group, "", "", "", "", {})
    endpoint = secrets.text(config.telemetry.endpoint) if config.telemetry.endpoint else ""
    telemetry = OtelTelemetry(Settings(f"produce-{socket.gethostname()}", places, config.telemetry.sample, endpoint))
    try:
        yield telemetry
    finally:
        telemetry.close()


# ----------------------------------------------------------------------------------------------------------- sending


class Publisher:
    """Sends events one by one; each starts its trace, whose ID is the event's."""

    def __init__(self, feed: Feed, frame: Frame, telemetry: OtelTelemetry, topic: str) -> None:
        self.feed = feed
        self.topic = topic
        self._frame = frame
        self._telemetry = telemetry

    def send(self, event: dict[str, Any]) -> None:
        """Queue one event; blocks while the queue is full."""
        trace_id = event["id"].replace("-", "")
        span_id = f"{random.getrandbits(64) or 1:016x}"
        sampled = self._telemetry.sampled(trace_id)
        traceparent = f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"
        headers = [("traceparent", traceparent.encode()), *self._frame.headers]
        settled = self._span(event["id"], trace_id, span_id) if sampled and self._telemetry.exports_spans else None
        self.feed.send(event["customer"]["id"].encode(), self._frame.encode(event), headers, settled=settled)

    def _span(self, event_id: str, trace_id: str, span_id: str) -> Settled:
        """Return what exports the span that the record's `traceparent` names, once Kafka has the record."""
        from pipeline.adapters.telemetry import Published  # noqa: PLC0415 - keep `hookline --help` fast

        started_ns = time.time_ns()

        def settled(error: str, partition: int, offset: int) -> None:
            self._telemetry.published(
                Published(self.topic, event_id, trace_id, span_id, started_ns, time.time_ns(), partition, offset, error)
            )

        return settled


class Entries:
    """Sends entries of a table one by one."""

    def __init__(self, feed: Feed, frame: Frame, topic: str) -> None:
        self.feed = feed
        self.topic = topic
        self._frame = frame

    def send(self, entry: dict[str, Any]) -> None:
        """Queue one entry; blocks while the queue is full."""
        gone = entry["value"] is None
        content = None if gone else self._frame.encode(entry["value"])
        self.feed.send(entry["key"], content, [] if gone else self._frame.headers)


def _publish(
    args: argparse.Namespace,
    convert: Callable[[str], dict[str, Any] | None],
    publisher: Publisher | Entries,
    events: int,
) -> Summary:
    from pipeline.cli.lines import Wrong  # noqa: PLC0415

    feed = publisher.feed
    started_s = time.monotonic()
    sent = 0
    interrupted = False
    with _progress(events) as show:
        try:
            for found in _read(args, convert):
                if isinstance(found, Wrong):
                    continue  # the file changed since it was checked; the summary shows what is missing
                if args.rate:
                    _wait_until(started_s + sent / args.rate, feed)
                publisher.send(found.event)
                sent += 1
                if sent % PROGRESS_EVENTS == 0:
                    show(feed.delivered)
        except KeyboardInterrupt:
            interrupted = True
        unacked = feed.finish()
        show(feed.delivered)
    seconds = time.monotonic() - started_s
    return Summary(publisher.topic, events, feed.delivered, dict(feed.failed), unacked, seconds, interrupted)


def _wait_until(due_s: float, feed: Feed) -> None:
    while (left_s := due_s - time.monotonic()) > 0:
        feed.poll()
        time.sleep(min(left_s, PACE_S))


@contextmanager
def _progress(events: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=events)
        yield lambda delivered: bar.update(task, completed=delivered)


def _noun(args: argparse.Namespace) -> str:
    return "entries" if args.table else "events"


def _report(summary: Summary, noun: str, *, as_json: bool) -> None:
    if as_json:
        told = {name: getattr(summary, name) for name in Summary.__slots__}  # type: ignore[attr-defined]
        print(json.dumps({**told, "complete": summary.complete}))
        return
    speed = summary.delivered / summary.seconds if summary.seconds else 0.0
    counted = f"{summary.delivered:,} of {summary.events:,} {noun} to {summary.topic}"
    print(f"{counted} in {summary.seconds:.1f} s ({speed:,.0f}/s)")
    for name, count in sorted(summary.failed.items()):
        print(f"{count:,} refused: {name}")
    if summary.unacked:
        print(f"{summary.unacked:,} neither taken nor refused: they may still arrive")
    if summary.interrupted:
        print("interrupted")
