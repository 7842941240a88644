"""Workers are killed, and stopped until their partitions have moved, while events keep coming."""

from __future__ import annotations

import time

import pytest

from tests.support.conditions import eventually

WORKERS = 3
PER_S = 80
FROZEN_S = 20.0
"""Longer than the consumers' session timeout (15 s): the broker gives the partitions of a stopped worker away."""

pytestmark = pytest.mark.timeout(600)


async def test_workers_that_are_killed_one_after_the_other(fleet_on, kafka_private, figures) -> None:
    fleet = fleet_on(kafka_private)
    await fleet.begin(WORKERS)
    async with fleet.load(PER_S):
        for victim in tuple(fleet.running):
            await fleet.under_way()
            await fleet.kill(victim)
            await fleet.start()
            await fleet.serving()
        await fleet.under_way()
    await figures.judge(
        fleet, "three workers killed (SIGKILL), one after the other",
        "test_workers_that_are_killed_one_after_the_other",
    )  # fmt: skip


async def test_workers_that_are_stopped_and_wake_up(fleet_on, kafka_private, figures) -> None:
    """The first of them follows the tables of the machine they share."""
    fleet = fleet_on(kafka_private)
    await fleet.begin(WORKERS)
    async with fleet.load(PER_S):
        for victim in tuple(fleet.running)[:2]:
            await fleet.under_way()
            stopped = await fleet.freeze(victim)
            await fleet.start()
            await fleet.serving()
            await eventually(lambda at_s=stopped.at_s: time.time() >= at_s + FROZEN_S, FROZEN_S + 1)
            await fleet.thaw(victim)
            await fleet.left()
        await fleet.under_way()
    await figures.judge(
        fleet, f"two workers stopped (SIGSTOP) for {FROZEN_S:.0f} s, then woken: they send nothing any more",
        "test_workers_that_are_stopped_and_wake_up",
    )  # fmt: skip
