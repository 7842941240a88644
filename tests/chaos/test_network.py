"""The way between one worker and Kafka is cut and slowed; the other workers have theirs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.conditions import eventually
from tests.support.fleet import KAFKA_AT

if TYPE_CHECKING:
    from collections.abc import Callable

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


async def _trouble(fleet, way, victim, kind: str, seconds: float, begin: Callable[..., None], *how: int) -> None:
    """Cut or slow the victim's way to Kafka for so long, then wait until it works again."""
    await fleet.under_way()
    fault = fleet.fault(kind, victim)
    await asyncio.to_thread(begin, *how)
    await _passed(fault.at_s, seconds)
    await asyncio.to_thread(way.proxy.restore)
    fault.until_s = time.time()
    await fleet.recovered()


async def test_a_worker_that_is_cut_off_for_less_than_a_session(fleet_on, way, figures) -> None:
    fleet = fleet_on(way.broker)
    victim = await _begin(fleet, way)
    async with fleet.load(PER_S):
        for cut in (way.proxy.cut, way.proxy.swallow):
            await _trouble(fleet, way, victim, "cut", SHORT_S, cut)
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
        await _trouble(fleet, way, victim, "cut", LONG_S, way.proxy.swallow)
        await fleet.under_way()
    await figures.judge(
        fleet, f"a worker cut off from Kafka for {LONG_S:.0f} s, `group_protocol: {protocol}`: its partitions move",
        "test_a_worker_that_is_cut_off_until_its_partitions_move",
    )  # fmt: skip


async def test_a_worker_whose_way_to_kafka_is_slow(fleet_on, way, figures) -> None:
    fleet = fleet_on(way.broker)
    victim = await _begin(fleet, way)
    async with fleet.load(PER_S):
        await _trouble(fleet, way, victim, "slow", SLOW_S, way.proxy.slow, 400, 200, 40)
        await fleet.under_way()
    await figures.judge(
        fleet, f"400 ms more each way (± 200) and 40 kB/s between a worker and Kafka, for {SLOW_S:.0f} s",
        "test_a_worker_whose_way_to_kafka_is_slow", repeats_max=0,
    )  # fmt: skip
