"""Parking, proven with the code that runs: hours beside destinations in trouble, on a virtual clock."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from pipeline.core import journeys, outcome
from pipeline.model import (
    Answer,
    BreakerPolicy,
    Destination,
    Event,
    Failure,
    FailureClass,
    Plan,
    Record,
    RetryPolicy,
    Route,
)
from pipeline.ports import LaneStats
from pipeline.run.consume import Intake
from pipeline.run.dispatch import Lane
from pipeline.run.process import Process
from pipeline.run.release import Release
from pipeline.run.settle import OwnTopics, Settlement
from pipeline.run.watch import Watch
from pipeline.testing.fakes import FakeEndpoint, FakeProducer, FakeSchemas, FakeSource, FakeTelemetry, dice
from tests.support.virtual import VirtualLoop
from tests.unit.run.conftest import DAY, step
from tests.unit.run.test_process import FRAME, REF

if TYPE_CHECKING:
    from collections.abc import Callable

TIERS = (10_000, 60_000, 600_000, 3_600_000, 21_600_000)
TOPICS = ("g.retry.10s", "g.retry.1m", "g.retry.10m", "g.retry.1h", "g.retry.6h")
HOUR_S = 3_600.0


class Broker(FakeProducer):
    """Retry records come back to the retry source, stamped with when they were written."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self.source = FakeSource("retry")
        self.writes: dict[int, list[tuple[float, bool]]] = defaultdict(list)  # by position: when, and parked or not
        self._parks: dict[int, int] = defaultdict(int)
        self._loop = loop

    def produce(self, topic, key, content, headers, acked, partition=-1):
        taken = super().produce(topic, key, content, headers, acked, partition)
        if topic in TOPICS:
            last = self.records[-1]
            record = Record(topic, last.partition, last.offset, key, content, last.headers,
                            self._loop.wall_ns() // 1_000_000)  # fmt: skip
            state = journeys.decode(record.header(journeys.STATE_HEADER))
            assert isinstance(state, journeys.RunState)
            run = state.source[2]
            self.writes[run].append((self._loop.time(), state.parks > self._parks[run]))
            self._parks[run] = state.parks
            self._loop.call_soon(self.source.post, [record])
        return taken


class Hours:
    """A worker of two destinations, `well` and `ill`; each event calls one of them. No Kafka, no sockets."""

    def __init__(self, loop: VirtualLoop, script: Callable[[float], Answer | Failure | None], **limits: object) -> None:
        self.loop = loop
        self.errors: list[BaseException] = []
        self.telemetry = FakeTelemetry()
        self.broker = Broker(loop)
        self.ill = FakeEndpoint(lambda _h, _b: script(loop.time()), latency_s=0.02)
        self.well = FakeEndpoint(latency_s=0.02)
        own = OwnTopics(TOPICS, "g.dead", "g.outcomes", TIERS)
        self.settlement = Settlement(own, self.broker, self.telemetry, loop.wall_ns, dice(), lambda _: "r" * 32)
        watch = Watch(self.errors.append)
        chance = dice()
        self.lanes = {
            name: Lane(
                _destination(name, **limits), endpoint, self.settlement, self.telemetry, LaneStats(), loop.wall_ns,
                chance, self.errors.append, lambda: 1.0, watch,
            )
            for name, endpoint in (("well", self.well), ("ill", self.ill))
        }  # fmt: skip
        retry = RetryPolicy(8, 2 * DAY, retry_ambiguous=True, tiers_ms=TIERS, on_status={})
        routes = {name: (Route(name, "h", DAY, None, (_step(name, retry),)),) for name in self.lanes}
        plan = Plan(
            lambda value, start: value[start:].decode(),
            lambda datum, record: Event(f"e-{datum}", datum.partition("-")[0], record.timestamp_ms, "c", {}),
            routes,
        )
        process = Process(lambda *_: plan, self.lanes, self.settlement, self.telemetry, event_flag_max_age_ms=DAY)
        process.learn("in", REF, "known")
        self.input = FakeSource()
        self.intakes = [
            Intake(source, process, self.settlement, self.lanes.values(), self.broker, FakeSchemas({}), self.telemetry,
                   loop.wall_ns, self.errors.append, ledger_topic=ledger, drain_s=5.0)
            for source, ledger in ((self.input, "g.outcomes"), (self.broker.source, None))
        ]  # fmt: skip
        self.intakes[0].start()
        delays = dict(zip(TOPICS, TIERS, strict=True))
        calls = {(name, name): name for name in self.lanes}
        retries = self.intakes[1]
        retries.start(Release(delays, self.broker.source, loop.wall_ns, retries.due, retries.room, self.lanes, calls))
        self.input.assign(("in", 0, 0))
        self.broker.source.assign(*((topic, 0, 0) for topic in TOPICS))
        self.sent = 0

    async def live(self, seconds: float, every_s: float) -> None:
        """Send an event for each destination every so often."""
        until_s = self.loop.time() + seconds
        while self.loop.time() < until_s:
            stamp_ms = self.loop.wall_ns() // 1_000_000
            records = [
                Record("in", 0, self.sent + index, None, FRAME + f"{name}-{self.sent + index}".encode(), (), stamp_ms)
                for index, name in enumerate(("well", "ill"))
            ]
            self.sent += 2
            self.input.post(records)
            await asyncio.sleep(every_s)
            assert self.errors[:1] == []

    def outcomes(self) -> dict[str, list[outcome.OutcomeRow]]:
        """All outcome records by event."""
        found: dict[str, list[outcome.OutcomeRow]] = defaultdict(list)
        for record in self.broker.of("g.outcomes"):
            row = outcome.decode(record.value)
            if isinstance(row, outcome.OutcomeRow):
                found[row.event_id].append(row)
        return found

    def parked_writes(self) -> list[list[float]]:
        """When each run that was ever parked was written as such."""
        times = [[at for at, parked in writes if parked] for writes in self.broker.writes.values()]
        return [each for each in times if each]


def _destination(name: str, **limits: object) -> Destination:
    chosen: dict[str, object] = {"timeout_ms": 10_000, "concurrency": 64, "adaptive": True, "queue": 1_000,
                                 "breaker": BreakerPolicy()} | limits  # fmt: skip
    return Destination(name=name, host="h", port=1, tls=False, private_networks=(), rate_per_s=0.0,
                       response_bytes_max=1, drops_repeats=True, **chosen)  # type: ignore[arg-type]  # fmt: skip


def _step(name: str, retry: RetryPolicy):
    import dataclasses  # noqa: PLC0415

    made = step(name, destination=name)
    return dataclasses.replace(
        made, journey=name, retry=retry, outcome_prefix=outcome.prefix(name, "h", name, name, "op")
    )


def refused(_now_s: float) -> Answer:
    return Answer(401)


def dead(_now_s: float) -> Failure:
    return Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused")


def flapping(now_s: float) -> Answer | Failure:
    return Answer(204) if int(now_s) % 2 else dead(now_s)


def until_hour(trouble: Callable[[float], Answer | Failure]) -> Callable[[float], Answer | Failure]:
    return lambda now_s: trouble(now_s) if now_s < HOUR_S else Answer(204)


def run(script: Callable[[float], Answer | Failure | None], story, **limits: object) -> Hours:
    """Tell a story in virtual time; nothing of ours may fail in it."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)

        async def told() -> Hours:
            hours = Hours(loop, script, **limits)
            await story(hours)
            assert hours.errors == []
            for lane in hours.lanes.values():
                await lane.close()
            return hours

        return runner.run(told())


@pytest.mark.parametrize("trouble", [refused, dead, flapping])
def test_an_hour_of_trouble_writes_a_parked_run_at_most_twice_and_loses_nothing(trouble) -> None:
    seen: dict[str, float] = {}

    async def story(hours: Hours) -> None:
        await hours.live(HOUR_S, 0.5)
        await asyncio.sleep(1.0)
        assert len(hours.well.requests) == hours.sent // 2, "the other destination has had all of its own"
        tracker = hours.intakes[0].trackers["in", 0]
        assert tracker.watermark() == hours.sent, "no position waits for the destination in trouble"
        assert hours.broker.of("g.dead") == []
        seen["parked"] = len(hours.parked_writes())
        seen["until"] = hours.loop.time()
        await asyncio.sleep(0.25 * HOUR_S)

    hours = run(until_hour(trouble), story)
    parked = hours.parked_writes()
    if trouble is not flapping:
        assert len(parked) > 7_000
    for times in parked:
        assert all(later - first >= HOUR_S for first, later in zip(times, times[2:], strict=False)), times
    found = hours.outcomes()
    assert len(found) == hours.sent
    finals = {event: [row for row in rows if row.outcome != "retrying"] for event, rows in found.items()}
    assert {(len(rows), rows[0].outcome) for rows in finals.values() if rows} == {(1, "delivered")}
    assert all(finals.values()), "a quarter of an hour after the trouble, all of it is delivered"
    assert hours.broker.of("g.dead") == []
