"""A journey that keeps order, while workers are killed and stopped and the broker dies: nobody is overtaken."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.support.conditions import eventually
from tests.support.inorder import OrderedFleet

WORKERS = 3
PER_S = 80
FROZEN_S = 20.0
"""Longer than the consumers' session timeout (15 s): the broker gives the partitions of a stopped worker away."""

pytestmark = pytest.mark.timeout(600)


async def test_customers_keep_their_order_whatever_dies(fleet_on, kafka_private, figures) -> None:
    fleet = fleet_on(kafka_private, kind=OrderedFleet)
    await fleet.begin(WORKERS)
    async with fleet.load(PER_S):
        await _one_is_killed(fleet)
        await fleet.under_way()
        victim = fleet.running[0]
        stopped = await fleet.freeze(victim)
        await fleet.start()
        await fleet.serving()
        await eventually(lambda: time.time() >= stopped.at_s + FROZEN_S, FROZEN_S + 1)
        await fleet.thaw(victim)
        await fleet.left()
        await fleet.under_way()
        fault = fleet.fault("broker")
        await asyncio.to_thread(kafka_private.kill)
        await asyncio.to_thread(kafka_private.start)
        fault.until_s = time.time()
        await fleet.recovered()
        await _one_is_killed(fleet)
        await fleet.under_way()
    await figures.judge(
        fleet, f"`ordering: key`: a worker killed, one stopped for {FROZEN_S:.0f} s, the only broker killed, a worker "
        "killed: no customer's event was overtaken",
        "test_customers_keep_their_order_whatever_dies",
    )  # fmt: skip
    assert fleet.overtaken() == []
    fleet.judge_turns(fleet.attribution())


async def _one_is_killed(fleet: OrderedFleet) -> None:
    await fleet.under_way()
    await fleet.kill(fleet.running[0])
    await fleet.start()
    await fleet.serving()
