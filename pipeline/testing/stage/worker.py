"""A whole worker on a virtual clock: the production `run/` and `core/` between a broker in memory and scripted answers.

Nothing here decides anything about deliveries: it wires the parts as `app/worker` does, and waits for them.
"""

from __future__ import annotations

import asyncio
import hashlib
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipeline.config import topics
from pipeline.core import decode, outcome, runstate
from pipeline.core.offsets import Tracker
from pipeline.errors import Bug
from pipeline.ports import LaneStats, Marks, Tables
from pipeline.run.asking import Asking
from pipeline.run.batch import Batching
from pipeline.run.consume import Intake
from pipeline.run.dispatch import Lane
from pipeline.run.lines import TurnTracker
from pipeline.run.memory import Recall
from pipeline.run.process import Process
from pipeline.run.release import Release
from pipeline.run.settle import OwnTopics, Settlement
from pipeline.run.turns import Turns
from pipeline.run.watch import Watch
from pipeline.testing.fakes import FakeSchemas, FakeTelemetry, dice
from pipeline.testing.stage.broker import StageSource
from pipeline.testing.stage.endpoints import StageEndpoint
from pipeline.testing.stage.known import StageFollower, StageLogs, StageRows, StageTables
from pipeline.testing.stage.producer import StageProducer
from pipeline.testing.stage.switches import StageSwitches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.compile import Compiled
    from pipeline.config.models import Config
    from pipeline.model import SchemaRef
    from pipeline.testing.stage.broker import Members, StageBroker
    from pipeline.testing.stage.endpoints import Request, Script
    from pipeline.testing.virtual import VirtualLoop

DRAIN_S: Final = 5.0
LEAP_S: Final = 2.0
"""Waits longer than this are leapt over once nothing else is under way."""
STEP_PARKED_S: Final = 5.0
"""Longest leap while anything is parked: how soon it may go on only its lane knows."""
LATE_S: Final = 0.25
"""After a leap: what was due meanwhile has its turn."""
TURNS_MAX: Final = 200_000
"""Waits for an ack or a leap before it is given up that everything ends."""


class Knowledge(Tables, Marks, Protocol):
    """What is known of customers, and is marked."""


class _Telling(FakeTelemetry):
    """Says what is logged as it is."""

    def __init__(self, told: Callable[[str, dict[str, object]], None]) -> None:
        super().__init__()
        self._told = told

    def log(self, level: str, event: str, **fields: object) -> None:
        """See ports.Telemetry."""
        super().log(level, event, **fields)
        self._told(event, fields)


class StageWorker:
    """One worker. Build on the running VirtualLoop, `start`, and `close` at the end."""

    def __init__(
        self,
        loop: VirtualLoop,
        broker: StageBroker,
        config: Config,
        compiled: Compiled,
        script: Script,
        schemas: Mapping[SchemaRef, object],
        *,
        seed: int = 1,
        tables: Tables | None = None,
        members: Mapping[str, Members] | None = None,
        known: Knowledge | None = None,
        told: Callable[[str, dict[str, object]], None] | None = None,
    ) -> None:
        """`members` make it one of a fleet: then it follows memory and control topic as others write to them.

        `known` is what it knows of customers instead of tables of its own over `tables`; `told` hears what it logs.
        """
        self.errors: list[BaseException] = []
        self.intakes: list[Intake] = []
        self.requests: list[Request] = []
        self.telemetry = FakeTelemetry() if told is None else _Telling(told)
        self.broker = broker
        self._loop = loop
        self._compiled = compiled
        self.tables = StageTables(broker, tables)
        self._known = known if known is not None else self.tables
        self._asking = Asking(compiled.gates, statuses=compiled.statuses)
        self.rows = self._asking.lookups = StageRows()
        self._dice = dice(seed)
        group = config.group
        self._retry = dict(zip(topics.retry_topics(config), compiled.tiers_ms, strict=True))
        self.outcomes_topic = topics.outcomes(group)
        self.dead_topic = topics.dead(group)
        self.producer = StageProducer(broker)
        logs = topics.logs(config)
        own = OwnTopics(tuple(self._retry), self.dead_topic, self.outcomes_topic, compiled.tiers_ms, logs)
        self.settlement = Settlement(own, self.producer, self.telemetry, loop.wall_ns, self._dice, _reference)
        self._watch = Watch(self.fatal)
        self.lanes: dict[str, Lane] = {}
        self.endpoints: dict[str, StageEndpoint] = {}
        for name in compiled.destinations:
            self._open_lane(config, name, script)
        self.memory_topic = topics.memory(group)
        self.follower: StageFollower | None = None
        self._recall = self._remembering() if compiled.remembers else None
        self._asking.attach(self._known, self._recall)
        self._process = Process(
            compiled.plan, self.lanes, self.settlement, self.telemetry, self._asking, self._known, self._recall
        )  # fmt: skip
        self.schemas = FakeSchemas(schemas)
        self.intakes = self._consuming(members or {}, group)
        self.turns = self._turns(config, tuple(logs.values()), (members or {}).get("ordered")) if logs else None
        self._release = Release(
            self._retry, self.intakes[1].source, loop.wall_ns, self.intakes[1].due, self.intakes[1].room, self.lanes,
            config.calls(),
        )  # fmt: skip
        self._switches = self._following(topics.control(group), config) if members is not None else None

    def _consuming(self, members: Mapping[str, Members], group: str) -> list[Intake]:
        """Make the intakes of the input and of the retry topics."""
        return [
            self._intake(StageSource(self.broker, name, role, tuple(topics_), members.get(role)))
            for name, role, topics_ in (
                (group, "input", self._compiled.input_topics),
                (topics.retry_group(group), "retry", self._retry),
            )
        ]

    def _remembering(self) -> Recall:
        self.follower = StageFollower(self.broker, self.memory_topic, self._loop.wall_ns)
        return Recall(self.follower, self.memory_topic, self.producer, self._loop.wall_ns, self.telemetry.log)

    def _following(self, control_topic: str, config: Config) -> StageSwitches:
        """Follow what others write."""
        if self.follower is not None:
            self.follower.live()
        return StageSwitches(
            self.broker, control_topic, config, self.lanes, self._process, self._release, self.producer
        )  # fmt: skip

    def _turns(self, config: Config, logs: tuple[str, ...], members: Members | None) -> Turns:
        source = StageSource(self.broker, topics.ordered_group(config.group), "ordered", logs, members)
        intake = self._intake(source)
        self.intakes.append(intake)
        return Turns(
            source, StageLogs(self.broker), self.producer, self._loop.wall_ns, intake.due, intake.room, self.lanes,
            config.calls(), self.telemetry.log, self.fatal,
        )  # fmt: skip

    def _open_lane(self, config: Config, name: str, script: Script) -> None:
        stats = LaneStats()
        batching = self._batching(config, name)
        endpoint = self.endpoints[name] = StageEndpoint(name, script, self._loop.wall_ns, self.requests.append)
        self.lanes[name] = Lane(
            self._compiled.destinations[name], endpoint,
            batching or self.settlement, self.telemetry, stats, self._loop.wall_ns, self._dice, self.fatal,
            lambda: 1.0, self._watch, None, batching, self._asking.again,
        )  # fmt: skip

    def _batching(self, config: Config, name: str) -> Batching | None:
        if all(each.batch is None for each in config.destinations[name].operations.values()):
            return None
        return Batching(self.settlement, self._loop.wall_ns, self._dice, self._asking.again)

    def _intake(self, source: StageSource) -> Intake:
        return Intake(
            source, self._process, self.settlement, self.lanes.values(), self.producer, self.schemas,
            self.telemetry, self._loop.wall_ns, self.fatal,
            ledger_topic=self.outcomes_topic if source.role == "input" else None, drain_s=DRAIN_S,
            make=TurnTracker if source.role == "ordered" else Tracker,
        )  # fmt: skip

    def fatal(self, error: BaseException) -> None:
        """Stop at once, as a worker does that cannot go on."""
        self.errors.append(error)
        for intake in self.intakes:
            intake.halt()
        self.broker.changed.set()

    def start(self) -> None:
        """Begin to consume."""
        self.intakes[0].start()
        self.intakes[1].start(self._release)
        if self.turns is not None:
            self.intakes[2].start(self.turns)

    def open(self) -> int:
        """Return how many positions are not settled, those that wait on a retry topic included."""
        return sum(tracker.open() for intake in self.intakes for tracker in intake.trackers.values())

    def owns(self, event_id: str) -> bool:
        """Whether an event is under way here on a partition that is this worker's own, if only to finish it."""
        sources: list[Any] = [intake.source for intake in self.intakes]
        return any(
            source.owns((flight.record.topic, flight.record.partition))
            for flight in self.settlement._flights  # noqa: SLF001 - which position a request is for, it does not say
            if flight.event is not None and flight.event.id == event_id
            for source in sources
        )

    def next_s(self) -> tuple[float, bool]:
        """Return when the next run that waits is due, in the loop's time, and whether any waits parked."""
        now_s, now_ms = self._loop.time(), self._loop.wall_ns() / 1e6
        due_ms, parked = float("inf"), False
        for (topic, partition), tracker in self.intakes[1].trackers.items():
            if not tracker.open():
                continue
            for record in self.broker.logs[topic, partition].after(tracker.watermark()):
                due_ms = min(due_ms, record.timestamp_ms + self._retry[topic])
                state = runstate.decode(record.header(runstate.STATE_HEADER))
                parked = parked or (isinstance(state, runstate.RunState) and state.parks > 0)
        if self.turns is not None:
            turn_ms, early = self.turns.next_ms()
            due_ms, parked = min(due_ms, turn_ms), parked or early
        return now_s + max(due_ms - now_ms, 0.0) / 1e3, parked

    async def idle(self) -> None:
        """Wait until nothing is under way; what waits on a retry topic goes on waiting. Raises what `settled` does."""
        for _ in range(TURNS_MAX):
            if self.errors:
                raise self.errors[0]
            if not self.settlement.unsettled():
                return
            self.broker.changed.clear()
            await self.broker.changed.wait()
        raise Bug("the stage does not come to an end")

    async def settled(self) -> None:
        """Wait until everything that came in is settled, retries included; leap over long waits.

        Raises what stopped the worker, and Bug if it never comes to an end.
        """
        for _ in range(TURNS_MAX):
            await asyncio.sleep(LATE_S)
            if self.errors:
                raise self.errors[0]
            if self.settlement.unsettled():
                self.broker.changed.clear()
                await self.broker.changed.wait()
            elif not self.open():
                return
            else:
                next_s, parked = self.next_s()
                if isfinite(next_s) and next_s - self._loop.time() > LEAP_S:
                    self._loop.leap(min(next_s, self._loop.time() + STEP_PARKED_S) if parked else next_s)
        raise Bug("the stage does not come to an end")

    def forget(self) -> None:
        """Drop requests, outcomes, dead letters and what telemetry was told: they were counted."""
        self.requests.clear()
        for told in (self.telemetry.told, self.telemetry.positions, self.telemetry.lines):
            told.clear()
        self.broker.forget_committed(self.outcomes_topic, self.dead_topic, self.memory_topic)

    async def stop(self) -> None:
        """Stop gracefully, in the order of app/worker."""
        for intake in self.intakes:
            intake.stop_taking()
        for lane in self.lanes.values():
            lane.drain()
        await asyncio.gather(*(intake.stop() for intake in self.intakes))
        await self._ended()

    async def kill(self) -> None:
        """End it at once, as a crash does: what it had queued for the broker is appended or not, and never acked."""
        self.halt()
        await self._ended()

    def halt(self) -> None:
        """Let nothing more happen here: the part of `kill` that takes no time."""
        for intake in self.intakes:
            intake.halt()
        for lane in self.lanes.values():
            for seat in lane._seats:  # noqa: SLF001 - a process that dies does not end its connections one by one
                seat.task.cancel()

    async def close(self) -> None:
        """End it at once. Raises what stopped it before."""
        await self.kill()
        if self.errors:
            raise self.errors[0]

    async def _ended(self) -> None:
        for lane in self.lanes.values():
            await lane.close()
        self._watch.close()
        if self._switches is not None:
            self._switches.stop()
        if self._recall is not None:
            await self._recall.stop()

    def outcomes(self) -> list[outcome.OutcomeRow]:
        """Return all outcome records, in the order they were written."""
        rows = (outcome.decode(record.value or b"") for record in self.broker.of(self.outcomes_topic))
        return [row for row in rows if isinstance(row, outcome.OutcomeRow)]


def wire(schema: Any) -> Callable[[dict[str, Any]], bytes]:
    """Return what writes data of a schema as record values, in Avro's single-object encoding."""
    body = decode.encode(schema)
    prefix = decode.single_object(decode.fingerprint(schema))
    return lambda datum: prefix + body(datum)


def _reference(customer_id: str) -> str:
    return hashlib.sha256(customer_id.encode()).hexdigest()[:32]
