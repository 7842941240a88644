"""One journey of one worker that has tables and a memory, over fakes: what gates say is done."""

from __future__ import annotations

import dataclasses

from pipeline.model import GatePolicy
from pipeline.run.asking import Asking
from pipeline.run.process import Process
from pipeline.testing.fakes import FakeEndpoint, FakeMemories, FakeTables
from tests.unit.run.conftest import DAY, REF, Plans, take, until


class Gated:
    """One journey of one worker that has tables and a memory. The clock stands at 22:13:20 UTC."""

    def __init__(self, world, *steps, statuses=None, **of_route) -> None:
        self.world = world
        self.endpoint = FakeEndpoint()
        self.tables, self.memories = FakeTables(), FakeMemories()
        self.asking = Asking(GatePolicy(DAY), self.tables, self.memories, statuses)
        world.lane(self.endpoint, again=self.asking.again)
        self.plans = Plans(world, *steps)
        self.plans.of_route = {"category": "promotional", "shares": "welcome"} | of_route
        self.process = Process(self.plans, world.lanes, world.settlement, world.telemetry, self.asking)
        self.process.learn("in", REF, "known")

    @property
    def now_ms(self) -> int:
        return self.world.clock() // 1_000_000

    def take(self, **over) -> None:
        assert take(self.world, self.process, "hello", **over) is None

    def resume(self, record) -> None:
        offset = self.world.tracker.next
        self.world.tracker.received(offset)
        record = dataclasses.replace(record, offset=offset, timestamp_ms=self.now_ms)
        assert self.process.retry(record, self.world.tracker, self.world.clock()) is None

    async def ended(self, number=1) -> list[tuple[str, str, int]]:
        await until(lambda: len(self.world.outcomes()) >= number)
        return [(row.outcome, row.reason, row.attempts) for row in self.world.outcomes()]

    def handed_over(self):
        return [each for each in self.world.producer.records if each.topic.startswith("g.retry")]
