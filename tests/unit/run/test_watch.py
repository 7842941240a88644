"""run/watch: only lanes with something to do are swept, and only full ones are asked whether they hold."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.run import lease, watch
from pipeline.run.watch import Watch


class FakeLane:
    def __init__(self) -> None:
        self.sweeps = 0
        self.asked = 0
        self.busy = True
        self.first = self.retry = False

    def sweep(self, now_s: float) -> bool:
        self.sweeps += 1
        return self.busy

    def holds(self) -> bool:
        self.asked += 1
        return self.first

    def holds_retries(self) -> bool:
        return self.retry


@pytest.fixture
async def watched(monkeypatch):
    monkeypatch.setattr(watch, "SWEEP_S", 0.001)
    errors: list[BaseException] = []
    made = Watch(errors.append)
    made.errors = errors  # type: ignore[attr-defined]
    yield made
    made.close()


async def test_a_lane_is_swept_from_when_it_wakes_until_it_has_nothing_left(watched) -> None:
    busy, asleep = FakeLane(), FakeLane()
    watched.wake(busy)
    async with asyncio.timeout(5):
        while busy.sweeps < 3:
            await asyncio.sleep(0)
    busy.busy = False
    before = busy.sweeps
    woken = FakeLane()
    watched.wake(woken)
    async with asyncio.timeout(5):
        while woken.sweeps < 5:
            await asyncio.sleep(0)
    assert busy.sweeps == before + 1
    assert asleep.sweeps == 0


async def test_nobody_is_asked_while_nobody_is_full(watched) -> None:
    lane = FakeLane()
    assert not watched.holding(retries=False)
    watched.full.add(lane)
    lane.first = True
    assert watched.holding(retries=False)
    assert not watched.holding(retries=True), "retries wait for a queue of their own"
    lane.first = False
    assert not watched.holding(retries=False)
    asked = lane.asked
    assert not watched.holding(retries=False)
    assert lane.asked == asked, "it is forgotten until it is full again"


async def test_a_process_that_stood_still_is_told_and_sweeps_nothing(watched, monkeypatch) -> None:
    lane = FakeLane()
    monkeypatch.setattr(watched, "lease", lease.Lease(-1.0))
    watched.wake(lane)
    async with asyncio.timeout(5):
        while not watched.errors:
            await asyncio.sleep(0)
    assert lane.sweeps == 0
    assert "stood still" in str(watched.errors[0])
