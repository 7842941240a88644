"""Reads what waits on the retry topics and in the logs, and takes out what was done ahead of its turn.

Released runs overtake others of their partition, and commits cannot say so: what is committed is where the oldest open
one is. Whether a record above that is done, the outcomes say: every taken up run writes one with its hop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.cli import screen
from pipeline.core import outcome, payload, runstate
from pipeline.model import value
from pipeline.run.past import noted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.adapters.kafka.admin import Admin
    from pipeline.config.models import Config
    from pipeline.model import Record

AHEAD_MS: Final = 60_000
"""How much older than the record itself an outcome may seem: two topics, two leaders' clocks."""


@value
class WaitingStep:
    """One delivery that waits. Times are Unix ms; `call` is destination.operation, "" for a step that was removed."""

    topic: str
    since_ms: int
    due_ms: int
    began_ms: int
    event_id: str
    delivery_id: str
    journey: str
    step: str
    call: str
    cls: str
    attempts: int
    hop: int

    @property
    def destination(self) -> str:
        """Name of the destination it waits for."""
        return self.call.partition(".")[0]


def waiting(config: Config, settings: Mapping[str, str], admin: Admin) -> list[WaitingStep]:
    """Read all that waits, in the order of the tiers. Blocks; raises TopicMissing, BrokerError."""
    found = list(_held(config, settings, admin))
    if not found:
        return []
    done = _hops(config, settings, min(each.since_ms for each in found) - AHEAD_MS)
    return [each for each in found if done.get(each.delivery_id, -1) < each.hop]


def _held(config: Config, settings: Mapping[str, str], admin: Admin) -> Iterator[WaitingStep]:
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415 - commands import what is heavy once they run
    from pipeline.config import topics, units  # noqa: PLC0415

    known = admin.partitions()
    names = [topic for topic in topics.retry_topics(config) if topic in known]
    names += topics.removed_retry_topics(config, known)
    committed = admin.committed(topics.retry_group(config.group), names)
    calls, suffixes = _steps(config)

    def steps(record: Record, state: runstate.RunState, delay_ms: int) -> Iterator[WaitingStep]:
        for name, step in state.steps.items():
            suffix = suffixes.get((state.journey, name), f"/{state.journey}/{name}").encode()
            yield WaitingStep(
                record.topic, record.timestamp_ms, max(step.due_ms, record.timestamp_ms + delay_ms), state.started_ms,
                state.event_id, payload.delivery_id(state.event_id, suffix), state.journey, name,
                calls.get((state.journey, name), ""), step.cls, step.attempts, state.hop,
            )  # fmt: skip

    for topic in names:
        delay_ms = units.duration_ms(topic.removeprefix(topics.retry(config.group, "")))
        begin = {number: at for (name, number), at in committed.items() if name == topic}
        with screen.progress(topic) as progress:
            for record in read_topic(settings, topic, begin=begin, progress=progress):
                state = runstate.decode(record.header(runstate.STATE_HEADER))
                if isinstance(state, runstate.RunState):
                    yield from steps(record, state, delay_ms)
    for record, state in in_logs(config, settings, admin):
        yield from steps(record, state, 0)


def in_logs(
    config: Config, settings: Mapping[str, str], admin: Admin
) -> Iterator[tuple[Record, runstate.RunState]]:  # fmt: skip
    """Read what is not over in the logs of journeys that keep order, each run in its newest state; log by log.

    The record is the one that brought that state. Blocks; raises TopicMissing, BrokerError.
    """
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415

    known = admin.partitions()
    names = [topic for topic in (*topics.logs(config).values(), *topics.removed_logs(config, known)) if topic in known]
    committed = admin.committed(topics.ordered_group(config.group), names)
    for topic in names:
        begin = {number: at for (name, number), at in committed.items() if name == topic}
        with screen.progress(topic) as progress:
            yield from unfinished(read_topic(settings, topic, begin=begin, progress=progress))


def unfinished(records: Iterable[Record]) -> list[tuple[Record, runstate.RunState]]:
    """Return the entries of a log that are not over, each with its newest state and the record that brought it.

    Of what a later release wrote down the state before that is told: nobody else can read on, and it is not over.
    """
    found: dict[tuple[int, int], tuple[Record, runstate.RunState]] = {}
    seen: set[int] = set()
    for record in records:
        header = record.header(runstate.STATE_HEADER)
        state = runstate.decode(header)
        about = noted(record)
        place = (record.partition, record.offset if about is None else about)
        if about is None and isinstance(state, runstate.RunState):
            if (name := runstate.entry_identity(state)) not in seen:
                found[place] = record, state
            seen.add(name)
        elif about is not None and header is None:
            found.pop(place, None)
        elif place in found and isinstance(state, runstate.RunState) and state.hop >= found[place][1].hop:
            found[place] = record, state
    return list(found.values())


def _steps(config: Config) -> tuple[dict[tuple[str, str], str], dict[tuple[str, str], str]]:
    """Return what each step calls, and the end of its delivery IDs' names, by (journey, step)."""
    steps = [(journey, step) for journey in config.journeys.values() for step in journey.steps]
    calls = {(journey.name, step.name): step.call or "" for journey, step in steps}
    return calls, {(journey.name, step.name): f"/{journey.first_name}/{step.first_name}" for journey, step in steps}


def _hops(config: Config, settings: Mapping[str, str], since_ms: int) -> dict[str, int]:
    """Return the newest hop at which each delivery was taken up, from outcomes written since."""
    from pipeline.adapters.kafka.reader import read_topic  # noqa: PLC0415
    from pipeline.config import topics  # noqa: PLC0415

    hops: dict[str, int] = {}
    topic = topics.outcomes(config.group)
    with screen.progress(topic) as progress:
        for record in read_topic(settings, topic, since_ms=max(since_ms, 0), progress=progress):
            row = outcome.decode(record.value or b"")
            if isinstance(row, outcome.OutcomeRow):
                hops[row.delivery_id] = max(hops.get(row.delivery_id, -1), row.hop)
    return hops
