"""run/seen: a second record of the same starts nothing, and of two that workers lose to each other one is done."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from pipeline.core import runstate
from pipeline.model import ORIGIN, Answer, GatePolicy, Record
from pipeline.run.asking import Asking
from pipeline.run.consume import Intake
from pipeline.run.lines import TurnTracker
from pipeline.run.process import Process
from pipeline.run.seen import HOPS_REMEMBERED, Seen
from pipeline.testing.fakes import FakeEndpoint, FakeSchemas, FakeSource
from tests.support.logs import state
from tests.unit.run.conftest import DAY, FRAME, REF, Plans, World, retry_record, until

COPIES = "g.events"
TOPICS = {"input": "in", "events": COPIES, "retry": "g.retry.10s"}


class AtOnce:
    """A holder of retry records that are due."""

    def assigned(self, tracker) -> None:
        return

    def passed(self, record) -> None:
        return

    def forget(self, key) -> None:
        return

    def close(self) -> None:
        return

    def hold(self, records) -> None:
        self.intake.due(records)


class Worker:
    """A worker of one role, whose destination answers once it is told to."""

    def __init__(self, role: str) -> None:
        self.world = World()
        self.answer: Answer | None = None
        self.endpoint = FakeEndpoint(lambda _head, _body: self.answer)
        self.world.lane(self.endpoint, timeout_ms=60_000, concurrency=5)
        plans = Plans(self.world)
        self.process = Process(
            plans, self.world.lanes, self.world.settlement, self.world.telemetry, Asking(GatePolicy(DAY)),
            copies=COPIES, rekeyed=True,
        )  # fmt: skip
        self.process.learn("in", REF, "known")
        self.source = FakeSource(role)
        self.source.topics = (TOPICS[role],)
        self.intake = Intake(
            self.source, self.process, self.world.settlement, self.world.lanes.values(), self.world.producer,
            FakeSchemas({}), self.world.telemetry, self.world.clock, self.world.errors.append, ledger_topic=None,
            drain_s=0.0,
        )  # fmt: skip
        holder = AtOnce()
        holder.intake = self.intake
        self.intake.start(holder if role == "retry" else None)
        self.role = role

    def record(self, partition: int) -> Record:
        """One of the records of the same, at the same offset of another partition."""
        if self.role == "retry":
            return dataclasses.replace(retry_record(self.world, {"crm": (1, 0)}), partition=partition)
        now_ms = self.world.clock() // 1_000_000
        headers = ((ORIGIN, f"in/9/7/{now_ms}".encode()),) if self.role == "events" else ()
        return Record(TOPICS[self.role], partition, 7, b"k", FRAME + b"hello", headers, now_ms)

    def take(self, *partitions: int) -> None:
        for each in partitions:
            self.source.assign((TOPICS[self.role], each, 7))
            self.source.post([self.record(each)])

    def lose(self, partition: int) -> None:
        self.source.revoke((TOPICS[self.role], partition), lost=True)

    def sent(self) -> int:
        return len(self.endpoint.requests)

    def settled(self, partition: int) -> bool:
        return self.intake.trackers[TOPICS[self.role], partition].watermark() == 8


@pytest.fixture
async def two(role):
    made = Worker(role), Worker(role)
    yield made
    for each in made:
        await each.intake.stop()
        for lane in each.world.lanes.values():
            with contextlib.suppress(asyncio.CancelledError):
                await lane.close()
        assert each.world.errors == []


every = pytest.mark.parametrize("role", TOPICS)


@every
async def test_of_two_records_of_the_same_that_workers_lose_to_each_other_none_takes_the_others_for_the_first(
    two,
) -> None:
    first, second = two
    first.take(0)
    second.take(1)
    await until(lambda: first.sent() == second.sent() == 1)
    first.lose(0)
    second.lose(1)
    first.answer = second.answer = Answer(204)
    first.take(1)
    second.take(0)
    await until(lambda: first.settled(1) and second.settled(0))
    assert (first.sent(), second.sent()) == (2, 2)


@every
async def test_what_was_settled_here_is_known_when_its_partition_has_gone(two) -> None:
    worker, _ = two
    worker.answer = Answer(204)
    worker.take(0)
    await until(lambda: worker.settled(0))
    worker.lose(0)
    worker.take(1)
    await until(lambda: worker.settled(1))
    assert worker.sent() == 1


@every
async def test_what_is_open_here_is_known_whatever_else_goes(two) -> None:
    worker, _ = two
    worker.take(0)
    await until(lambda: worker.sent() == 1)
    worker.take(1)
    worker.lose(1)
    worker.take(2)
    await until(lambda: worker.settled(2))
    worker.answer = Answer(204)
    assert worker.sent() == 1


@every
async def test_a_partition_that_came_back_before_it_was_let_go_of_keeps_what_is_known(two) -> None:
    worker, _ = two
    worker.take(0)
    await until(lambda: worker.sent() == 1)
    released = worker.source.revoke((TOPICS[worker.role], 0))  # its drain outlives the rebalance
    worker.take(0)
    await until(lambda: worker.sent() == 2)
    await asyncio.wait_for(released.wait(), 5)
    worker.take(1)
    await until(lambda: worker.settled(1))
    assert worker.sent() == 2


async def test_a_run_that_waits_in_a_log_is_not_taken_for_one_that_is_done_here() -> None:
    """Nothing of it is under way, and it is not over."""
    tracker = TurnTracker("log", 0, 0)
    seen = Seen("")
    waits = runstate.decode(state(1))
    for offset in (0, 1):
        tracker.received(offset)
        assert not seen.hop(runstate.decode(state(1 + offset)), Record("log", 0, offset, b"a", b"v", (), 0))
    tracker.close(1)
    seen.forget([tracker], [])
    assert not seen.hop(waits, Record("log", 1, 0, b"a", b"v", (), 0))
    assert seen.hop(runstate.decode(state(2)), Record("log", 1, 1, b"a", b"v", (), 0)), "that one is over"


async def test_only_so_many_hops_are_remembered() -> None:
    seen = Seen("")
    for number in range(HOPS_REMEMBERED + 1):
        seen.hop(runstate.decode(state(number)), Record("r", 0, number, b"a", b"v", (), 0))
    assert not seen.hop(runstate.decode(state(0)), Record("r", 1, 0, b"a", b"v", (), 0))
    assert seen.hop(runstate.decode(state(HOPS_REMEMBERED)), Record("r", 1, 1, b"a", b"v", (), 0))
