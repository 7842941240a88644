"""`hookline dead replay`: sends failed deliveries again, by way of the smallest retry tier; workers do the rest."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, screen
from pipeline.core import replay
from pipeline.model import FailureClass, Outcome, value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.adapters.kafka.feed import Feed
    from pipeline.cli.letter import Letter
    from pipeline.config.models import Config
    from pipeline.core.outcome import OutcomeRow

RATE_PER_S: Final = 100.0
"""Deliveries a second, unless `--rate` says otherwise."""
BATCH: Final = 100
"""Deliveries written before their acks are waited for; so many may be written twice by an interruption."""
OUTCOMES_BEFORE_MS: Final = 3_600_000
"""How much older than its dead letter the outcome that goes with it may seem."""

_Place = tuple[int, int]


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the action's parser, and return it."""
    parser = actions.add_parser(
        "replay",
        help="send failed deliveries again",
        description="Send deliveries again whose last outcome is still dead or rejected, with their delivery IDs and "
        "today's configuration. Workers ask all gates again; an event past its max_age ends as skipped(stale). Nothing "
        "is written to the input topics. Broken off, it may be repeated: what was sent is left alone.",
    )
    parser.add_argument("--class", dest="cls", metavar="CLASS", choices=[each.value for each in FailureClass],
                        help="of this failure class")  # fmt: skip
    for name in ("destination", "journey", "step"):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"of this {name}")
    parser.add_argument("--event", metavar="ID", help="of this event")
    options.add_since(parser, "failed since")
    parser.add_argument("--until", metavar="WHEN", type=options.Since, help="failed until: an age or a time, likewise")
    parser.add_argument("--rate", metavar="RATE", type=_rate, default=RATE_PER_S,
                        help=f"at most so many, such as 50/s (default: {RATE_PER_S:.0f}/s)")  # fmt: skip
    parser.add_argument("--ambiguous", action="store_true", help="also those that may have arrived without an answer, "
                        "at destinations that do not drop repeats")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    return parser


def _rate(text: str) -> float:
    from pipeline.config import units  # noqa: PLC0415 - commands import what is heavy once they run

    try:
        return units.rate_per_s(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a rate such as 50/s") from None


@value
class Chosen:
    """One delivery that is to be sent again: its newest dead letter's place, its last outcome, its step of today."""

    place: _Place
    row: OutcomeRow
    step: str
    cls: str


@value
class _Failed:
    place: _Place
    at_ms: int
    delivery_id: str
    cls: str
    says: tuple[str, ...]  # destination, journey, step, event-id
    unanswered: bool
    oversize: bool


def execute(args: argparse.Namespace, config: Config, settings: Mapping[str, str]) -> int:
    """Run the action; blocks on Kafka. Raises TopicMissing, BrokerError."""
    chosen, left = choose(args, config, settings)
    sent = len(chosen)
    if chosen and not args.dry_run:
        sent = _Sending(config, settings, args.rate).run(chosen)
    _say(args, chosen, left, sent)
    return 0


# ------------------------------------------------------------------------------------------------------- choosing


def choose(args: argparse.Namespace, config: Config, settings: Mapping[str, str]) -> tuple[list[Chosen], Counter[str]]:
    """Return what is to be sent, oldest first, and how many are left alone, by reason. About 1 KB a delivery."""
    left: Counter[str] = Counter()
    failed = [each for each in _newest(config, settings, left) if _wanted(args, each)]
    wanted = {each.delivery_id for each in failed}
    first_ms = min((each.at_ms for each in failed), default=0)
    last = _last(config, settings, wanted, max(first_ms - OUTCOMES_BEFORE_MS, 0)) if failed else {}
    targets = _targets(config)
    chosen = []
    for each in sorted(failed, key=lambda each: (each.at_ms, each.place)):
        row = last.get(each.delivery_id)
        target = None if row is None else targets.get((row.journey, row.step))
        why = replay.left_alone(row, target, unanswered=each.unanswered, ambiguous=args.ambiguous)
        why = why or (replay.OVERSIZE if each.oversize else "")
        if not why and row is not None and target is not None and not _is(target, row):
            why = replay.REMOVED
        if why or row is None or target is None:
            left[why] += 1
        else:
            chosen.append(Chosen(each.place, row, target.name, each.cls))
    return chosen, left


def _newest(config: Config, settings: Mapping[str, str], left: Counter[str]) -> list[_Failed]:
    """Return each delivery's newest dead letter: the one whose bytes and class count."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.cli.letter import letter  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415

    found: dict[str, _Failed] = {}
    topic = topics.dead(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, progress=progress):
            each = _failed(letter(record))
            if not each.delivery_id:
                left[replay.NO_DELIVERY] += 1
                continue
            known = found.get(each.delivery_id)
            if known is None or (known.at_ms, known.place) < (each.at_ms, each.place):
                found[each.delivery_id] = each
    return list(found.values())


def _failed(of: Letter) -> _Failed:
    says = of.says
    # Whether a request went out before there was trouble, a letter does not say: what was attempted may have arrived.
    unanswered = says.get("attempts", "0") != "0" and not says.get("status")
    return _Failed(
        (of.record.partition, of.record.offset), of.at_ms, says.get("delivery-id", ""), says.get("class", ""),
        tuple(says.get(name, "") for name in ("destination", "journey", "step", "event-id")), unanswered,
        of.record.value is None,
    )  # fmt: skip


def _wanted(args: argparse.Namespace, failed: _Failed) -> bool:
    now_ms = time.time_ns() // 1_000_000
    asked = (args.destination, args.journey, args.step, args.event)
    return (
        args.cls in (None, failed.cls)
        and all(name in (None, said) for name, said in zip(asked, failed.says, strict=True))
        and (args.since is None or failed.at_ms >= args.since.at_ms(now_ms))
        and (args.until is None or failed.at_ms <= args.until.at_ms(now_ms))
    )


def _last(config: Config, settings: Mapping[str, str], wanted: set[str], since_ms: int) -> dict[str, OutcomeRow]:
    """Return the outcome that counts of each delivery asked for."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core.outcome import OutcomeRow, decode  # noqa: PLC0415

    found: dict[str, OutcomeRow] = {}
    topic = topics.outcomes(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
            row = decode(record.value or b"")
            if isinstance(row, OutcomeRow) and row.delivery_id in wanted:
                known = found.get(row.delivery_id)
                if known is None or replay.newer(row, known):
                    found[row.delivery_id] = row
    return found


def _is(target: replay.Target, row: OutcomeRow) -> bool:
    """Whether a step of today has the delivery's ID: names are given anew, and first names stay."""
    from pipeline.core import payload  # noqa: PLC0415

    return payload.delivery_id(row.event_id, target.suffix) == row.delivery_id


def _targets(config: Config) -> dict[tuple[str, str], replay.Target]:
    """Return the steps of today by journey and step."""
    found = {}
    for journey in config.journeys.values():
        for step in journey.steps:
            destination = config.destinations.get((step.call or "").partition(".")[0])
            found[journey.name, step.name] = replay.Target(
                step.name, step.kind or "", drops_repeats=destination is None or destination.drops_repeats,
                after_others=bool(step.after), suffix=f"/{journey.first_name}/{step.first_name}".encode(),
            )  # fmt: skip
    return found


# -------------------------------------------------------------------------------------------------------- sending


class _Sending:
    """Writes in batches: the retry records of one, once these are acked its outcomes, then the next."""

    def __init__(self, config: Config, settings: Mapping[str, str], rate_per_s: float) -> None:
        from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415
        from pipeline.adapters.kafka.feed import Feed  # noqa: PLC0415
        from pipeline.config import topics  # noqa: PLC0415

        tier = config.retry_tiers[0]
        topic = topics.retry(config.group, tier.name)
        self._delay_ms = tier.ms
        self._retries, self._outcomes = Feed(settings, topic), Feed(settings, topics.outcomes(config.group))
        self._partitions = Admin(settings).partitions()[topic]
        self._dead = topics.dead(config.group)
        self._settings = settings
        self._rate_per_s = rate_per_s

    def run(self, chosen: Sequence[Chosen]) -> int:
        """Write all; return how many. Raises BrokerError when a write is not acked: then it is to be repeated."""
        pairs = self._with_letters({each.place: each for each in chosen})
        sent, began_s = 0, time.monotonic()
        size = max(min(BATCH, int(self._rate_per_s)), 1)
        with screen.progress("replay") as progress:
            while batch := list(islice(pairs, size)):
                time.sleep(max(began_s + sent / self._rate_per_s - time.monotonic(), 0.0))
                self._write(batch)
                sent += len(batch)
                if progress is not None:
                    progress(sent, len(chosen))
        return sent

    def _with_letters(self, wanted: Mapping[_Place, Chosen]) -> Iterator[tuple[Chosen, Letter]]:
        from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
        from pipeline.cli.letter import letter  # noqa: PLC0415

        begin: dict[int, int] = {}
        for partition, offset in wanted:
            begin[partition] = min(begin.get(partition, offset), offset)
        for record in read_topic(self._settings, self._dead, begin=begin):
            each = wanted.get((record.partition, record.offset))
            if each is not None:
                yield each, letter(record)

    def _write(self, batch: Sequence[tuple[Chosen, Letter]]) -> None:
        from pipeline.core import deadletter, runstate  # noqa: PLC0415
        from pipeline.errors import Bug  # noqa: PLC0415

        now_ms = time.time_ns() // 1_000_000
        for each, of in batch:
            state = _state(each, now_ms, now_ms + self._delay_ms)
            header = runstate.encode(state)
            if header is None:
                raise Bug("the state of one step is too large")
            headers = [*deadletter.original_headers(of.record), (runstate.STATE_HEADER, header)]
            partition = runstate.spread(state) % self._partitions
            self._retries.send(of.record.key, of.record.value, headers, partition=partition)
        _acked(self._retries)
        for each, _ in batch:
            self._outcomes.send(each.row.customer_ref.encode(), _outcome(each.row, now_ms, self._delay_ms), [])
        _acked(self._outcomes)


def _acked(feed: Feed) -> None:
    from pipeline.errors import BrokerError  # noqa: PLC0415

    open_ = feed.finish()
    if open_ or feed.failed:
        raise BrokerError(f"not all was written ({', '.join(feed.failed) or 'no ack'}): repeat the command to go on")


def _state(each: Chosen, now_ms: int, due_ms: int) -> Any:
    from pipeline.core import runstate  # noqa: PLC0415

    row = each.row
    # No hash: what failed under yesterday's configuration is replayed because today's is another.
    return runstate.RunState(
        journey=row.journey, hash="", event_id=row.event_id,
        source=(row.topic, row.partition, row.offset, row.record_time_ms), deliveries=row.deliveries,
        started_ms=now_ms, hop=row.hop + 1, parks=0, due_ms=due_ms, trace_id=row.trace_id, sampled=False, link="",
        steps={each.step: runstate.StepState(0, due_ms, 0, replay.REPLAYED, 0)},
    )  # fmt: skip


def _outcome(row: OutcomeRow, now_ms: int, delay_ms: int) -> bytes:
    from pipeline.core import outcome  # noqa: PLC0415

    return outcome.encode(
        outcome.prefix(row.journey, row.journey_hash, row.step, row.destination, row.operation), row.event_id,
        row.event_type, row.delivery_id, row.customer_ref, row.topic, row.partition, row.offset, row.record_time_ms,
        row.event_time_ms, row.deliveries, row.trace_id, Outcome.RETRYING, replay.REPLAYED, row.status, row.attempts,
        row.first_attempt_at_ms, now_ms, row.hop, now_ms + delay_ms, (),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- saying


def _say(args: argparse.Namespace, chosen: Sequence[Chosen], left: Mapping[str, int], sent: int) -> None:
    counts = Counter((each.row.journey, each.row.step, each.row.destination, each.cls) for each in chosen)
    names = ("journey", "step", "destination", "class")
    rows = [dict(zip(names, key, strict=True)) | {"count": number} for key, number in sorted(counts.items())]
    if args.json:
        alone = dict(sorted(left.items()))
        screen.print_json({"dry_run": args.dry_run, "count": sent, "groups": rows, "left_alone": alone})
        return
    if rows:
        shown = screen.table(*names, "deliveries", right=("deliveries",))
        for row in rows:
            shown.add_row(*(screen.cell(str(row[name])) for name in names), screen.count(int(row["count"])))
        screen.console().print(shown)
    print(f"{screen.count(sent)} deliveries {'would be' if args.dry_run else 'are'} sent again")
    for why, number in sorted(left.items()):
        print(f"left alone, {why}: {screen.count(number)}")
    if left.get(replay.AMBIGUOUS):
        print("the ambiguous ones may have arrived, and their destination keeps repeats: --ambiguous sends them",
              file=sys.stderr)  # fmt: skip
