"""run/aside: a crowded partition waits, alone and in order, and goes on by itself."""

from __future__ import annotations

import pytest

from pipeline.core import progress
from pipeline.model import Answer, Record
from pipeline.run import aside, consume
from pipeline.run.consume import Intake
from pipeline.run.release import Release
from pipeline.testing.fakes import FakeEndpoint, FakeSchemas, FakeSource
from tests.unit.run.conftest import until
from tests.unit.run.test_consume import Script, records

FETCHED = 50
"""Records of one fetch."""


def of(partition: int, *values: bytes, start: int = 0) -> list[Record]:
    return [Record("in", partition, start + n, None, each, (), 0) for n, each in enumerate(values)]


@pytest.fixture
async def intake(world, monkeypatch):
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    monkeypatch.setattr(aside, "CROWDED_S", 0.01)
    # Room for about 200 positions in the worst order.
    source = FakeSource()
    source.metadata_chars = len(progress.PREFIX) + (64 + 32) * 4 // 3
    made = Intake(
        source, Script(world), world.settlement, (), world.producer, FakeSchemas({}), world.telemetry,
        world.clock, world.errors.append, ledger_topic="g.outcomes", drain_s=0.1,
    )  # fmt: skip
    made.script = made._process
    made.start()
    yield made
    await made.stop()


async def test_a_crowded_partition_waits_alone_and_goes_on_in_order(world, intake) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: None)
    world.lane(endpoint, timeout_ms=60_000, concurrency=1, queue=5_000)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0), ("in", 1, 0))
    intake.source.post(of(0, b"go", *[b"empty", b"go"] * 400))
    intake.source.post(of(1, *[b"empty"] * 10))
    await until(lambda: ("in", 0) in intake._aside.kept)
    await until(lambda: intake.source.committed.get(("in", 1)) == 10)
    assert intake.source.paused == {("in", 0)}
    tracker = intake.trackers["in", 0]
    assert 100 < tracker.next < 500
    assert intake.source.in_inbox == 0
    assert [line[1] for line in world.telemetry.lines].count("partition_crowded") == 1
    seen = intake.script.seen
    seen.clear()
    endpoint.script = lambda _h, _b: Answer(204)
    endpoint.connections[0]._waiting.set_result(Answer(204))  # the head that was stuck
    await until(lambda: intake.source.committed[("in", 0)] == 801)
    assert seen == list(range(seen[0], 801))
    assert intake.source.paused == set()


async def test_what_is_set_aside_of_a_partition_that_went_is_dropped(world, intake) -> None:
    world.lane(FakeEndpoint(lambda _h, _b: None), timeout_ms=60_000, concurrency=1, queue=5_000)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(of(0, *[b"go"] * 500))
    await until(lambda: bool(intake._aside.kept))
    intake.source.revoke(("in", 0), lost=True)
    assert not intake._aside.kept


async def test_retry_records_of_a_crowded_partition_wait_unreceived(world, monkeypatch) -> None:
    monkeypatch.setattr(aside, "CROWDED_S", 0.01)
    source = FakeSource("retry")
    source.metadata_chars = len(progress.PREFIX) + (64 + 32) * 4 // 3
    made = Intake(
        source, Script(world), world.settlement, (), world.producer, FakeSchemas({}), world.telemetry,
        world.clock, world.errors.append, ledger_topic=None, drain_s=0.1,
    )  # fmt: skip
    release = Release({"in": 10_000_000}, source, world.clock, made.due, made.room, {}, {})
    made.start(release)
    source.assign(("in", 0, 0))
    source.post([each.__class__("in", 0, n, None, b"x", (), world.clock() // 1_000_000) for n, each in
                 enumerate(records(*[b"x"] * 600))])  # fmt: skip
    tracker = made.trackers["in", 0]
    assert 100 < tracker.next < 500
    assert release.count(("in", 0)) == tracker.next
    waiting = len(made._aside.kept["in", 0][1])
    assert waiting == 600 - tracker.next
    for offset in range(tracker.next):
        tracker.settled(offset)
    await until(lambda: len(made._aside.kept.get(("in", 0), ((), ()))[1]) < waiting)
    assert tracker.next > 600 - waiting
    await made.stop()


async def test_parallel_consumer_832_a_crowded_partition_is_not_fetched_without_end(world, intake) -> None:
    world.lane(FakeEndpoint(lambda _h, _b: None), timeout_ms=60_000, concurrency=1, queue=50_000)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0), ("in", 1, 0))
    fetched = 0
    while fetched < 10_000 and ("in", 0) not in intake.source.paused:  # as a client does: whatever is not paused
        intake.source.post(of(0, *[b"go"] * FETCHED, start=fetched))
        fetched += FETCHED
        await until(lambda: intake.source.in_inbox == 0)
    received = intake.trackers["in", 0].next
    kept = intake._aside.kept["in", 0][1]
    assert received < 500
    assert received + len(kept) == fetched, "nothing is lost"
    assert len(kept) <= FETCHED
    intake.source.post(of(1, *[b"empty"] * 10))
    await until(lambda: intake.source.committed.get(("in", 1)) == 10)


async def test_parallel_consumer_857_a_crowded_partition_that_comes_back_goes_on(world, intake) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: None)
    world.lane(endpoint, timeout_ms=60_000, concurrency=1, queue=5_000)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(of(0, *[b"go"] * 500))
    await until(lambda: bool(intake._aside.kept))
    intake.source.revoke(("in", 0), lost=True)
    intake.source.assign(("in", 0, 0))
    intake.source.post(of(0, *[b"empty"] * 500))
    await until(lambda: intake.source.committed == {("in", 0): 500})
