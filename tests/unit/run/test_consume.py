"""run/consume: the ledger before the commit, partitions held for their schema, drains within one deadline."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.core import outcome
from pipeline.model import Answer, LedgerReason, Record
from pipeline.run import consume, lookup
from pipeline.run.consume import Intake
from pipeline.run.process import Unread
from pipeline.run.release import HELD_RECORDS, Release
from pipeline.testing.fakes import FakeEndpoint, FakeSchemas, FakeSource
from tests.unit.run.conftest import step, until


class Script:
    """Stands where run/process stands: what a record does is the test's."""

    def __init__(self, world) -> None:
        self.world = world
        self.seen: list[int] = []
        self.unknown: set[int] = set()
        self.learned: list[object] = []
        self.forgot = 0
        self.owned: list[int] = []
        self.unread: set[int] = set()
        self.whole = asyncio.Event()

    def taking(self, role):
        return self.record if role == "input" else self.retry, self.foretell

    def passed_over(self, _record) -> None:
        return

    def forget(self, trackers, flights) -> None:
        return

    def assigned(self, topic, partition) -> None:
        self.owned.append(partition)

    def gone(self, topic, partition) -> None:
        self.owned = [each for each in self.owned if each != partition]

    async def read(self, wanted) -> None:
        await self.whole.wait()
        self.unread.discard(wanted.partition)

    def learn(self, topic, ref, schema) -> None:
        self.learned.append(schema)
        self.unknown.discard(ref)

    def record(self, record, tracker, now_ns):
        if record.value == b"schema" and 7 in self.unknown:
            return record.topic, 7
        if record.partition in self.unread:
            return Unread(record.partition)
        self.seen.append(record.offset)
        if record.value == b"empty":
            self.world.settlement.empty(tracker, record.offset, LedgerReason.NO_JOURNEY)
        elif record.value == b"bug":
            raise ZeroDivisionError
        else:
            self.world.tracker = tracker
            (delivery,) = self.world.deliveries(step(), offset=record.offset)
            self.world.lanes["crm"].offer(delivery)
        return None

    retry = record

    def foretell(self, _record, _now_ns) -> None:
        return None

    foretell_run = foretell
    give_up = give_up_run = record

    def forget_unknown(self) -> None:
        self.forgot += 1


def records(*values: bytes, start: int = 0, topic: str = "in") -> list[Record]:
    return [Record(topic, 0, start + n, None, each, (), 1_700_000_000_000) for n, each in enumerate(values)]


@pytest.fixture
async def intake(world, monkeypatch):
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    source = FakeSource()
    script = Script(world)
    made = Intake(
        source, script, world.settlement, world.lanes.values(), world.producer, FakeSchemas({7: {"type": "string"}}),
        world.telemetry, world.clock, world.errors.append, ledger_topic="g.outcomes", drain_s=0.3,
    )  # fmt: skip
    made.script = script
    made.start()
    yield made
    made.stop_taking()
    await made.stop()


def ledgers(world) -> list[outcome.LedgerRow]:
    rows = [outcome.decode(record.value) for record in world.producer.of("g.outcomes")]
    return [row for row in rows if isinstance(row, outcome.LedgerRow)]


async def test_a_commit_waits_for_its_ledger(world, intake) -> None:
    intake.source.assign(("in", 0, 0))
    world.producer.holding = True
    intake.source.post(records(b"empty", b"empty"))
    await until(lambda: len(ledgers(world)) == 1)
    assert intake.source.committed == {}
    world.producer.ack()
    assert intake.source.committed == {("in", 0): 2}
    (row,) = ledgers(world)
    assert (row.first, row.next) == (0, 2)
    assert row.empty == ((0, 1, "no_journey"),)
    world.producer.holding = False


async def test_deliveries_are_committed_once_settled(world, intake) -> None:
    world.lane(FakeEndpoint())
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"go", b"go", b"empty"))
    await until(lambda: intake.source.committed == {("in", 0): 3})
    assert intake.source.in_inbox == 0


async def test_an_unreachable_registry_holds_its_partition_only(world, intake, monkeypatch) -> None:
    monkeypatch.setattr(lookup, "SCHEMA_RETRY_S", (0.01,))
    intake.script.unknown = {7}
    intake.lookup._schemas.reachable = False
    intake.source.assign(("in", 0, 0), ("in", 1, 0))
    intake.source.post(records(b"empty", b"schema", b"empty"))
    intake.source.post([Record("in", 1, 0, None, b"empty", (), 0)])
    await until(lambda: intake.lookup._schemas.asked > 3)
    assert intake.script.seen == [0, 0]
    assert intake.source.paused == {("in", 0)}
    assert intake.held() == 1
    await until(lambda: intake.source.committed.get(("in", 1)) == 1)
    assert intake.source.committed.get(("in", 0)) == 1
    intake.lookup._schemas.reachable = True
    world.lane(FakeEndpoint())
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    await until(lambda: intake.source.committed[("in", 0)] == 3)
    assert intake.source.paused == set()
    assert intake.held() == 0
    assert intake.script.learned == [{"type": "string"}]


async def test_what_waits_for_a_schema_is_bounded_whoever_else_resumes_its_partition(world, monkeypatch) -> None:
    monkeypatch.setattr(lookup, "SCHEMA_RETRY_S", (0.01,))
    source, script, held = FakeSource("retry"), Script(world), []
    script.unknown = {7}
    intake = Intake(
        source, script, world.settlement, (), world.producer, FakeSchemas({}), world.telemetry, world.clock,
        world.errors.append, ledger_topic=None, drain_s=0.3,
    )  # fmt: skip
    intake.lookup._schemas.reachable = False
    release = Release({"r.10s": 10_000}, source, world.clock, intake.due, intake.room, {}, {})
    intake.start(release)
    source.assign(("r.10s", 0, 0))
    posted = 0
    for _ in range(20):  # all of it is due: run/release passes it on, and resumes what it had paused
        while ("r.10s", 0) not in source.paused and posted < 9_000:
            source.post([Record("r.10s", 0, posted + n, None, b"schema", (), 0) for n in range(500)])
            posted += 500
        while release.count(("r.10s", 0)):
            release._fire()
            await asyncio.sleep(0)
        await until(lambda: not intake._records)
        held.append(len(intake._held[("r.10s", 0)]))
    assert max(held) == posted == HELD_RECORDS
    await intake.stop()


async def test_a_bug_stops_the_worker_uncommitted(world, intake) -> None:
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"bug"))
    await until(lambda: bool(world.errors))
    assert isinstance(world.errors.pop(), ZeroDivisionError)
    assert intake.source.committed == {}


async def test_a_discarded_consumer_is_fatal(world, intake) -> None:
    intake.source.fail(RuntimeError("callback"))
    assert isinstance(world.errors.pop(), RuntimeError)


async def test_a_revoke_lets_attempts_end_hands_over_the_rest_and_commits(world, intake) -> None:
    slow = FakeEndpoint(latency_s=0.05)
    world.lane(slow, concurrency=1)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"go", b"go", b"go"))
    await until(lambda: len(slow.requests) == 1)
    released = intake.source.revoke(("in", 0))
    await asyncio.wait_for(released.wait(), 5)
    assert intake.source.committed == {("in", 0): 3}
    assert sorted(row.outcome for row in world.outcomes()) == ["delivered", "retrying", "retrying"]
    assert len(slow.requests) == 1
    assert intake.trackers == {}


async def test_attempts_that_outlast_the_drain_budget_are_aborted_and_handed_over(world, intake) -> None:
    world.lane(FakeEndpoint(lambda _h, _b: None), timeout_ms=60_000)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"go"))
    await until(lambda: world.settlement.unsettled() == 1)
    released = intake.source.revoke(("in", 0))
    await asyncio.wait_for(released.wait(), 5)
    assert [(row.outcome, row.reason, row.attempts) for row in world.outcomes()] == [("retrying", "timeout", 1)]
    assert intake.source.committed == {("in", 0): 1}


async def test_a_lost_partition_is_forgotten_unsent_and_uncommitted(world, intake) -> None:
    stuck = FakeEndpoint(lambda _h, _b: None)
    world.lane(stuck, concurrency=1, timeout_ms=60_000)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"go", b"go"))
    await until(lambda: len(stuck.requests) == 1)
    released = intake.source.revoke(("in", 0), lost=True)
    assert released.is_set()
    assert world.settlement.unsettled() == 0
    lane = world.lanes["crm"]
    lane.abort(lambda _: True)
    await until(lambda: lane.stats.failures == {"timeout": 1})
    assert not lane._backlog.delayed
    assert world.producer.records == []
    assert len(stuck.requests) == 1
    assert intake.source.committed == {}


async def test_reassigned_partitions_start_a_new_epoch(world, intake) -> None:
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"empty"))
    intake.source.revoke(("in", 0), lost=True)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(b"empty", b"empty"))
    await until(lambda: intake.source.committed == {("in", 0): 2})
    assert intake.script.seen == [0, 1]


async def test_records_dropped_with_their_partition_leave_the_inbox(world, intake) -> None:
    intake.source.assign(("in", 0, 0))
    world.producer.overfull = True  # nothing is processed
    intake.source.post(records(*[b"empty"] * 300))
    released = intake.source.revoke(("in", 0))
    await asyncio.wait_for(released.wait(), 5)
    assert intake.source.in_inbox == 0


async def test_consumption_waits_for_a_full_lane(world, intake) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: Answer(204), latency_s=0.002)
    world.lane(endpoint, concurrency=2, queue=10)
    intake._lanes = tuple(world.lanes.values())
    intake._watches = tuple(lane.watch for lane in intake._lanes)
    intake.source.assign(("in", 0, 0))
    intake.source.post(records(*[b"go"] * 300))
    peak = 0
    while intake.source.committed != {("in", 0): 300}:
        peak = max(peak, len(world.lanes["crm"]._backlog))
        await asyncio.sleep(0.001)
    assert peak <= 10 + consume.TURN_RECORDS


async def test_retry_records_wait_until_due_and_are_committed(world, monkeypatch) -> None:
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    source, script = FakeSource("retry"), Script(world)
    intake = Intake(
        source, script, world.settlement, (), world.producer, FakeSchemas({}), world.telemetry, world.clock,
        world.errors.append, ledger_topic=None, drain_s=0.3,
    )  # fmt: skip
    intake.start(Release({"r.10s": 10_000}, source, world.clock, intake.due, intake.room, {}, {}))
    source.assign(("r.10s", 0, 0))
    source.post(records(b"empty", b"empty", topic="r.10s"))
    intake._holder._fire()
    assert intake._holder.count(("r.10s", 0)) == 2
    assert script.seen == []
    world.clock.advance(10_000)
    intake._holder._fire()
    await until(lambda: source.committed == {("r.10s", 0): 2})
    assert world.producer.records == []
    await intake.stop()
    assert source.stopped


async def test_what_is_remembered_is_read_before_the_partition_is_taken_up_and_given_up_with_it(world, intake) -> None:
    intake.script.unread.add(0)
    intake.source.assign(("in", 0, 0), ("in", 1, 0))
    assert intake.script.owned == [0, 1]
    other = Record("in", 1, 0, None, b"empty", (), 0)
    intake.source.post([*records(b"empty", b"empty"), other])
    await until(lambda: intake.trackers["in", 1].watermark() == 1)
    assert intake.script.seen == [0]
    assert intake.source.paused == {("in", 0)}
    intake.script.whole.set()
    await until(lambda: intake.trackers["in", 0].watermark() == 2)
    assert intake.source.paused == set()
    intake.source.revoke(("in", 0), lost=True)
    await until(lambda: intake.script.owned == [1])


@pytest.mark.parametrize(("role", "waits_for"), [("input", "firsts"), ("retry", "retries"), ("ordered", "both")])
async def test_which_full_queues_of_a_lane_hold_consumption_back(world, role, waits_for) -> None:
    made = Intake(
        FakeSource(role), Script(world), world.settlement, (world.lane(FakeEndpoint()),), world.producer,
        FakeSchemas({}), world.telemetry, world.clock, world.errors.append, ledger_topic=None, drain_s=1.0,
    )  # fmt: skip
    lane = world.lanes["crm"]
    lane.watch.full.add(lane)
    for queue, name in ((lane._backlog.firsts, "firsts"), (lane._backlog.retries, "retries")):
        queue.extend([world.deliveries(step())[0]] * lane.destination.queue)
        lane.watch.full.add(lane)
        assert made._blocked() is (waits_for in (name, "both"))
        queue.clear()
    made.halt()
