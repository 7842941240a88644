"""`hookline dead replay`: sends failed deliveries again, by way of the smallest retry tier; workers do the rest."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from pipeline.cli import options, rerun, screen
from pipeline.cli.letter import letter
from pipeline.core import replay
from pipeline.core.runstate import STATE_HEADER
from pipeline.model import REPLAYED, FailureClass, Outcome, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.adapters.kafka.feed import Feed
    from pipeline.cli.rerun import Place, Rerun
    from pipeline.config.models import Config
    from pipeline.core.outcome import OutcomeRow
    from pipeline.core.runstate import RunState
    from pipeline.model import Record

RATE_PER_S: Final = 100.0
"""Deliveries a second, unless `--rate` says otherwise."""
BATCH: Final = 100
"""Runs written before their acks are waited for; so many may be written twice by an interruption."""
HELD_BYTES_MAX: Final = 67_108_864
"""Of what letters keep of runs that have more letters further on."""
_LATEST_MS: Final = 9_999_999_999_999
"""As many digits as any time of the next two centuries: what fits then fits now."""


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add the action's parser, and return it."""
    parser = actions.add_parser(
        "replay",
        help="send failed deliveries again",
        description="Send deliveries again whose last outcome is still dead or rejected, with their delivery IDs and "
        "today's configuration; later steps that were skipped because of them go on with them. Workers ask all gates "
        "again; an event past its max_age ends as skipped(stale). Nothing is written to the input topics. Broken off, "
        "it may be repeated: what was sent is left alone.",
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
    parser.add_argument("--out-of-order", action="store_true", help="also those of journeys that keep order, though "
                        "later events of their customers may have been delivered since")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent")
    parser.add_argument("--list", action="store_true", help="name each delivery that is sent again")
    return parser


def _rate(text: str) -> float:
    from pipeline.config import units  # noqa: PLC0415 - commands import what is heavy once they run

    try:
        return units.rate_per_s(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a rate such as 50/s") from None


def execute(args: argparse.Namespace, config: Config, settings: Mapping[str, str]) -> int:
    """Run the action; blocks on Kafka. Raises TopicMissing, BrokerError, ConfigError.

    A dry run makes the same records, and does not write them.
    """
    from pipeline.cli import failed  # noqa: PLC0415

    left: Counter[str] = Counter()
    runs, stay = failed.choose(args, config, settings, left)
    if not runs and not left:
        _refuse_unknown(args, config)
    sent: list[Rerun] = []
    if runs:
        names = {journey.name: journey.names for journey in failed.journeys(config).values()}
        again = _Again(config, settings, names, left)
        total = sum(each.size for each in runs)
        with screen.progress("deliveries", "replaying") as progress:
            sending = None if args.dry_run else _Sending(config, settings, again.delay_ms, args.rate)
            done = 0
            for batch in again.batches(runs, max(min(BATCH, int(args.rate)), 1)):
                if sending is not None:
                    sending.write(batch)
                sent += [each.run for each in batch]
                done += sum(each.run.size for each in batch)
                if progress is not None:
                    progress(done, total)
    _say(args, sent, left, stay)
    return 0


def _refuse_unknown(args: argparse.Namespace, config: Config) -> None:
    """Raise ConfigError for a name nothing failed of, and that is not in the configuration: a slip of the pen."""
    journeys = config.journeys.values()
    known = {
        "destination": {*config.destinations},
        "journey": {name for each in journeys for name in (each.name, *each.formerly)},
        "step": {name for each in journeys for step in each.steps for name in (step.name, *step.formerly)},
    }
    for what, names in known.items():
        asked = getattr(args, what)
        if asked is not None and asked not in names:
            raise options.unknown(f"--{what}", asked, sorted(names), what)


# --------------------------------------------------------------------------------------------------------- making


@value
class Made:
    """A retry record, ready to write but for the time: `record` is a dead letter, whose key, bytes and headers it has.

    `letters` are what dead letters keep of its run; `names` are its journey's steps of today, by older names.
    """

    run: Rerun
    letters: tuple[RunState, ...]
    names: Mapping[str, str]
    record: Record

    def header(self, now_ms: int, delay_ms: int) -> tuple[RunState, bytes] | None:
        """Return the run's state and its header; None if it is too large."""
        from pipeline.core import runstate  # noqa: PLC0415

        state = rerun.state(self.run, self.letters, self.names, now_ms, now_ms + delay_ms)
        header = runstate.encode(state)
        return None if header is None else (state, header)


class _Again:
    """Reads the letters again that are sent, and makes retry records of them."""

    def __init__(
        self, config: Config, settings: Mapping[str, str], names: Mapping[str, Mapping[str, str]], left: Counter[str]
    ) -> None:
        """`names` are today's steps by journey and older name; `left` counts what cannot be made."""
        from pipeline.config import topics  # noqa: PLC0415

        self.delay_ms = config.retry_tiers[0].ms
        self._dead = topics.dead(config.group)
        self._settings = settings
        self._names = names
        self._left = left

    def batches(self, runs: Sequence[Rerun], size: int) -> Iterator[list[Made]]:
        """Yield all that can be made, so many runs at once."""
        made = self._made(runs)
        while batch := list(islice(made, size)):
            yield batch

    def _made(self, runs: Sequence[Rerun]) -> Iterator[Made]:
        for run, letters, record in self._with_letters(runs):
            made = Made(run, letters, self._names[run.journey], record)
            if made.header(_LATEST_MS, self.delay_ms) is None:
                self._left[replay.TOO_LARGE] += len(run.chosen)
            else:
                yield made

    def _with_letters(self, runs: Sequence[Rerun]) -> Iterator[tuple[Rerun, tuple[RunState, ...], Record]]:
        """Yield each run once the last of its letters was read. Raises ConfigError if too much has to be held."""
        open_ = {each.place: run for run in runs for each in run.chosen}
        missing = {id(run): len(run.chosen) for run in runs}
        held: dict[int, list[RunState]] = {}
        bytes_ = 0
        for record in self._records(open_):
            run = open_.pop((record.partition, record.offset), None)
            if run is not None:
                kept = letter(record).run
                size = len(record.header(STATE_HEADER) or b"")
                states = held.setdefault(id(run), [])
                states += [] if kept is None else [kept]
                missing[id(run)] -= 1
                if missing[id(run)]:
                    bytes_ += size
                    if bytes_ > HELD_BYTES_MAX:
                        raise options.refuse(
                            "--since",
                            "too many runs with several failed steps at once: do fewer, with --since and --until",
                        )
                    continue
                yield run, tuple(held.pop(id(run))), record
            if not open_:
                return
        self._left[replay.NO_LETTER] += sum(len(run.chosen) for run in runs if missing[id(run)])

    def _records(self, places: Iterable[Place]) -> Iterator[Record]:
        from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415

        begin: dict[int, int] = {}
        for partition, offset in places:
            begin[partition] = min(begin.get(partition, offset), offset)
        return read_topic(self._settings, self._dead, begin=begin)


# -------------------------------------------------------------------------------------------------------- sending


class Pace:
    """Spreads batches over time. What was late is not made up for: the rate is a bound, not an average."""

    def __init__(self, rate_per_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._free_s = 0.0

    def wait_s(self, size: int, now_s: float) -> float:
        """Return how long to wait before a batch of this size begins; it takes up its time from then on."""
        begins_s = max(self._free_s, now_s)
        self._free_s = begins_s + size / self._rate_per_s
        return begins_s - now_s


class _Sending:
    """Writes in batches: the retry records of one, once these are acked its outcomes, then the next."""

    def __init__(self, config: Config, settings: Mapping[str, str], delay_ms: int, rate_per_s: float) -> None:
        from pipeline.adapters.kafka.admin import Admin  # noqa: PLC0415
        from pipeline.adapters.kafka.feed import Feed  # noqa: PLC0415
        from pipeline.config import topics  # noqa: PLC0415

        topic = topics.retry(config.group, config.retry_tiers[0].name)
        self._delay_ms = delay_ms
        self._retries, self._outcomes = Feed(settings, topic), Feed(settings, topics.outcomes(config.group))
        self._partitions = Admin(settings).partitions()[topic]
        self._pace = Pace(rate_per_s)

    def write(self, batch: Sequence[Made]) -> None:
        """Write some at their rate. Raises BrokerError when a write is not acked: then it is to be repeated."""
        from pipeline.core import deadletter, runstate  # noqa: PLC0415
        from pipeline.errors import Bug  # noqa: PLC0415

        time.sleep(self._pace.wait_s(sum(each.run.size for each in batch), time.monotonic()))
        now_ms = time.time_ns() // 1_000_000
        for each in batch:
            made = each.header(now_ms, self._delay_ms)
            if made is None:
                raise Bug("a state that fitted is too large")
            state, header = made
            headers = [*deadletter.original_headers(each.record), (runstate.STATE_HEADER, header)]
            partition = runstate.spread(state) % self._partitions
            self._retries.send(each.record.key, each.record.value, headers, partition=partition)
        _acked(self._retries)
        for row in (row for each in batch for row in _rows(each.run)):
            self._outcomes.send(row.customer_ref.encode(), _outcome(row, now_ms, self._delay_ms), [])
        _acked(self._outcomes)


def _rows(run: Rerun) -> Iterator[OutcomeRow]:
    yield from (each.row for each in run.chosen)
    yield from run.along


def _acked(feed: Feed) -> None:
    from pipeline.errors import BrokerError  # noqa: PLC0415

    open_ = feed.finish()
    if open_ or feed.failed:
        raise BrokerError(f"not all was written ({', '.join(feed.failed) or 'no ack'}): repeat the command to go on")


def _outcome(row: OutcomeRow, now_ms: int, delay_ms: int) -> bytes:
    from pipeline.core import outcome  # noqa: PLC0415

    return outcome.encode(
        outcome.prefix(row.journey, row.journey_hash, row.step, row.destination, row.operation), row.event_id,
        row.event_type, row.delivery_id, row.customer_ref, row.topic, row.partition, row.offset, row.record_time_ms,
        row.event_time_ms, row.deliveries, row.trace_id, Outcome.RETRYING, REPLAYED, row.status, row.attempts,
        row.first_attempt_at_ms, now_ms, row.hop, now_ms + delay_ms, (),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- saying


def _say(args: argparse.Namespace, sent: Sequence[Rerun], left: Mapping[str, int], stay: int) -> None:
    listed = sorted(_listed(sent), key=lambda each: tuple(each.values()))
    counts = Counter(tuple(each[name] for name in _GROUPED) for each in listed if not each["follows"])
    rows = [dict(zip(_GROUPED, key, strict=True)) | {"count": number} for key, number in sorted(counts.items())]
    count, along = sum(len(each.chosen) for each in sent), sum(len(each.along) for each in sent)
    if args.json:
        screen.print_json({
            "dry_run": args.dry_run, "count": count, "following": along, "groups": rows,
            "left_alone": dict(sorted(left.items())), "stay_skipped": stay,
            **({"deliveries": listed} if args.list else {}),
        })  # fmt: skip
        return
    if rows:
        shown = screen.table(*_GROUPED, "deliveries", right=("deliveries",))
        for row in rows:
            shown.add_row(*(screen.cell(str(row[name])) for name in _GROUPED), screen.count(int(row["count"])))
        screen.console().print(shown)
    if args.list and listed:
        _print_list(listed)
    print(f"{screen.count(count)} deliveries {'would be' if args.dry_run else 'are'} sent again")
    if along:
        print(f"{screen.count(along)} that were skipped because of them go on with them")
    if stay:
        print(f"{screen.count(stay)} stay skipped: of a step they also come after the answer is not known any more")
    for why, number in sorted(left.items()):
        print(f"left alone, {why}: {screen.count(number)}")
    for why, what in _REMEDIES.items():
        if left.get(why):
            print(what, file=sys.stderr)


_REMEDIES: Final = {
    replay.AMBIGUOUS: "ambiguous ones may have arrived, and their destination keeps repeats: --ambiguous sends them",
    replay.ORDERED: "where order is kept, later events may have been delivered since: --out-of-order sends them",
    replay.RUNS: "another step of the run still waits, and later steps come after both: replay it once that has ended",
}


_GROUPED: Final = ("journey", "step", "destination", "class")


def _listed(sent: Iterable[Rerun]) -> Iterator[dict[str, Any]]:
    """Say of each delivery what is sent again; `follows`: it was skipped, and goes on with one that failed."""
    for run in sent:
        for row, cls in (*((each.row, each.cls) for each in run.chosen), *((row, row.reason) for row in run.along)):
            yield {
                "journey": row.journey, "step": row.step, "destination": row.destination, "class": cls,
                "event_id": row.event_id, "delivery_id": row.delivery_id, "follows": row.outcome is Outcome.SKIPPED,
            }  # fmt: skip


def _print_list(listed: Sequence[Mapping[str, Any]]) -> None:
    shown = screen.table("event", "delivery", "journey.step", "destination", "class")
    for each in listed:
        cells = (each["event_id"], each["delivery_id"], f"{each['journey']}.{each['step']}", each["destination"])
        shown.add_row(*map(screen.cell, cells), "follows" if each["follows"] else screen.cell(str(each["class"])))
    screen.console().print(shown)
