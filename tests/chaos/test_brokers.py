"""The broker is restarted and killed; of a cluster of three, one is killed."""

from __future__ import annotations

import asyncio
import time

import pytest

WORKERS = 3
PER_S = 80
TIMES = 2

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_a_broker_that_goes_away_and_comes_back(fleet_on, kafka_private, figures, how) -> None:
    fleet = fleet_on(kafka_private)
    await fleet.begin(WORKERS)
    async with fleet.load(PER_S):
        for _ in range(TIMES):
            await fleet.under_way()
            fault = fleet.fault("broker")
            await asyncio.to_thread(getattr(kafka_private, how))
            await asyncio.to_thread(kafka_private.start)
            fault.until_s = time.time()
            await fleet.recovered()
        await fleet.under_way()
    done = {"stop": "restarted in good order", "kill": "killed (SIGKILL) and started again"}[how]
    away = " and ".join(f"{each.until_s - each.at_s:.0f} s" for each in fleet.faults)
    await figures.judge(
        fleet, f"the only broker {done}, twice: away for {away}", "test_a_broker_that_goes_away_and_comes_back"
    )


async def test_one_of_three_brokers_that_is_killed(fleet_on, cluster, figures) -> None:
    """The one that coordinates the group: commits and heartbeats have to find another."""
    fleet = fleet_on(cluster)
    await fleet.begin(WORKERS)
    async with fleet.load(PER_S):
        for _ in range(TIMES):
            await fleet.under_way()
            victim = await asyncio.to_thread(cluster.coordinator, fleet.system.group)
            fault = fleet.fault("broker")
            await asyncio.to_thread(cluster.kill, victim)
            await fleet.under_way(PER_S * 5)  # all goes on without it
            fault.until_s = time.time()
            await asyncio.to_thread(cluster.start, victim)
            await fleet.recovered()
        await fleet.under_way()
    await figures.judge(
        fleet, "of three brokers (three replicas, two in sync) the group's coordinator killed, twice",
        "test_one_of_three_brokers_that_is_killed",
    )  # fmt: skip
