"""run/process with what is remembered: nothing is taken up before it was read, and a key enters once."""

from __future__ import annotations

import pytest

from pipeline.model import GatePolicy, Once, Plan, Route
from pipeline.run.asking import Asking
from pipeline.run.memory import Recall
from pipeline.run.process import Process, Unread
from pipeline.testing.follower import FakeFollower
from tests.unit.run.conftest import DAY, REF, step, take, until


async def test_an_event_waits_until_what_is_remembered_was_read(world, made) -> None:
    follower = FakeFollower(world.clock)
    follower.reachable = False
    recall = Recall(follower, "g.memory", world.producer, world.clock, world.telemetry.log)
    process = Process(
        made.plans, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(DAY)), recall=recall
    )
    process.learn("in", REF, "known")
    process.assigned("in", 0)
    assert take(world, process, "hello") == Unread(0)
    assert (world.outcomes(), world.settlement.unsettled()) == ([], 0)
    follower.reachable = True
    follower.followed.clear()
    follower.follow(0)
    await process.read(Unread(0))
    assert take(world, process, "hello") is None
    process.gone("in", 0)
    await recall.stop()


async def entering_once(world, made, key, status: str = "live") -> tuple[Recall, Process]:
    """A journey that one `key` enters once, with all that is remembered read."""
    recall = Recall(FakeFollower(world.clock), "g.memory", world.producer, world.clock, world.telemetry.log)
    route = Route("welcome", "h", DAY, None, (step(),), shares="welcome", once=Once(key, DAY), status=status)
    process = Process(
        lambda *_: Plan(made.plans._read, made.plans._envelope, {"signup": (route,)}), world.lanes, world.settlement,
        world.telemetry, Asking(GatePolicy(DAY)), recall=recall,
    )  # fmt: skip
    process.learn("in", REF, "known")
    process.assigned("in", 0)
    await process.read(Unread(0))
    return recall, process


@pytest.mark.parametrize("status", ["shadow", "dry"])
async def test_a_journey_that_sends_nothing_takes_keys_too(world, made, status) -> None:
    recall, process = await entering_once(world, made, lambda datum, _now: datum, status)
    for _ in range(2):
        assert take(world, process, "hello") is None
    await until(lambda: world.tracker.watermark() == 2)
    assert [(row.outcome.value, row.reason) for row in world.outcomes()] == [("skipped", status), ("skipped", "once")]
    await recall.stop()


async def test_a_key_enters_once_and_the_position_waits_for_what_is_written(world, made) -> None:
    recall, process = await entering_once(world, made, lambda datum, _now: None if datum == "keyless" else datum)
    for text in ("hello", "hello", "other key", "keyless"):
        assert take(world, process, text) is None
    await until(lambda: world.tracker.watermark() == 4)
    assert sorted((row.event_id, row.outcome.value, row.reason) for row in world.outcomes()) == [
        ("e-0", "delivered", ""), ("e-1", "skipped", "once"), ("e-2", "delivered", ""),
        ("e-3", "skipped", "condition_error"),
    ]  # fmt: skip
    assert [each.key for each in world.producer.of("g.memory")] == [
        b"c\0ewelcome/hello/e-0", b"c\0ewelcome/other key/e-2",
    ]  # fmt: skip
    assert process.misses.conditions == {("welcome", "trigger.once.key"): 1}
    await recall.stop()
