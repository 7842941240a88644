"""run/ under rebalances: what a worker must not do once a partition is another's, nor forget while it is its own."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from pipeline.core.offsets import Tracker
from pipeline.errors import Bug
from pipeline.model import Answer, BreakerPolicy, Event, GatePolicy, Plan, Route
from pipeline.run.asking import Asking
from pipeline.run.process import Process
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import DAY, FRAME, REF, retry_record, step, until


@pytest.fixture
def process(world) -> Process:
    plan = Plan(
        lambda value, start: value[start:],
        lambda _datum, record: Event(f"e-{record.offset}", "signup", record.timestamp_ms, "c", {}),
        {"signup": (Route("welcome", "h", DAY, None, (step(),)),)},
    )
    made = Process(
        lambda _topic, _schema: plan, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(DAY))
    )
    made.learn("in", REF, "known")
    return made


async def test_a_retry_record_that_comes_again_with_its_partition_is_done_again(world, process) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: None)
    lane = world.lane(endpoint, timeout_ms=60_000)
    record = retry_record(world, {"crm": (1, 0)})
    assert record.value is not None
    assert record.value.startswith(FRAME)
    first = world.tracker
    first.received(7)
    process.retry(record, first, world.clock())
    await until(lambda: len(endpoint.requests) == 1)
    world.settlement.forget(first)  # lost, with the attempt under way
    lane.abort(lambda _: True)
    endpoint.script = lambda _h, _b: Answer(204)
    second = Tracker("g.retry.10s", 0, 7)
    second.received(7)
    process.retry(record, second, world.clock())
    await until(lambda: second.watermark() == 8)
    assert [row.outcome for row in world.outcomes()] == ["delivered"]
    second.received(8)
    process.retry(dataclasses.replace(record, offset=8), second, world.clock())  # the copy a crash left behind
    assert second.watermark() == 9
    assert len(endpoint.requests) == 2


async def test_nothing_of_a_lost_partition_is_handed_over(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: Answer(401), latency_s=0.02)
    lane = world.lane(endpoint)
    lane.offer(world.deliveries(step())[0])
    await until(lambda: len(endpoint.requests) == 1)
    world.settlement.forget(world.tracker)
    await until(lambda: lane.stats.failures == {"auth": 1})
    assert world.producer.records == []


async def test_a_connection_that_opens_after_the_loss_sends_nothing_and_frees_the_probe(world) -> None:
    class Slow(FakeEndpoint):
        def __init__(self) -> None:
            super().__init__()
            self.opened = asyncio.Event()

        async def connect(self):
            await self.opened.wait()
            return await super().connect()

    endpoint = Slow()
    lane = world.lane(endpoint, timeout_ms=60_000, breaker=BreakerPolicy(0.5, 4, 1, 8))
    lane._breaker.trip(asyncio.get_running_loop().time())
    await until(lambda: lane._breaker.admits(asyncio.get_running_loop().time()))
    lane.offer(world.deliveries(step())[0])
    await until(lambda: lane.stats.attempts == 1)
    world.settlement.forget(world.tracker)
    lane.discard(lambda _: True)
    endpoint.opened.set()
    world.tracker = Tracker("in", 0, 0)
    await until(lambda: len(endpoint.connections) == 1)
    lane.offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 1)
    assert len(endpoint.requests) == 1
    assert lane._breaker.state == "closed"


async def test_a_seat_that_dies_in_judging_an_aborted_connect_is_fatal(world) -> None:
    class Never(FakeEndpoint):
        async def connect(self):
            await asyncio.Event().wait()

    lane = world.lane(Never(), timeout_ms=1)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    lane._after._settler = type("Broken", (), {"finish": broken, "later": broken})()
    lane.offer(world.deliveries(step(in_process=(60_000,)))[0])
    await until(lambda: bool(world.errors))
    assert isinstance(world.errors.pop(), ZeroDivisionError)


async def test_a_seat_that_ends_with_its_delivery_unsettled_is_fatal(world) -> None:
    class Cancelled(FakeEndpoint):
        async def connect(self):
            raise asyncio.CancelledError  # as from a future of the client that somebody else cancelled

    lane = world.lane(Cancelled())
    lane.offer(world.deliveries(step())[0])
    await until(lambda: bool(world.errors))
    error = world.errors.pop()
    assert isinstance(error, Bug)
    assert "without settling" in str(error)
    assert world.tracker.watermark() == 0


async def test_a_rate_without_a_share_is_no_licence(world) -> None:
    endpoint = FakeEndpoint()
    lane = world.lane(endpoint, rate_per_s=50.0, queue=100)
    lane._pace._share = lambda: 0.0
    lane._pace.look(asyncio.get_running_loop().time(), busy=False)
    assert lane._pace.bucket.rate < 50.0
    lane._pace.bucket._tokens = 0.0
    for _ in range(20):
        lane.offer(world.deliveries(step())[0])
    await asyncio.sleep(0.05)
    assert endpoint.requests == []
    lane._pace._share = lambda: 1.0
    await until(lambda: world.tracker.watermark() == 20)
