"""`hookline trace`: what happened to one event, read from what settling wrote. Needs no tracing backend."""

from __future__ import annotations

import argparse
import re
import sys
import time
from typing import TYPE_CHECKING, Final

from pipeline.cli import options, screen
from pipeline.model import LedgerReason, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.core.outcome import LedgerRow, OutcomeRow
    from pipeline.core.timeline import Letter, Position
    from pipeline.model import Record

SINCE_MS: Final = 24 * 3_600_000
"""How far back to look when the ID does not tell its own time."""
SKEW_MS: Final = 600_000
"""How much the clock that made an ID may be ahead of the broker's."""
SOUGHT_CHARS_MAX: Final = 280
"""Longest text looked for: a position's topic has at most 249 characters, an event ID 200."""

_UUID7: Final = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}", re.ASCII)
_POSITION: Final = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)/(?P<partition>\d{1,9})/(?P<offset>\d{1,19})", re.ASCII)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "trace",
        help="show everything that happened to one event",
        description="Show everything that happened to one event: its deliveries, attempts, hand-overs and outcomes, "
        "read from the outcomes and dead topics. Exit code 1 if nothing is found.",
    )
    parser.add_argument(
        "event", metavar="EVENT_ID", type=_id, help="or a trace ID, or a record as TOPIC/PARTITION/OFFSET"
    )
    options.add_config(parser)
    options.add_since(parser, "how far back to look; default: from the time in the ID if it is a UUIDv7, else 24h")
    options.add_json(parser)
    parser.set_defaults(run=execute)


def _id(text: str) -> str:
    """Read what may be an ID or a position; raises ArgumentTypeError for what can be neither."""
    if not text.strip() or not text.isprintable() or len(text) > SOUGHT_CHARS_MAX:
        raise argparse.ArgumentTypeError("must be an event ID, a trace ID or TOPIC/PARTITION/OFFSET")
    return text


def execute(args: argparse.Namespace) -> int:
    """Run the command; blocks while reading. Raises ConfigError, TopicMissing, BrokerError."""
    from pipeline.core.timeline import build  # noqa: PLC0415 - commands import what is heavy once they run

    now_ms = time.time_ns() // 1_000_000
    sought = _sought(args.event)
    since_ms = args.since.at_ms(now_ms) if args.since is not None else _since(args.event, now_ms)
    config, settings = options.load(args)
    rows, letters, ledgers = _find(config.group, settings, sought, since_ms)
    empty = [] if rows else [found for each in ledgers if (found := _empty(each, sought))]
    if LedgerReason.REKEYED in empty and (copied := _copied(config.group, settings, sought)) is not None:
        rows, letters, ledgers = _find(config.group, settings, copied, since_ms)
        empty = [] if rows else empty + [found for each in ledgers if (found := _empty(each, copied))]
    timelines = build(rows, letters)
    empty = [] if timelines else empty
    if args.json:
        screen.print_json({"timelines": timelines, "no_delivery": empty})
    elif timelines:
        from pipeline.cli.picture import show  # noqa: PLC0415

        show(timelines)
    elif empty:
        print(f"{args.event}: settled without a delivery: {', '.join(dict.fromkeys(empty))}")
        if empty == [LedgerReason.REKEYED]:
            print(f"its copy was not settled yet, or is not in {config.group}.events any more: look for its event ID")
    else:
        print(_nothing(args.event, since_ms, sought), file=sys.stderr)
    return 0 if timelines or empty else 1


# ------------------------------------------------------------------------------------------------ what is sought


@value
class Sought:
    """What records are compared with: an event ID, a trace ID in lower case, a position if it reads like one."""

    event_id: str
    trace_id: str
    position: Position | None

    def in_row(self, row: OutcomeRow) -> bool:
        """Whether an outcome is of the event."""
        here = (row.topic, row.partition, row.offset)
        return row.event_id == self.event_id or row.trace_id == self.trace_id or here == self.position

    def in_letter(self, letter: Letter) -> bool:
        """Whether a dead letter is of the event."""
        says = letter.says
        if says.get("event-id") == self.event_id or says.get("trace-id") == self.trace_id:
            return True
        return self.position is not None and letter.source == self.position


def _sought(text: str) -> Sought:
    from pipeline.core.tracecontext import of_event  # noqa: PLC0415

    found = _POSITION.fullmatch(text)
    position = (found["topic"], int(found["partition"]), int(found["offset"])) if found else None
    return Sought(text, of_event(text), position)


def _since(event_id: str, now_ms: int) -> int:
    """Return where to start looking: the time in a UUIDv7, unless that is in the future; nothing is settled before."""
    if _UUID7.fullmatch(event_id.lower()):
        made_ms = int(event_id.replace("-", "")[:12], 16)
        if made_ms <= now_ms:
            return max(made_ms - SKEW_MS, 0)
    return now_ms - SINCE_MS


# ------------------------------------------------------------------------------------------------------- reading


def _find(
    group: str, settings: Mapping[str, str], sought: Sought, since_ms: int
) -> tuple[list[OutcomeRow], list[Letter], list[LedgerRow]]:
    """Read the outcomes topic, and the dead topic too unless all that was found ended well."""
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core import outcome  # noqa: PLC0415
    from pipeline.model import Outcome  # noqa: PLC0415

    rows: list[OutcomeRow] = []
    ledgers: list[LedgerRow] = []
    # Decoding costs a hundred times what a search in the bytes does: Avro text is plain UTF-8.
    needles = [sought.event_id.encode(), sought.trace_id.encode()]
    if sought.position is not None:
        needles.append(sought.position[0].encode())
    for record in _read(settings, topics.outcomes(group), since_ms):
        content = record.value
        if content is None or not any(needle in content for needle in needles):
            continue
        row = outcome.decode(content)
        if isinstance(row, outcome.OutcomeRow):
            if sought.in_row(row):
                rows.append(row)
        elif row is not None:
            ledgers.append(row)
    letters: list[Letter] = []
    if not rows or any(row.outcome in (Outcome.DEAD, Outcome.REJECTED) for row in rows):
        for record in _read(settings, topics.dead(group), since_ms):
            letter = _letter(record)
            if sought.in_letter(letter):
                letters.append(letter)
    return rows, letters, ledgers


def _copied(group: str, settings: Mapping[str, str], sought: Sought) -> Sought | None:
    """Return where the record at a position was copied to, if the copy is still there."""
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.errors import TopicMissing  # noqa: PLC0415
    from pipeline.model import ORIGIN  # noqa: PLC0415

    assert sought.position is not None
    wanted = f"{'/'.join(map(str, sought.position))}/".encode()
    try:
        for record in _read(settings, topics.events(group), None):
            if (record.header(ORIGIN) or b"").startswith(wanted):
                return _sought(f"{record.topic}/{record.partition}/{record.offset}")
    except TopicMissing:
        pass
    return None


def _read(settings: Mapping[str, str], topic: str, since_ms: int | None) -> Iterator[Record]:
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415

    with screen.progress(topic) as progress:
        yield from read_topic(settings, topic, since_ms=since_ms, progress=progress)


def _letter(record: Record) -> Letter:
    from pipeline.cli.letter import letter  # noqa: PLC0415
    from pipeline.core.timeline import Letter  # noqa: PLC0415

    return Letter((record.topic, record.partition, record.offset), record.timestamp_ms, letter(record).says)


def _empty(ledger: LedgerRow, sought: Sought) -> str:
    """Return why the position had no delivery if this ledger says so, else ""."""
    if sought.position is None or (ledger.topic, ledger.partition) != sought.position[:2]:
        return ""
    offset = sought.position[2]
    return next((reason for first, last, reason in ledger.empty if first <= offset <= last), "")


def _nothing(text: str, since_ms: int, sought: Sought) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(since_ms / 1_000))
    lines = [
        f"nothing was settled for {text} since {since} UTC",
        "- look further back: --since 7d",
        "- it may not have been consumed yet: hookline status",
    ]
    if sought.position is None:
        lines.append(
            "- an event that started no delivery is found by its record: hookline trace TOPIC/PARTITION/OFFSET"
        )
    return "\n".join(lines)
