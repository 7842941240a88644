"""run/consume under rebalances that overlap with drains, stops and each other, and what keeps it bounded."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.model import Record
from pipeline.run import commits, consume, lookup
from pipeline.run.consume import Intake
from pipeline.run.release import Release
from pipeline.testing.fakes import FakeEndpoint, FakeSchemas, FakeSource
from tests.unit.run.conftest import until
from tests.unit.run.test_consume import Script, ledgers, records


@pytest.fixture
async def intake(world, monkeypatch):
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    made = Intake(
        FakeSource(), Script(world), world.settlement, (), world.producer, FakeSchemas({}), world.telemetry,
        world.clock, world.errors.append, ledger_topic="g.outcomes", drain_s=0.3,
    )  # fmt: skip
    made.start()
    yield made
    await made.stop()


async def stuck(world, intake) -> FakeEndpoint:
    """Assign a partition and leave an attempt under way that nobody answers."""
    endpoint = FakeEndpoint(lambda _h, _b: None)
    world.lane(endpoint, timeout_ms=60_000)
    intake._take = Script(world).record
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"go"))
    await until(lambda: len(endpoint.requests) == 1)
    return endpoint


async def test_a_drain_that_outlives_its_rebalance_leaves_the_new_assignment_alone(world, intake) -> None:
    await stuck(world, intake)
    released = intake.source.revoke(("in", 0))
    intake.source.assign(("in", 0, 0))  # the source gave up waiting, and the partition came back
    new = intake.trackers["in", 0]
    await asyncio.wait_for(released.wait(), 5)
    assert intake.trackers == {("in", 0): new}
    assert not new.closed
    intake.source.post(records(b"empty"))
    await until(lambda: intake.source.committed == {("in", 0): 1})


async def test_a_partition_revoked_during_a_stop_is_drained_and_committed_first(world, intake) -> None:
    world.lane(FakeEndpoint(latency_s=0.05))
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"go"))
    await until(lambda: world.settlement.unsettled() == 1)
    stopping = asyncio.ensure_future(intake.stop())
    await asyncio.sleep(0)
    released = intake.source.revoke(("in", 0))
    assert not released.is_set()
    await asyncio.wait_for(released.wait(), 5)
    assert intake.source.committed == {("in", 0): 1}
    await stopping


async def test_a_stop_does_not_wait_for_what_was_lost_meanwhile(world, intake) -> None:
    intake._drain_s = 60.0
    await stuck(world, intake)
    stopping = asyncio.ensure_future(intake.stop())
    await asyncio.sleep(0)
    intake.source.revoke(("in", 0), lost=True)
    await asyncio.wait_for(stopping, 5)
    assert intake.source.committed == {}


async def test_a_lost_partition_may_be_named_again(world, intake) -> None:
    await stuck(world, intake)
    draining = intake.source.revoke(("in", 0))
    intake.source.revoke(("in", 0), lost=True)
    await asyncio.wait_for(draining.wait(), 5)
    assert intake.trackers == {}


async def test_after_something_fatal_nothing_is_committed_any_more(world, intake) -> None:
    intake.source.assign(("in", 0, 0))
    world.producer.holding = True
    intake.source.post(records(b"empty"))
    await until(lambda: len(ledgers(world)) == 1)
    intake.halt()
    world.producer.holding = False
    world.producer.ack()
    assert intake.source.committed == {}


async def test_a_long_ledger_is_written_in_pieces_that_cover_it_all(world, intake, monkeypatch) -> None:
    monkeypatch.setattr(commits, "LEDGER_RANGES", 2)
    intake.source.assign(("in", 0, 0))
    intake.source.post([Record("in", 0, 2 * n, None, b"empty", (), 0) for n in range(5)])  # every second one is a gap
    await until(lambda: intake.source.committed == {("in", 0): 9})
    rows = ledgers(world)
    assert len(rows) > 1
    assert [row.first for row in rows] == [0, *(row.next for row in rows[:-1])]
    assert rows[-1].next == 9
    assert sum(len(row.empty) for row in rows) == 9


async def test_a_ledger_that_cannot_be_written_is_fatal_not_forgotten(world, intake) -> None:
    intake.source.assign(("in", 0, 0))
    intake.trackers["in", 0].received(0)
    world.producer._record_bytes_max = 1
    world.settlement.empty(intake.trackers["in", 0], 0, "no_journey")
    with pytest.raises(Exception, match="does not fit"):
        intake._commits.commit(intake.trackers["in", 0])
    world.producer._record_bytes_max = 1_000_000
    intake.halt()


async def test_consumption_waits_at_its_bounds(world, intake, monkeypatch) -> None:
    endpoint = await stuck(world, intake)
    monkeypatch.setattr(consume, "UNSETTLED_BYTES", 1)
    assert intake._blocked()
    intake.source.post(records(b"go", start=6))
    await asyncio.sleep(0.02)
    assert len(endpoint.requests) == 1
    assert world.settlement.unsettled_bytes > 0
    intake.source.revoke(("in", 0), lost=True)
    assert world.settlement.unsettled_bytes == 0


async def test_a_retry_backlog_that_is_all_due_waits_where_it_is_bounded(world) -> None:
    source = FakeSource("retry")
    intake = Intake(
        source, Script(world), world.settlement, (), world.producer, FakeSchemas({}), world.telemetry, world.clock,
        world.errors.append, ledger_topic=None, drain_s=0.3,
    )  # fmt: skip
    intake.start(Release({"r.10s": 10_000}, source, world.clock, intake.due, intake.room, {}, {}))
    source.assign(("r.10s", 0, 0))
    world.producer.overfull = True
    for start in range(0, 3_000, 500):
        source.post([Record("r.10s", 0, start + n, None, b"empty", (), 0) for n in range(500)])
    await asyncio.sleep(0.05)
    assert len(intake._records) == 0
    assert source.paused == {("r.10s", 0)}
    world.producer.overfull = False
    await until(lambda: intake.trackers["r.10s", 0].watermark() == 3_000)
    await intake.stop()


async def test_what_waits_for_a_schema_is_not_started_while_its_partition_leaves(world, intake, monkeypatch) -> None:
    monkeypatch.setattr(lookup, "SCHEMA_RETRY_S", (0.01,))
    endpoint = await stuck(world, intake)
    script = intake._take.__self__
    script.unknown = {7}
    intake._process = script
    intake.lookup._schemas.reachable = False
    intake.source.post(records(b"schema", start=1))
    await until(lambda: bool(intake._held))
    released = intake.source.revoke(("in", 0))
    intake.lookup._schemas.known = {7: "s"}
    intake.lookup._schemas.reachable = True
    await asyncio.wait_for(released.wait(), 5)
    assert len(endpoint.requests) == 1
    assert script.seen == [0]
