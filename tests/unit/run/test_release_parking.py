"""Parking, proven with the code that runs: hours beside destinations in trouble, on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pipeline.model import Answer, Failure, FailureClass
from pipeline.testing.fakes import FakeEndpoint
from pipeline.testing.virtual import VirtualLoop
from tests.support.oneprocess import OneProcess, destination

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Trouble = Callable[[float], Answer | Failure]

HOUR_S = 3_600.0
EVERY_S = 0.5


def refused(_now_s: float) -> Answer:
    return Answer(401)


def dead(_now_s: float) -> Failure:
    return Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused")


def flapping(now_s: float) -> Answer | Failure:
    return Answer(204) if int(now_s) % 2 else dead(now_s)


class Story:
    """Events for a destination that is well and for one that is ill until a time, both asked every EVERY_S."""

    def __init__(self, loop: VirtualLoop, trouble: Trouble, until_s: float) -> None:
        self.loop = loop
        self.well = FakeEndpoint(latency_s=0.02)
        self.ill = FakeEndpoint(
            lambda _h, _b: trouble(loop.time()) if loop.time() < until_s else Answer(204), latency_s=0.02
        )
        self.worker = OneProcess(
            loop,
            loop.wall_ns,
            {"well": (destination("well"), lambda _: self.well), "ill": (destination("ill"), lambda _: self.ill)},
        )

    async def live(self, seconds: float) -> None:
        until_s = self.loop.time() + seconds
        while self.loop.time() < until_s:
            self.worker.send("well", "ill")
            await asyncio.sleep(EVERY_S)
        await asyncio.sleep(1.0)


def tell(trouble: Trouble, until_s: float, story: Callable[[Story], Awaitable[None]]) -> OneProcess:
    """Tell a story in virtual time; nothing of ours may fail in it."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)

        async def told() -> OneProcess:
            made = Story(loop, trouble, until_s)
            await story(made)
            await made.worker.close()
            return made.worker

        return runner.run(told())


@pytest.mark.parametrize("trouble", [refused, dead, flapping])
def test_an_hour_of_trouble_writes_a_parked_run_at_most_twice_and_loses_nothing(trouble) -> None:
    async def hour(story: Story) -> None:
        await story.live(HOUR_S)
        worker = story.worker
        assert len(story.well.requests) == worker.sent // 2, "the other destination has had all of its own"
        assert worker.intake.trackers["in", 0].watermark() == worker.sent, "no position waits for the one in trouble"
        assert worker.broker.of("g.dead") == []
        assert trouble is flapping or len(worker.broker.parked()) > 7_000
        await asyncio.sleep(HOUR_S / 4)

    worker = tell(trouble, HOUR_S, hour)
    for times in worker.broker.parked():
        assert all(later - first >= HOUR_S for first, later in zip(times, times[2:], strict=False)), times
    found = worker.outcomes()
    assert len(found) == worker.sent
    finals = [[row.outcome for row in rows if row.outcome != "retrying"] for rows in found.values()]
    assert all(each == ["delivered"] for each in finals), "a quarter of an hour after the trouble all is delivered"
    assert worker.broker.of("g.dead") == []


@pytest.mark.parametrize("trouble", [refused, dead])
def test_without_new_deliveries_a_parked_run_is_the_probe(trouble) -> None:
    async def night(story: Story) -> None:
        await story.live(60.0)
        await asyncio.sleep(2 * HOUR_S)
        assert story.worker.settlement.outcome_counts.get(("ill", "delivered"), 0) == 0
        await asyncio.sleep(HOUR_S / 4)

    worker = tell(trouble, 2 * HOUR_S + 60.0, night)
    runs = worker.sent // 2
    assert worker.settlement.outcome_counts == {("well", "delivered"): runs, ("ill", "delivered"): runs}
    parked = worker.broker.parked()
    written = sum(map(len, parked))
    assert written <= runs * (2 + 1 + 1) + 2 * 6 * 3, "twice in the first hour, once in each other, and the probes"


@pytest.mark.parametrize("seconds", [20.0, 120.0])
def test_after_a_short_outage_nothing_waits_for_its_tier(seconds) -> None:
    async def outage(story: Story) -> None:
        await story.live(seconds)
        await asyncio.sleep(2 * seconds + 90.0)
        assert story.worker.settlement.outcome_counts == {
            ("well", "delivered"): story.worker.sent // 2, ("ill", "delivered"): story.worker.sent // 2,
        }  # fmt: skip

    tell(dead, seconds, outage)
