"""What a lane costs, counted instead of timed: Python calls of a delivery, with one destination and with 500."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

import pipeline
from pipeline.run.lease import Lease
from pipeline.run.watch import SWEEP_S, Watch
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import step, until

CALLS_PER_DELIVERY = 25
"""Of run/ and core/, from `offer` to `finish`, with a connection that is open: measured 22.1 on CPython 3.11."""
DESTINATIONS = 500
DELIVERIES = 1_000
IN_FLIGHT = 64
COUNTING_S = 90.0
"""A turn of the loop takes many times as long while it is counted: on a busy machine the lease would run out."""

ROOT = str(Path(pipeline.__file__).parent)
COUNTED = (f"{ROOT}/run/", f"{ROOT}/core/")
NOT_THE_LANE = ("settle.py", "offsets.py", "outcome.py", "deadletter.py")
BY_THE_CLOCK = {"sweep", "_sweep", "look", "renew", "check", "__len__", "<listcomp>", "admits"}


async def calls(world, lanes, wanted: int, *, counting: bool = True) -> Counter[str]:
    """Work off so many deliveries, in turn through each lane, a few at a time; count the calls, which takes long."""
    first = world.tracker.next
    deliveries = [world.deliveries(step())[0] for _ in range(wanted)]
    counted: Counter[str] = Counter()

    def count(frame, event, _argument):
        code = frame.f_code
        place = Path(code.co_filename).name
        if event == "call" and code.co_filename.startswith(COUNTED) and place not in NOT_THE_LANE:
            counted[f"{place}:{code.co_qualname}"] += code.co_name not in BY_THE_CLOCK

    sys.setprofile(count if counting else None)
    try:
        for start in range(0, wanted, IN_FLIGHT):
            for index in range(start, min(start + IN_FLIGHT, wanted)):
                lanes[index % len(lanes)].offer(deliveries[index])
            assert not lanes[0].watch.holding(retries=False)  # as run/consume asks once a turn
            upto = min(first + start + IN_FLIGHT, first + wanted)
            await until(lambda upto=upto: world.errors or world.tracker.watermark() >= upto)
    finally:
        sys.setprofile(None)
    assert world.errors == []
    return counted


@pytest.fixture
async def many(world):
    watch = Watch(world.errors.append, Lease(COUNTING_S))
    endpoints = [FakeEndpoint() for _ in range(DESTINATIONS)]
    lanes = [
        world.lane(endpoint, name=f"d{index}", concurrency=IN_FLIGHT, queue=1_000, adaptive=True, watch=watch)
        for index, endpoint in enumerate(endpoints)
    ]
    yield lanes
    watch.close()


async def test_five_hundred_destinations_cost_little_more_than_one(world, many) -> None:
    alone = Watch(world.errors.append, Lease(COUNTING_S))
    one = [world.lane(FakeEndpoint(), name="one", concurrency=IN_FLIGHT, queue=1_000, adaptive=True, watch=alone)]
    for lanes in (one, many):
        await calls(world, lanes, DELIVERIES, counting=False)  # opens the connections
    few = await calls(world, one, DELIVERIES)
    lots = await calls(world, many, DELIVERIES)
    told = "\n".join(f"{few[name] / DELIVERIES:6.2f} {lots[name] / DELIVERIES:6.2f}  {name}" for name in lots | few)
    assert few["dispatch.py:Lane.offer"] == lots["dispatch.py:Lane.offer"] == DELIVERIES
    assert few.total() <= CALLS_PER_DELIVERY * DELIVERIES, told
    assert lots.total() <= 1.5 * few.total(), told
    alone.close()


async def test_lanes_with_nothing_to_do_are_not_swept_and_not_asked(world, many) -> None:
    counted: Counter[str] = Counter()

    def count(frame, event, _argument):
        if event == "call" and frame.f_code.co_filename.startswith(COUNTED):
            counted[frame.f_code.co_qualname] += 1

    many[7].offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 1)
    sys.setprofile(count)
    try:
        await until(lambda: counted["Watch._sweep"] >= 3, bound_s=50 * SWEEP_S)
        for _ in range(100):
            many[0].watch.holding(retries=False)
    finally:
        sys.setprofile(None)
    assert counted["Lane.sweep"] == counted["Watch._sweep"], "the one with a connection, and no other"
    assert counted["Lane.holds"] == counted["Lane.holds_retries"] == 0
