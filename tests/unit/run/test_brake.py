"""run/brake: a bad stretch stops the intake, nothing more is dead-lettered, and it goes on by itself or by hand."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.core import brake as core_brake
from pipeline.core.brake import FREE_MS, BrakePolicy
from pipeline.core.switches import Switch
from pipeline.model import FailureClass, GatePolicy, Record, Refused, SkipReason
from pipeline.ports import Halt
from pipeline.run import consume
from pipeline.run.asking import Asking
from pipeline.run.consume import Intake
from pipeline.run.process import Process
from pipeline.run.release import Release
from pipeline.testing.fakes import FakeEndpoint, FakeSchemas, FakeSource
from tests.unit.run.conftest import FRAME, REF, Plans, retry_record, step, until

LATE_REF = b"\x00\x00\x00\x00\x09"
POLICY = BrakePolicy(0.05, 100)  # five bad ones


@pytest.fixture
async def scene(world, monkeypatch):
    """An intake with the real stages; what its records hold is the test's."""
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    monkeypatch.setattr(core_brake, "LOOK_MS", 30)
    world.lane(FakeEndpoint(), concurrency=32, queue=1_000)
    world.plans = Plans(world)
    process = Process(world.plans, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(86_400_000)))
    process.learn("in", REF, "known")
    world.schemas = FakeSchemas({})
    world.process = process
    made = Intake(
        FakeSource(), process, world.settlement, world.lanes.values(), world.producer, world.schemas, world.telemetry,
        world.clock, world.errors.append, ledger_topic="g.outcomes", drain_s=0.3, brake=POLICY,
    )  # fmt: skip
    made.start()
    made.source.assign(("in", 0, 0), ("in", 1, 0))
    yield made
    made.stop_taking()
    await made.stop()


def post(intake, world, *texts: str, start: int = 0, partition: int = 0) -> None:
    now_ms = world.clock() // 1_000_000
    intake.source.post([
        Record("in", partition, start + n, b"k", FRAME + text.encode(), (), now_ms) for n, text in enumerate(texts)
    ])  # fmt: skip


async def stopped(intake, world, *after: str) -> None:
    """Stop it by five bad records."""
    post(intake, world, *["damaged"] * 5, *after)
    await until(lambda: intake.brake.on)


def lines(world, name: str) -> list[dict[str, object]]:
    return [fields for _, event, fields in world.telemetry.lines if event == name]


async def test_a_stretch_of_bad_records_stops_it_at_once_and_nothing_more_is_dead_lettered(world, scene) -> None:
    await stopped(scene, world, *["damaged"] * 20)
    await until(lambda: scene.source.committed.get(("in", 0)) == 5)
    assert len(world.producer.of("g.dead")) == 5
    [said] = lines(world, "intake_paused")
    assert said["reason"] == "5 undecodable of the last 5 positions"
    assert (said["intake"], said["topic"], said["partition"], said["offset"]) == ("in", "in", 0, 4)
    assert said["remedy"] == "hookline resume intake in"
    now_ms = world.clock() // 1_000_000
    halt = scene.brake.halt()
    assert halt == Halt("intake in", now_ms, str(said["reason"]), halt.look_ms)
    assert halt.look_ms >= now_ms + 30
    await until(lambda: scene.brake.halt().look_ms > now_ms + 100)  # looks, in vain, ever more seldom
    assert len(world.producer.of("g.dead")) == 5
    assert scene.source.in_inbox == 20


async def test_a_bad_share_below_the_bound_stops_nothing(world, scene) -> None:
    post(scene, world, *(["damaged"] + ["well"] * 24) * 8)
    await until(lambda: scene.source.committed.get(("in", 0)) == 200)
    assert len(world.producer.of("g.dead")) == 8
    assert not lines(world, "intake_paused")


async def test_it_goes_on_by_itself_once_what_comes_next_is_well(world, scene) -> None:
    await stopped(scene, world, *["well"] * 20)
    await until(lambda: scene.source.committed.get(("in", 0)) == 25)
    assert [each["intake"] for each in lines(world, "intake_resumed")] == ["in"]
    assert scene.brake.halt() is None
    assert len(world.outcomes()) == 20


async def test_it_goes_on_when_something_good_comes_after_a_while_without_anything(world, scene) -> None:
    await stopped(scene, world)
    await until(lambda: scene.brake._idle)
    post(scene, world, "well", start=5)
    await until(lambda: scene.source.committed.get(("in", 0)) == 6)


async def test_it_goes_on_once_the_registry_knows_the_schema(world, scene) -> None:
    now_ms = world.clock() // 1_000_000
    scene.source.post([Record("in", 0, n, b"k", LATE_REF + b"well", (), now_ms) for n in range(20)])
    await until(lambda: scene.brake.on)
    assert len(world.producer.of("g.dead")) == 5
    assert scene.source.paused == {("in", 0)}
    world.schemas.known[9] = "known"
    world.process.each_minute()
    await until(lambda: scene.source.committed.get(("in", 0)) == 20)
    assert len(world.outcomes()) == 15
    assert scene.source.paused == set()


async def test_a_partition_that_goes_while_it_waits_is_not_resumed(world, scene) -> None:
    now_ms = world.clock() // 1_000_000
    scene.source.post([Record("in", 0, n, b"k", LATE_REF + b"well", (), now_ms) for n in range(20)])
    await until(lambda: scene.brake.on)
    await scene.source.revoke(("in", 0)).wait()
    assert scene.source.committed[("in", 0)] == 5
    assert scene.upcoming(100) == []


async def test_what_our_own_configuration_makes_nothing_of_stops_it_too(world, scene) -> None:
    refused = step()
    refused = type(refused)(**{name: getattr(refused, name) for name in refused.__slots__}
                            | {"render": lambda _datum, _now: Refused(FailureClass.CONFIG, "x")})  # fmt: skip
    world.plans.steps = (refused,)
    world.process.learn("in", REF, "known")
    post(scene, world, *["well"] * 30)
    await until(lambda: scene.brake.on)
    await until(lambda: scene.source.committed.get(("in", 0)) == 5)
    assert lines(world, "intake_paused")[0]["reason"] == "5 config of the last 5 positions"
    await until(lambda: scene.brake.halt().look_ms > world.clock() // 1_000_000 + 30)
    assert len(world.producer.of("g.dead")) == 5


async def test_a_failure_of_the_destination_does_not_count(world, scene) -> None:
    for _ in range(200):
        scene.brake.failed(object(), FailureClass.TIMEOUT)
        scene.brake.failed(object(), FailureClass.MISSING_FIELD)
        scene.brake.failed(object(), SkipReason.STALE)
    assert not scene.brake.on


async def test_deliveries_of_one_event_count_as_one(world, scene) -> None:
    flight = object()
    for _ in range(200):
        scene.brake.failed(flight, FailureClass.CONFIG)
    assert not scene.brake.on


async def test_somebody_resumes_it_and_what_comes_to_nothing_is_put_aside(world, scene) -> None:
    await stopped(scene, world, *["damaged"] * 200)
    at_ms = world.clock() // 1_000_000
    scene.brake.obey(Switch("intake", "in", "resumed", "ada", "seen", at_ms))
    await until(lambda: scene.source.committed.get(("in", 0)) == 205)
    assert len(world.producer.of("g.dead")) == 205
    assert lines(world, "intake_resumed") == [{"intake": "in", "reason": "by ada"}]
    world.clock.advance(FREE_MS + 1)
    post(scene, world, *["damaged"] * 10, start=205)
    await until(lambda: scene.brake.on)


async def test_somebody_pauses_and_resumes_it_by_hand(world, scene) -> None:
    at_ms = world.clock() // 1_000_000
    scene.brake.obey(Switch("intake", "in", "paused", "ada", "why", at_ms))
    post(scene, world, "well", "well")
    for _ in range(5):
        await asyncio.sleep(0)
    assert scene.brake.taken == 0
    assert scene.brake.halt() is None, "the switch tells of itself"
    scene.brake.obey(Switch("intake", "in", "resumed", "ada", "why", at_ms + 1))
    await until(lambda: scene.source.committed.get(("in", 0)) == 2)


async def test_released_runs_are_held_and_looked_at_like_new_events(world, monkeypatch) -> None:
    monkeypatch.setattr(consume, "COMMIT_S", 0.01)
    monkeypatch.setattr(core_brake, "LOOK_MS", 30)
    world.lane(FakeEndpoint())
    world.plans = Plans(world)
    process = Process(world.plans, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(86_400_000)))
    process.learn("in", REF, "known")
    source = FakeSource("retry")
    source.topics = ("g.retry.10s",)
    intake = Intake(
        source, process, world.settlement, world.lanes.values(), world.producer, FakeSchemas({}), world.telemetry,
        world.clock, world.errors.append, ledger_topic=None, drain_s=0.3, brake=POLICY,
    )  # fmt: skip
    intake.start(Release({"g.retry.10s": 0}, source, world.clock, intake.due, intake.room, {}, {}))
    source.assign(("g.retry.10s", 0, 0))

    def runs(start: int, number: int, journey: str) -> list[Record]:
        made = []
        for n in range(start, start + number):
            record = retry_record(world, {"crm": (1, 0)}, journey=journey, source=("in", 3, n, 1), event_id=f"e-{n}")
            made.append(Record(record.topic, 0, n, record.key, record.value, record.headers, record.timestamp_ms))
        return made

    source.post(runs(0, 40, "gone"))
    await until(lambda: intake.brake.on)
    assert lines(world, "intake_paused")[0]["intake"] == "retry"
    assert len(world.producer.of("g.dead")) == 5
    assert intake.room() == 0
    assert all(process.foretell_run(each, 0) is FailureClass.CONFIG for each in intake.upcoming(100))
    await until(lambda: intake.brake.halt().look_ms > world.clock() // 1_000_000 + 30)
    assert len(world.producer.of("g.dead")) == 5
    intake.brake.obey(Switch("intake", "retry", "resumed", "ada", "seen", world.clock() // 1_000_000))
    await until(lambda: len(world.producer.of("g.dead")) == 40)
    assert all(process.foretell_run(each, 0) is None for each in runs(100, 3, "welcome"))
    await intake.stop()
