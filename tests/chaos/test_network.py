"""The way between one worker and Kafka is cut and slowed; the other workers have theirs."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.conditions import eventually
from tests.support.fleet import KAFKA_AT

PER_S = 80
SHORT_S = 6.0
"""Below the session timeout: nobody notices."""
LONG_S = 30.0
"""Above it: the others have the partitions of the one that is cut off."""
SLOW_S = 20.0

pytestmark = pytest.mark.timeout(600)


async def _begin(fleet, way):
    await fleet.begin(2)
    victim = await fleet.start(**{KAFKA_AT: way.through})
    await fleet.serving()
    return victim


async def _passed(since_s: float, seconds: float) -> None:
    await eventually(lambda: time.time() >= since_s + seconds, seconds + 1)


async def test_a_worker_that_is_cut_off_for_less_than_a_session(fleet_on, way, figures) -> None:
    fleet = fleet_on(way.broker)
    victim = await _begin(fleet, way)
    async with fleet.load(PER_S):
        for cut in (way.proxy.cut, way.proxy.swallow):
            await fleet.under_way()
            fault = fleet.fault("cut", victim)
            await asyncio.to_thread(cut)
            await _passed(fault.at_s, SHORT_S)
            await asyncio.to_thread(way.proxy.restore)
            fault.until_s = time.time()
            await fleet.recovered()
        await fleet.under_way()
    await figures.judge(
        fleet, f"a worker cut off from Kafka for {SHORT_S:.0f} s, once with its connections closed, once without",
        "test_a_worker_that_is_cut_off_for_less_than_a_session", repeats_max=0,
    )  # fmt: skip


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_worker_that_is_cut_off_until_its_partitions_move(fleet_on, way, figures, protocol) -> None:
    fleet = fleet_on(way.broker, group_protocol=protocol)
    victim = await _begin(fleet, way)
    async with fleet.load(PER_S):
        await fleet.under_way()
        fault = fleet.fault("cut", victim)
        await asyncio.to_thread(way.proxy.swallow)
        await _passed(fault.at_s, LONG_S)
        await asyncio.to_thread(way.proxy.restore)
        fault.until_s = time.time()
        await fleet.recovered()
        await fleet.under_way()
    await figures.judge(
        fleet, f"a worker cut off from Kafka for {LONG_S:.0f} s, `group_protocol: {protocol}`: its partitions move",
        "test_a_worker_that_is_cut_off_until_its_partitions_move",
    )  # fmt: skip


async def test_a_worker_whose_way_to_kafka_is_slow(fleet_on, way, figures) -> None:
    fleet = fleet_on(way.broker)
    victim = await _begin(fleet, way)
    async with fleet.load(PER_S):
        await fleet.under_way()
        fault = fleet.fault("slow", victim)
        await asyncio.to_thread(way.proxy.slow, 400, 200, 40)
        await _passed(fault.at_s, SLOW_S)
        await asyncio.to_thread(way.proxy.restore)
        fault.until_s = time.time()
        await fleet.recovered()
        await fleet.under_way()
    await figures.judge(
        fleet, f"400 ms more each way (± 200) and 40 kB/s between a worker and Kafka, for {SLOW_S:.0f} s",
        "test_a_worker_whose_way_to_kafka_is_slow", repeats_max=0,
    )  # fmt: skip
