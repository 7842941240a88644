"""Finds the failed deliveries that `hookline dead replay` may send again: dead letters, outcomes, today's steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pipeline.cli import rerun, screen
from pipeline.cli.rerun import Chosen, Kept
from pipeline.core import replay
from pipeline.model import Edge, Outcome, last_word, value

if TYPE_CHECKING:
    import argparse
    from collections import Counter
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.cli.letter import Letter
    from pipeline.cli.rerun import Place, Rerun
    from pipeline.config.models import Config, JourneyConfig, StepConfig
    from pipeline.core.outcome import OutcomeRow
    from pipeline.core.replay import Target

OUTCOMES_BEFORE_MS: Final = 3_600_000
"""How much older than its dead letter the outcome that goes with it may seem."""


@value
class Failed:
    """A delivery's newest dead letter. Times are Unix ms; `began_ms`: no outcome of its run is older."""

    place: Place
    at_ms: int
    began_ms: int
    delivery_id: str
    cls: str
    says: tuple[str, ...]  # destination, journey, step, event-id
    ambiguous: bool
    oversize: bool
    kept: Kept | None


@value
class Journey:
    """A journey of today: its steps, and their names of today by every name they ever had."""

    name: str
    targets: Mapping[str, Target]
    names: Mapping[str, str]


def journeys(config: Config) -> dict[str, Journey]:
    """Return the journeys of today, by every name they ever had."""
    found: dict[str, Journey] = {}
    for each in config.journeys.values():
        targets = {step.name: _target(config, each, step) for step in each.steps}
        names = {former: step.name for step in each.steps for former in step.formerly}
        found[each.name] = Journey(each.name, targets, names | {name: name for name in targets})
    for each in config.journeys.values():
        for former in each.formerly:
            found.setdefault(former, found[each.name])
    return found


def _target(config: Config, journey: JourneyConfig, step: StepConfig) -> Target:
    destination = config.destinations.get(step.destination)
    operation = None if destination is None else destination.operations.get(step.operation)
    return replay.Target(
        step.name, step.kind or "", drops_repeats=destination is None or destination.drops_repeats,
        suffix=f"/{journey.first_name}/{step.first_name}".encode(),
        after=tuple(Edge(name, frozenset(map(Outcome, outcomes))) for name, outcomes in step.after.items()),
        any_parent=step.join == "any",
        ordered=journey.ordered and step.kind != "record",
        keeps=step.kind in ("enrich", "decide") and operation is not None and bool(operation.response),
    )  # fmt: skip


def choose(
    args: argparse.Namespace, config: Config, settings: Mapping[str, str], left: Counter[str]
) -> tuple[list[Rerun], int]:
    """Return the runs of which something is sent again, oldest first, and how many steps of them stay skipped.

    What is left alone is counted by reason. Blocks on Kafka. Memory: about 2 KB a delivery.
    """
    known = journeys(config)
    now_ms = time.time_ns() // 1_000_000
    failed = [each for each in _newest(config, settings, known, left) if _wanted(args, each, now_ms)]
    failed.sort(key=lambda each: (each.at_ms, each.place))
    last = _last(config, settings, known, failed) if failed else {}
    runs: dict[tuple[str, int, int, str], list[Chosen]] = {}
    for each in failed:
        row = last.get(each.delivery_id)
        chosen = _chosen(each, row, known, with_ambiguous=args.ambiguous, out_of_order=args.out_of_order)
        if isinstance(chosen, str):
            left[chosen] += 1
        else:
            row = chosen.row
            runs.setdefault((row.topic, row.partition, row.offset, known[row.journey].name), []).append(chosen)
    planned, stay = [], 0
    for (*_, name), members in runs.items():
        rerun_, alone, stuck = _planned(known[name], members, last)
        left.update(alone)
        stay += stuck
        if rerun_ is not None:
            planned.append(rerun_)
    return planned, stay


def _planned(
    journey: Journey, members: Sequence[Chosen], last: Mapping[str, OutcomeRow]
) -> tuple[Rerun | None, Counter[str], int]:
    first = members[0].row
    here = first.topic, first.partition, first.offset
    rows = {}
    for name, target in journey.targets.items():
        row = last.get(_id(first.event_id, target))
        if row is not None and (row.topic, row.partition, row.offset) == here:
            rows[name] = row
    return rerun.plan(journey.name, journey.targets, members, rows)


def _chosen(
    failed: Failed,
    row: OutcomeRow | None,
    known: Mapping[str, Journey],
    *,
    with_ambiguous: bool,
    out_of_order: bool = False,
) -> Chosen | str:
    journey = None if row is None else known.get(row.journey)
    target = None
    if row is not None and journey is not None:
        target = journey.targets.get(journey.names.get(row.step, ""))
        if target is not None and _id(row.event_id, target) != failed.delivery_id:
            target = None  # names are given anew; first names, which make the ID, stay
    why = replay.left_alone(
        row, target, ambiguous=failed.ambiguous, with_ambiguous=with_ambiguous, out_of_order=out_of_order
    )
    why = why or (replay.OVERSIZE if failed.oversize else "")
    if why or row is None or target is None:
        return why
    return Chosen(failed.place, row, target, failed.cls, failed.ambiguous, failed.kept)


def _id(event_id: str, target: Target) -> str:
    from pipeline.core import payload  # noqa: PLC0415 - commands import what is heavy once they run

    return payload.delivery_id(event_id, target.suffix)


# -------------------------------------------------------------------------------------------------------- reading


def _newest(
    config: Config, settings: Mapping[str, str], known: Mapping[str, Journey], left: Counter[str]
) -> list[Failed]:
    """Return each delivery's newest dead letter: the one whose bytes and class count."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.cli.letter import letter  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415

    found: dict[str, Failed] = {}
    topic = topics.dead(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, progress=progress):
            each = failed_by(letter(record), known)
            if not each.delivery_id:
                left[replay.NO_DELIVERY] += 1
                continue
            was = found.get(each.delivery_id)
            if was is None or (was.at_ms, was.place) < (each.at_ms, each.place):
                found[each.delivery_id] = each
    return list(found.values())


def failed_by(of: Letter, known: Mapping[str, Journey]) -> Failed:
    """Return what a dead letter says of its delivery."""
    says = of.says
    run = of.run
    names = journey.names if (journey := known.get(says.get("journey", ""))) is not None else {}
    ambiguous = says.get("ambiguous")
    if ambiguous is None:  # written by an earlier release: what was attempted without a status may have arrived
        ambiguous = "yes" if says.get("attempts", "0") != "0" and not says.get("status") else "no"
    return Failed(
        (of.record.partition, of.record.offset), of.at_ms, of.at_ms if run is None else min(run.started_ms, of.at_ms),
        says.get("delivery-id", ""), says.get("class", ""),
        tuple(says.get(name, "") for name in ("destination", "journey", "step", "event-id")), ambiguous == "yes",
        of.record.value is None, None if run is None else rerun.kept(run, names),
    )  # fmt: skip


def _wanted(args: argparse.Namespace, failed: Failed, now_ms: int) -> bool:
    asked = (args.destination, args.journey, args.step, args.event)
    return (
        args.cls in (None, failed.cls)
        and all(name in (None, said) for name, said in zip(asked, failed.says, strict=True))
        and (args.since is None or failed.at_ms >= args.since.at_ms(now_ms))
        and (args.until is None or failed.at_ms <= args.until.at_ms(now_ms))
    )


def _last(
    config: Config, settings: Mapping[str, str], known: Mapping[str, Journey], failed: Sequence[Failed]
) -> dict[str, OutcomeRow]:
    """Return the outcome that counts of each delivery asked for, and of the others of its run if it has edges."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415
    from pipeline.core.outcome import OutcomeRow, decode  # noqa: PLC0415

    wanted = set(_deliveries(known, failed))
    since_ms = max(min(each.began_ms for each in failed) - OUTCOMES_BEFORE_MS, 0)
    found: dict[str, OutcomeRow] = {}
    topic = topics.outcomes(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, since_ms=since_ms, progress=progress):
            row = decode(record.value or b"")
            if isinstance(row, OutcomeRow) and row.delivery_id in wanted:
                was = found.get(row.delivery_id)
                if was is None or last_word(row) > last_word(was):
                    found[row.delivery_id] = row
    return found


def _deliveries(known: Mapping[str, Journey], failed: Sequence[Failed]) -> Iterator[str]:
    for each in failed:
        yield each.delivery_id
        _, name, _, event_id = each.says
        journey = known.get(name)
        if journey is not None and any(target.after for target in journey.targets.values()):
            for target in journey.targets.values():
                yield _id(event_id, target)
