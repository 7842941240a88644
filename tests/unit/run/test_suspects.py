"""run/suspects: a record a worker died over is taken alone, one three died over is given up, others go on."""

from __future__ import annotations

import asyncio
import struct

import pytest

from pipeline.core.crashes import CRASHES_MAX, GIVEN_UP_MAX, Crashes
from pipeline.core.switches import Switch
from pipeline.model import GatePolicy, Record
from pipeline.run import aside, consume, lookup, suspects
from pipeline.run.asking import Asking
from pipeline.run.consume import Intake
from pipeline.run.process import Process
from pipeline.run.release import Release
from pipeline.run.suspects import Suspects
from pipeline.testing.fakes import FakeEndpoint, FakeSchemas, FakeSource
from tests.unit.run.conftest import FRAME, REF, Plans, World, retry_record, until

PLACE = struct.Struct("=qqq")


class Noted:
    """Keeps what is noted, and everything that ever was."""

    def __init__(self) -> None:
        self.index = {"in": 1, "g.retry.10s": 2}
        self.now = bytes(24)
        self.all: list[tuple[int, int, int]] = []
        self.blamed: tuple[int, ...] = ()

    def note(self, *place: int) -> None:
        self.now = PLACE.pack(*place)
        self.all.append(place)

    def read(self) -> bytes:
        return self.now

    def write(self, noted: bytes) -> None:
        self.now = noted

    def blame(self) -> None:
        self.blamed = PLACE.unpack(self.now)


@pytest.fixture
async def scene(world, monkeypatch):
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    monkeypatch.setattr(suspects, "QUIET_S", 0.05)
    world.endpoint = FakeEndpoint(latency_s=0.02)
    world.lane(world.endpoint, concurrency=8, queue=1_000, timeout_ms=5_000)
    world.plans = Plans(world)
    process = Process(world.plans, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(86_400_000)))
    process.learn("in", REF, "known")
    world.process = process
    world.crashes, world.noted, world.survived = Crashes(), Noted(), []

    def survived(position) -> None:
        world.survived.append(position)
        world.crashes.suspects.pop(position)

    world.suspects = Suspects(world.clock, world.settlement.unsettled, world.crashes, world.noted, survived)
    process.watch(world.suspects)
    made = Intake(
        FakeSource(), process, world.settlement, world.lanes.values(), world.producer, FakeSchemas({}),
        world.telemetry, world.clock, world.errors.append, ledger_topic="g.outcomes", drain_s=0.3,
        suspects=world.suspects,
    )  # fmt: skip
    made.start()
    made.source.assign(("in", 0, 0))
    yield made
    made.stop_taking()
    await made.stop()


def post(intake, world, number: int, start: int = 0) -> None:
    now_ms = world.clock() // 1_000_000
    intake.source.post(
        [Record("in", 0, start + n, b"k", FRAME + b"well", (), now_ms) for n in range(number)]
    )  # fmt: skip


def died(world, offset: int, times: int, topic: str = "in") -> None:
    for _ in range(times):
        world.crashes.count((topic, 0, offset), "worker a", world.clock() // 1_000_000)


async def test_each_record_is_noted_while_it_is_taken_up_and_nothing_after(world, scene) -> None:
    post(scene, world, 3)
    await until(lambda: scene.source.committed.get(("in", 0)) == 3)
    assert world.noted.all == [(1, 0, 0), (1, 0, 1), (1, 0, 2), (0, 0, 0)]


async def test_an_exception_leaves_its_record_to_blame(world, scene) -> None:
    world.process.reading.plans["in", REF] = type(world.process.reading.plans["in", REF])(
        lambda *_: 1 / 0, world.plans._envelope, {}, None
    )  # fmt: skip
    post(scene, world, 3)
    await until(lambda: bool(world.errors))
    assert isinstance(world.errors.pop(), ZeroDivisionError)
    assert world.noted.blamed == (1, 0, 0)


async def test_one_that_kills_when_the_brake_looks_ahead_is_to_blame_and_given_up_without_a_look(world, scene) -> None:
    plan = world.process.reading.plans["in", REF]
    world.process.reading.plans["in", REF] = type(plan)(lambda *_: 1 / 0, world.plans._envelope, {}, None)
    scene.brake.obey(Switch("intake", "in", "paused", "somebody", "", 0))
    post(scene, world, 1)
    (record,) = scene.upcoming(10)
    with pytest.raises(ZeroDivisionError):
        scene.foretell(record, world.clock())
    assert world.noted.blamed == (1, 0, 0)
    assert world.noted.now == bytes(24)
    died(world, 0, CRASHES_MAX)
    assert scene.foretell(record, world.clock()) == "bug"


async def test_a_suspect_over_which_an_exception_comes_did_not_survive(world, scene) -> None:
    world.process.reading.plans["in", REF] = type(world.process.reading.plans["in", REF])(
        lambda *_: 1 / 0, world.plans._envelope, {}, None
    )  # fmt: skip
    died(world, 0, 1)
    post(scene, world, 1)
    await until(lambda: bool(world.errors))
    world.errors.clear()
    await asyncio.sleep(2 * suspects.LOOK_S)  # in which it would have been taken for a survivor
    assert world.survived == []
    assert world.crashes.suspects == {("in", 0, 0): 1}


async def test_a_suspect_is_taken_when_nothing_else_is_under_way_and_all_before_it_is_committed(world, scene) -> None:
    died(world, 5, 1)
    open_then: list[tuple[int, int | None]] = []
    take = scene._take

    def watched(record, tracker, now_ns):
        if record.offset in (5, 6):
            open_then.append((world.settlement.unsettled(), scene.source.committed.get(("in", 0))))
        return take(record, tracker, now_ns)

    scene._take = watched
    post(scene, world, 10)
    await until(lambda: scene.source.committed.get(("in", 0)) == 10)
    assert open_then[0] == (0, 5)
    assert open_then[1][0] == 0, "the next one waits until it is settled"
    assert world.survived == [("in", 0, 5)]
    assert len(world.outcomes()) == 10


async def test_other_intakes_wait_meanwhile(world, scene) -> None:
    died(world, 0, 1)
    post(scene, world, 1)
    other = Record("in", 0, 77, None, None, (), 0)
    await until(lambda: world.suspects._alone is scene)
    assert world.suspects.holds("another intake", other)
    await until(lambda: bool(world.survived))
    assert not world.suspects.holds("another intake", other)


async def test_one_that_never_gets_quiet_is_taken_all_the_same(world, scene, monkeypatch) -> None:
    monkeypatch.setattr(suspects, "ALONE_S", 0.1)
    died(world, 5, 1)
    world.endpoint.script = lambda _head, _body: None  # never answers
    post(scene, world, 6)
    await until(lambda: scene.brake.taken == 6)


async def test_one_that_three_workers_died_over_is_given_up_and_all_others_are_delivered(world, scene) -> None:
    died(world, 5, CRASHES_MAX)
    post(scene, world, 10)
    await until(lambda: scene.source.committed.get(("in", 0)) == 10)
    (letter,) = world.producer.of("g.dead")
    headers = dict(letter.headers)
    assert (headers["hookline-class"], headers["hookline-detail"]) == (b"bug", b"crashed_its_worker")
    assert letter.value == FRAME + b"well"
    assert sorted(row.offset for row in world.outcomes()) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert [fields["offset"] for _, name, fields in world.telemetry.lines if name == "record_given_up"] == [5]


async def test_more_of_them_than_an_accident_explains_are_not_given_up(world, scene) -> None:
    for offset in range(GIVEN_UP_MAX + 1):
        died(world, offset, CRASHES_MAX)
    post(scene, world, GIVEN_UP_MAX + 1)
    record = Record("in", 0, 0, None, None, (), 0)
    assert world.suspects.holds(scene, record)
    (halt,) = world.suspects.halts()
    assert (halt.what, halt.why) == ("taking up in", "workers died over 11 records within an hour")
    world.clock.advance(3_600_001)
    assert not world.suspects.holds(scene, record)
    assert world.suspects.halts() == []


async def test_a_suspect_that_waits_for_its_schema_is_one_afterwards_too(world, scene) -> None:
    scene.lookup._schemas.known = {9: "known"}
    scene.lookup._schemas.reachable = False
    died(world, 0, 2)
    now_ms = world.clock() // 1_000_000
    scene.source.post([Record("in", 0, 0, b"k", b"\x00\x00\x00\x00\x09well", (), now_ms)])
    await until(lambda: scene.held() == 1)
    assert world.survived == []
    scene.lookup._schemas.reachable = True
    await until(lambda: scene.source.committed.get(("in", 0)) == 1)
    await until(lambda: world.survived == [("in", 0, 0)])
    assert (1, 0, 0) in world.noted.all


UNREAD = b"\x00\x00\x00\x00\x09"
"""Frame of a schema that only the registry knows."""


async def test_a_suspect_behind_one_that_waits_for_its_schema_is_one_afterwards_too(world, scene) -> None:
    scene.lookup._schemas.known, scene.lookup._schemas.reachable = {9: "known"}, False
    died(world, 1, 1)
    scene.source.post([Record("in", 0, n, b"k", frame + b"well", (), 0) for n, frame in enumerate((UNREAD, FRAME))])
    await until(lambda: len(scene._held.get(("in", 0), ())) == 2)
    await asyncio.sleep(2 * suspects.LOOK_S)  # in which it would have been taken for a survivor
    assert world.survived == []
    open_then = []
    take = scene._take
    scene._take = lambda record, *rest: open_then.append(world.settlement.unsettled()) or take(record, *rest)
    scene.lookup._schemas.reachable = True
    await until(lambda: world.survived == [("in", 0, 1)])
    assert open_then == [0, 0], "the suspect is taken up with nothing else under way"
    await until(lambda: scene.source.committed.get(("in", 0)) == 2)


async def test_a_suspect_that_wants_a_second_thing_after_the_first_did_not_survive(world, scene) -> None:
    scene.lookup._schemas.known = {9: "known"}
    died(world, 0, 1)
    take, answers, there = scene._take, [("in", 9), object()], asyncio.Event()

    async def read(_wanted) -> None:
        await there.wait()

    scene._take = lambda *all_of_it: answers.pop(0) if answers else take(*all_of_it)
    world.process.read = read  # of the second thing, which is none of a schema
    post(scene, world, 1)
    await until(lambda: not answers)
    await asyncio.sleep(2 * suspects.LOOK_S)  # in which it would have been taken for a survivor
    assert world.survived == []
    there.set()
    await until(lambda: world.survived == [("in", 0, 0)])


async def test_a_suspect_of_a_crowded_partition_is_one_afterwards_too(world, scene, monkeypatch) -> None:
    monkeypatch.setattr(aside, "CROWDED_S", 0.01)
    crowded = True
    monkeypatch.setattr(scene._commits, "crowded", lambda _tracker: crowded)
    scene.trackers["in", 0].room_upto = 0
    died(world, 0, 1)
    post(scene, world, 1)
    await until(lambda: bool(scene._aside.kept))
    await asyncio.sleep(2 * suspects.LOOK_S)
    assert world.survived == []
    crowded = False
    await until(lambda: world.survived == [("in", 0, 0)])
    assert (1, 0, 0) in world.noted.all


async def test_a_suspect_of_a_partition_that_went_did_not_survive(world, scene) -> None:
    died(world, 0, 1)
    post(scene, world, 1)
    del scene.trackers["in", 0]  # between two turns: what is queued of it is dropped when its turn comes
    await until(lambda: not scene._records)
    await asyncio.sleep(2 * suspects.LOOK_S)
    assert world.crashes.suspects == {("in", 0, 0): 1}


async def test_a_suspect_that_is_under_way_for_too_long_lets_others_go_on_and_may_yet_kill(
    world, scene, monkeypatch
) -> None:
    monkeypatch.setattr(suspects, "ALONE_S", 0.1)
    died(world, 0, 1)
    world.endpoint.script = lambda _head, _body: None  # never answers
    post(scene, world, 2)
    await until(lambda: scene.brake.taken == 2)
    await asyncio.sleep(2 * suspects.LOOK_S)
    assert world.crashes.suspects == {("in", 0, 0): 1}


class Life:
    """One worker, from its start to its end: as many records as it gets to."""

    def __init__(self, crashes: Crashes, committed: int) -> None:
        self.world = World()
        self.world.lane(FakeEndpoint(), concurrency=8, queue=1_000, timeout_ms=5_000)
        plans = Plans(self.world)
        process = Process(
            plans, self.world.lanes, self.world.settlement, self.world.telemetry, Asking(GatePolicy(86_400_000))
        )
        plans._read = self.read
        process.learn("in", REF, "known")
        self.crashes, self.noted = crashes, Noted()
        made = Suspects(self.world.clock, self.world.settlement.unsettled, crashes, self.noted)
        process.watch(made)
        self.schemas = FakeSchemas({9: "known"})
        self.schemas.reachable = False
        self.intake = Intake(
            FakeSource(), process, self.world.settlement, self.world.lanes.values(), self.world.producer,
            self.schemas, self.world.telemetry, self.world.clock, self.died, ledger_topic="g.outcomes", drain_s=0.3,
            suspects=made,
        )  # fmt: skip
        self.intake.start()
        self.intake.source.assign(("in", 0, committed))

    @staticmethod
    def read(value, start):
        """Decode it; what kills is stood in for by an exception of ours, which ends a worker as well."""
        return value[start:].decode() if value[start:] != b"kill" else 1 / 0

    def died(self, error: BaseException) -> None:
        """End at once, leaving behind what was noted."""
        self.world.errors.append(error)
        self.intake.halt()

    async def live(self, records: list[Record]) -> int:
        """Take these up while the registry is away for longer than a suspect waits; return what is committed."""
        source = self.intake.source
        first = source.committed.get(("in", 0), self.intake.trackers["in", 0].next)
        source.post(records[first:])
        await until(lambda: source.in_inbox == 0 or bool(self.world.errors))
        await asyncio.sleep(2 * suspects.LOOK_S)
        self.schemas.reachable = True
        await until(lambda: source.committed.get(("in", 0)) == len(records) or bool(self.world.errors))
        if not self.world.errors:
            self.intake.halt()
        for lane in self.world.lanes.values():
            await lane.close()
        if self.world.errors:
            topic, partition, offset = self.noted.blamed
            assert topic == 1
            self.crashes.count(("in", partition, offset), "worker", self.world.clock() // 1_000_000)
        return source.committed.get(("in", 0), first)


async def test_whatever_waits_before_it_a_record_that_kills_is_given_up_in_the_end(monkeypatch) -> None:
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    monkeypatch.setattr(suspects, "QUIET_S", 0.02)
    monkeypatch.setattr(suspects, "LOOK_S", 0.01)
    monkeypatch.setattr(lookup, "SCHEMA_RETRY_S", (0.01,))
    records = [
        Record("in", 0, n, b"k", value, (), 0)
        for n, value in enumerate((UNREAD + b"well", FRAME + b"kill", UNREAD + b"well", FRAME + b"well"))
    ]
    crashes, committed, lives = Crashes(), 0, 0
    while committed < len(records):
        lives += 1
        assert lives <= CRASHES_MAX + 1, f"workers go on dying, and all that is known is {crashes.suspects}"
        life = Life(crashes, committed)
        committed = await life.live(records)
    assert lives == CRASHES_MAX + 1
    (letter,) = life.world.producer.of("g.dead")
    assert letter.value == FRAME + b"kill"


async def test_a_run_that_waited_ends_whole_if_its_record_is_given_up(world, scene) -> None:
    source = FakeSource("retry")
    source.topics = ("g.retry.10s",)
    intake = Intake(
        source, world.process, world.settlement, world.lanes.values(), world.producer, FakeSchemas({}),
        world.telemetry, world.clock, world.errors.append, ledger_topic=None, drain_s=0.3, suspects=world.suspects,
    )  # fmt: skip
    intake.start(Release({"g.retry.10s": 0}, source, world.clock, intake.due, intake.room, {}, {}))
    source.assign(("g.retry.10s", 0, 7))
    died(world, 7, CRASHES_MAX, "g.retry.10s")
    source.post([retry_record(world, {"crm": (3, 0), "mail": (0, 0)})])
    await until(lambda: source.committed.get(("g.retry.10s", 0)) == 8)
    rows = {(row.step, row.outcome, row.reason, row.attempts, row.event_id) for row in world.outcomes()}
    assert rows == {("crm", "dead", "bug", 3, "e-7"), ("mail", "dead", "bug", 0, "e-7")}
    assert len(world.producer.of("g.dead")) == 2
    await intake.stop()
