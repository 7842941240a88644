"""run/aftermath: what an attempt's end means for its delivery, for the queue behind it, and for the lane's window."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.model import Answer, BreakerPolicy, Failure, FailureClass
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import step, until


async def test_many_rejections_park_what_comes_after_them(world) -> None:
    """An expired key that is answered with 403 must not dead-letter the stream."""
    breaker = BreakerPolicy(open_ms=60_000, open_max_ms=60_000, rejections=0.2, rejections_of=20)
    lane = world.lane(FakeEndpoint(lambda _h, _b: Answer(403)), concurrency=1, queue=1_000, breaker=breaker)
    for _ in range(200):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 200)
    outcomes = [row.outcome for row in world.outcomes()]
    assert (outcomes.count("rejected"), outcomes.count("retrying")) == (20, 180)
    assert lane.stats.state == "open"
    assert {row.reason for row in world.outcomes()} == {"client_error"}


@pytest.mark.parametrize(
    ("result", "narrows"),
    [
        (Answer(429), True),
        (Answer(503), True),
        (Failure(FailureClass.TIMEOUT, sent=True), True),
        (Answer(500), False),
        (Answer(422), False),
        (Failure(FailureClass.CONNECTION, sent=False), False),
    ],
)
async def test_what_says_that_it_was_too_much_at_once_narrows_the_window(world, result, narrows) -> None:
    breaker = BreakerPolicy(1.0, 10_000, rejections=1.0, rejections_of=10_000)
    lane = world.lane(FakeEndpoint(lambda _h, _b: result), concurrency=64, adaptive=True, queue=100, breaker=breaker)
    before = lane.stats.limit
    for _ in range(20):
        lane.offer(world.deliveries(step(in_process=()))[0])
    await until(lambda: world.tracker.watermark() == 20)
    assert (lane.stats.limit < before) is narrows


async def test_an_adaptive_lane_opens_seats_as_its_window_widens(world) -> None:
    endpoint = FakeEndpoint(latency_s=0.001)
    lane = world.lane(endpoint, concurrency=32, adaptive=True, queue=5_000)
    started = endpoint.script

    def script(head, body):
        world.clock.advance(1)  # a clock that moves, so that answers take time
        return started(head, body)

    endpoint.script = script
    for _ in range(2_000):
        lane.offer(world.deliveries(step())[0])
    assert len(lane._seats) == lane.stats.limit < 32
    await until(lambda: world.tracker.watermark() == 2_000)
    assert len(endpoint.connections) > 8


async def test_a_narrower_window_is_kept_to(world) -> None:
    peak = 0
    endpoint = FakeEndpoint(latency_s=0.001)
    lane = world.lane(endpoint, concurrency=16, queue=5_000)
    for _ in range(400):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: len(endpoint.connections) == 16)
    lane._pace.limit = 3
    await until(lambda: len(lane._idle) == 13)
    while lane._backlog:
        peak = max(peak, len(lane._seats) - len(lane._idle))
        await asyncio.sleep(0)
    assert peak == 3


async def test_a_lane_that_drains_waits_for_nothing_here(world) -> None:
    lane = world.lane(FakeEndpoint(lambda _h, _b: None), concurrency=1, timeout_ms=60_000)
    lane.offer(world.deliveries(step())[0])
    await until(lambda: lane.stats.attempts == 1)
    lane.drain()
    lane.abort(lambda _: True)
    await until(lambda: world.tracker.watermark() == 1)
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("retrying", "timeout")]
    assert not lane._backlog.delayed
