"""Performs events on a stage: a configuration compiled once, then performances of it, each with a clock of its own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.config.compile import Compiled, compile  # noqa: A004 - the word of the command line
from pipeline.config.plain import NoEventError
from pipeline.config.secrets import Secrets
from pipeline.config.staged import stage
from pipeline.core import decode
from pipeline.model import Event, Known, Outcome, Record, Undecodable, value
from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.explain import Ended
from pipeline.testing.stage.worker import StageWorker, wire
from pipeline.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.config.models import Config
    from pipeline.config.staged import Shape
    from pipeline.core.outcome import OutcomeRow
    from pipeline.model import Plan, Rows, SchemaRef
    from pipeline.testing.stage.broker import Members
    from pipeline.testing.stage.endpoints import Request, Script
    from pipeline.testing.stage.worker import Knowledge


DRAWN: Final[Mapping[str, float]] = {}
"""Customers are drawn as the journeys say."""
UNDRAWN: Final[Mapping[str, float]] = {"rollout": 1.0, "holdout": 0.0}
"""Everybody enters and nobody is held out."""


@value
class Sent:
    """One input record."""

    topic: str
    key: bytes | None
    content: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@value
class Arrival:
    """Records that come at once, at a time (Unix ms)."""

    at_ms: int
    records: Sequence[Sent]


@value
class Performance:
    """What came of it: requests and outcome records in the order they were written.

    `details` is what dead letters say, by delivery ID; `before` how many requests had been written at each arrival.
    """

    requests: tuple[Request, ...]
    outcomes: tuple[OutcomeRow, ...]
    details: Mapping[str, str]
    before: tuple[int, ...]

    def ended(self, event_id: str, journey: str) -> dict[str, Ended]:
        """Return how each step of a run ended for good."""
        return {
            row.step: Ended(row.outcome, row.reason, row.status, row.attempts, self.details.get(row.delivery_id, ""))
            for row in self.outcomes
            if row.event_id == event_id and row.journey == journey and row.outcome is not Outcome.RETRYING
        }


class Performer:
    """A configuration, compiled for the stage."""

    def __init__(self, config: Config, readers: Mapping[str, Any], schemas: Mapping[SchemaRef, object]) -> None:
        """Compile `config`, whose destinations are bare; `schemas` are those of the records to come, by reference.

        Raises ConfigError for what `hookline validate` would refuse.
        """
        self.config = config
        self._schemas = schemas
        compiled = compile(config, Secrets(config.folder, {}), readers)
        self._plans: dict[tuple[str, int], Plan | Undecodable | None] = {}
        self._planner = compiled.plan
        self._compiled: Compiled = replace(compiled, plan=self._plan)

    def _plan(self, topic: str, schema: object) -> Plan | Undecodable | None:
        """Plan for records of a schema once for all workers: a plan keeps nothing of the one it works for."""
        key = topic, id(schema)  # the schemas are this performer's own, as long as it lives
        if key not in self._plans:
            self._plans[key] = self._planner(topic, schema)
        return self._plans[key]

    @property
    def input_topics(self) -> tuple[str, ...]:
        """Names of the topics its records are on."""
        return self._compiled.input_topics

    def worker(
        self, loop: VirtualLoop, broker: StageBroker, script: Script, *, seed: int = 1,
        members: Mapping[str, Members] | None = None, known: Knowledge | None = None,
        told: Callable[[str, dict[str, object]], None] | None = None,
    ) -> StageWorker:  # fmt: skip
        """Build a worker on the running loop: of the whole broker, or a member of groups by role."""
        return StageWorker(
            loop, broker, self.config, self._compiled, script, self._schemas, seed=seed, members=members, known=known,
            told=told,
        )  # fmt: skip

    def event(self, sent: Sent) -> Event | str:
        """Return the event a record is read as, or why it is none."""
        assert sent.content is not None
        frame = decode.locate(sent.content, sent.headers)
        if isinstance(frame, Undecodable):
            return frame.detail
        plan = self._compiled.plan(sent.topic, self._schemas[frame[0]])
        if plan is None:
            return "no `events` entry maps such records"
        if isinstance(plan, Undecodable):
            return plan.detail
        datum = plan.read(sent.content, frame[1])
        if isinstance(datum, Undecodable):
            return datum.detail
        made = plan.envelope(datum, Record(sent.topic, 0, 0, sent.key, sent.content, sent.headers, 0))
        return made.detail if isinstance(made, Undecodable) else made

    def perform(
        self, arrivals: Sequence[Arrival], script: Script, *, seed: int = 1, known: Mapping[str, Known] | None = None,
        rows: Rows | None = None,
    ) -> Performance:  # fmt: skip
        """Let the events come, each arrival once what came before it is settled; return what came of them.

        `known` is what tables say of customers to begin with, `rows` what look-ups have of whoever it is.

        Raises what stopped the worker, and Bug if it comes to no end.
        """
        loop = VirtualLoop(min(each.at_ms for each in arrivals) * 1_000_000)
        try:
            return loop.run_until_complete(self._performed(loop, arrivals, script, seed, known or {}, rows or {}))
        finally:
            loop.close()

    async def _performed(
        self, loop: VirtualLoop, arrivals: Sequence[Arrival], script: Script, seed: int, known: Mapping[str, Known],
        rows: Rows,
    ) -> Performance:  # fmt: skip
        worker = self.worker(loop, StageBroker(loop.wall_ns), script, seed=seed)
        worker.tables.of.update(known)
        worker.rows.of = rows
        worker.start()
        before = []
        for arrival in arrivals:
            loop.leap(loop.time() + (arrival.at_ms - loop.wall_ns() / 1e6) / 1e3)
            before.append(len(worker.requests))
            for each in arrival.records:
                worker.broker.append(each.topic, 0, each.key, each.content, each.headers)
            await worker.settled()
        await worker.close()
        await asyncio.sleep(0)
        details = {
            (record.header("hookline-delivery-id") or b"").decode(): (record.header("hookline-detail") or b"").decode()
            for record in worker.broker.of(worker.dead_topic)
        }
        return Performance(tuple(worker.requests), tuple(worker.outcomes()), details, tuple(before))


class Events:
    """Writes plain events as records, for a performer of the same journeys."""

    def __init__(
        self, config: Config, readers: Mapping[str, Any], journeys: Iterable[str] | None,
        shares: Mapping[str, float] = DRAWN,
    ) -> None:  # fmt: skip
        """Shape the events of `config`; the journeys named are as if they were live, the others are not there.

        None: all are there, as they are. `shares` replaces theirs: UNDRAWN lets everybody in and holds nobody out.
        """
        self._staged = stage(config if journeys is None else live(config, journeys, shares), readers)
        self._wires = {shape.topic: wire(shape.schema) for shape in self._staged.shapes}

    def shape(self, event_type: str) -> Shape | None:
        """Return what events of a type look like, or None if no mapping makes them."""
        return self._staged.shape(event_type)

    def performer(self) -> Performer:
        """Compile. Raises ConfigError for what `hookline validate` would refuse."""
        schemas = self._staged.schemas
        return Performer(self._staged.config, schemas, {decode.fingerprint(each): each for each in schemas.values()})

    def record(self, event: Mapping[str, Any]) -> Sent:
        """Return an event's record. Raises NoEventError for one the mapping cannot make."""
        if "type" not in event:
            raise NoEventError("type", "is missing")
        shape = self._staged.shape(str(event["type"]))
        if shape is None:
            raise NoEventError("type", "no `events` entry of hookline.yaml makes this type")
        datum = shape.datum(event)
        try:
            key = str(event["customer"]["id"]).encode()
        except (KeyError, TypeError):
            raise NoEventError("customer.id", "is missing") from None
        return Sent(shape.topic, key, self._wires[shape.topic](datum))


def live(config: Config, journeys: Iterable[str], shares: Mapping[str, float] = DRAWN) -> Config:
    """Return the configuration with these journeys only, live whatever their status; `shares` as for Events."""
    chosen = {name: config.journeys[name].model_copy(update={"status": "live", **shares}) for name in journeys}
    return config.model_copy(update={"journeys": chosen})


def unix_ms(given: str | int) -> int:
    """Read a time as plain values have it: RFC 3339 text with its zone, or Unix ms."""
    if isinstance(given, int):
        return given
    return int(datetime.fromisoformat(given).astimezone(UTC).timestamp() * 1_000)
