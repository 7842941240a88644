"""run/memory: what is remembered is known before it is asked for, written before its position is done, and ends."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from pipeline.core import memory
from pipeline.model import Entered, Event, Happened, Once, Record, Route
from pipeline.run import memory as run_memory
from pipeline.run.memory import Recall
from pipeline.testing.follower import FakeFollower
from tests.unit.run.conftest import DAY, step, until

SOURCE = ("in", 0, 0, 0)


@pytest.fixture
async def follower(world) -> FakeFollower:
    return FakeFollower(world.clock)


@pytest.fixture
async def recall(world, follower):
    made = Recall(follower, "g.memory", world.producer, world.clock, world.telemetry.log)
    yield made
    await made.stop()


def flight(world, event_id="e-1", at_ms=None):
    (delivery,) = world.deliveries(step())
    found = delivery.run.flight
    found.event = Event(event_id, "signup", world.clock() // 1_000_000 if at_ms is None else at_ms, "ann", {})
    return found


def stored(customer, entry, at_ms=1, until_ms=2**40, partition=0) -> Record:
    row = memory.row(entry, at_ms, until_ms)
    return Record("g.memory", partition, 0, memory.record_key(customer, row.key()), memory.encode(row), (), 0)


def route(per_ms=DAY, key="k") -> Route:
    return Route("welcome", "h", DAY, None, (step(),), shares="welcome", once=Once(lambda _datum, _now: key, per_ms))


async def test_a_partition_is_asked_only_once_it_was_read_whole(world, follower, recall) -> None:
    follower.reachable = False
    follower.put(stored("ann", Happened("bought", "", 1, "e")))
    assert recall.remembered("ann", SOURCE) is None
    waiting = asyncio.ensure_future(recall.whole(0))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    follower.reachable = True
    follower.followed.clear()
    follower.follow(0)
    await asyncio.wait_for(waiting, 10)
    assert [each.event for each in recall.remembered("ann", SOURCE).happened] == ["bought"]
    assert recall.remembered("ann", ("in", 1, 0, 0)) is None
    assert recall.remembered("bob", SOURCE).happened == ()


async def test_a_partition_taken_over_must_be_whole_as_of_then(world, follower, recall) -> None:
    await recall.whole(0)
    world.clock.advance(1_000)
    follower.reachable = False
    recall.assigned(0)
    assert not recall.ready(0)
    follower.reachable = True
    follower.follow(0)
    await until(lambda: recall.ready(0))


async def test_what_others_write_counts_for_so_long_and_what_is_ours_always(world, follower, recall) -> None:
    recall.assigned(1)
    await recall.whole(0)
    await recall.whole(1)
    world.clock.advance(run_memory.LAG_MAX_MS)
    assert recall.ready(0)
    world.clock.advance(1)
    assert not recall.ready(0)
    assert recall.ready(1)
    recall.gone(1)
    assert not recall.ready(1)


async def test_what_is_remembered_is_known_at_once_and_its_position_waits_for_the_ack(world, recall) -> None:
    recall.assigned(0)
    await recall.whole(0)
    world.producer.holding = True
    one = flight(world)
    before = one.open
    assert recall.remember(one, Happened("bought", "", 5, "e-1"), 5, 50, world.settlement.write)
    assert one.open == before + 1
    assert not recall.remember(one, Happened("bought", "", 5, "e-1"), 5, 50, world.settlement.write)
    assert one.open == before + 1
    assert [each.id for each in recall.remembered("ann", SOURCE).happened] == ["e-1"]
    (record,) = world.producer.of("g.memory")
    assert (record.partition, record.key) == (0, b"ann\0hbought/")
    world.producer.ack()
    assert one.open == before


async def test_once_lets_a_key_in_again_after_its_time_and_the_same_event_always(world, recall) -> None:
    recall.assigned(0)
    await recall.whole(0)
    now_ms = world.clock() // 1_000_000

    def enter(event_id: str, at_ms: int, of=None) -> object:
        return recall.enter(flight(world, event_id, at_ms), of or route(), None, now_ms, world.settlement.write)

    assert enter("e-1", now_ms) is None
    assert enter("e-1", now_ms) is None
    assert enter("e-2", now_ms + DAY - 1) == "once"
    assert enter("e-2", now_ms, route(key="other")) is None
    assert enter("e-2", now_ms, dataclasses.replace(route(), shares="another")) is None
    assert enter("e-3", now_ms + DAY) is None
    assert enter("e-1", now_ms) is None
    assert enter("e-4", now_ms, route(key=None)) == "condition_error"
    assert len(world.producer.of("g.memory")) == 4


async def test_what_is_stale_does_not_take_the_key(world, recall) -> None:
    recall.assigned(0)
    await recall.whole(0)
    now_ms = world.clock() // 1_000_000
    assert recall.enter(flight(world, "e-1", now_ms - DAY - 1), route(), None, now_ms, world.settlement.write) is None
    assert recall.enter(flight(world, "e-2", now_ms), route(), None, now_ms, world.settlement.write) is None
    assert [each.event for each in recall.remembered("ann", SOURCE).entered] == ["e-2"]


async def test_another_owner_knows_what_the_one_before_wrote(world, follower, recall) -> None:
    recall.assigned(0)
    await recall.whole(0)
    now_ms = world.clock() // 1_000_000
    assert recall.enter(flight(world, "e-1", now_ms), route(), None, now_ms, world.settlement.write) is None
    other_log = FakeFollower(world.clock)
    for record in world.producer.of("g.memory"):
        other_log.put(record)
    other = Recall(other_log, "g.memory", world.producer, world.clock, world.telemetry.log)
    other.assigned(0)
    await other.whole(0)
    assert other.enter(flight(world, "e-2", now_ms), route(), None, now_ms, world.settlement.write) == "once"
    assert other.enter(flight(world, "e-1", now_ms), route(), None, now_ms, world.settlement.write) is None
    await other.stop()


async def test_a_customer_is_forgotten_by_whoever_owns_the_partition(world, follower, recall) -> None:
    for entry in (Happened("bought", "", 1, "e"), Entered("welcome", "k", 2, "e")):
        follower.put(stored("ann", entry))
    follower.put(stored("bob", Happened("bought", "", 1, "e")))
    recall.assigned(0)
    await recall.whole(0)
    follower.put(Record("g.memory", 0, 9, b"ann", None, (), 0))
    await until(lambda: not recall.remembered("ann", SOURCE).happened)
    assert not recall.remembered("ann", SOURCE).entered
    assert recall.remembered("bob", SOURCE).happened
    assert {(each.key, each.value) for each in world.producer.of("g.memory")} == {
        (b"ann\0hbought/", None), (b"ann\0ewelcome/k/e", None),
    }  # fmt: skip


async def test_whoever_only_asks_forgets_what_the_owner_forgot_and_writes_nothing(world, follower, recall) -> None:
    follower.put(stored("ann", Happened("bought", "", 1, "e")))
    await recall.whole(0)
    follower.put(Record("g.memory", 0, 9, b"ann\0hbought/", None, (), 0))
    await until(lambda: not recall.remembered("ann", SOURCE).happened)
    assert world.producer.records == []


@pytest.mark.parametrize(("key", "content"), [
    (b"\xff", b"x"), (b"ann\0hbought/", b"x"), (b"ann\0hother/", None), (None, None), (b"ann\0hother/", b"right"),
])  # fmt: skip
async def test_what_cannot_be_read_is_said_and_passed_over(world, follower, recall, key, content) -> None:
    good = stored("ann", Happened("bought", "", 1, "e"))
    follower.put(good)
    follower.put(Record("g.memory", 0, 1, key, good.value if content == b"right" else content, (), 0))
    await recall.whole(0)
    assert recall.remembered("ann", SOURCE).happened
    said = [each for each in world.telemetry.lines if each[1] == "memory_unreadable"]
    assert len(said) == (0 if key == b"ann\0hother/" and content is None else 1)


async def test_what_has_ended_goes_a_day_later_from_the_topic_too(world, follower, recall, monkeypatch) -> None:
    monkeypatch.setattr(run_memory, "SWEEP_S", 0.0)
    now_ms = world.clock() // 1_000_000
    follower.put(stored("ann", Happened("bought", "", 1, "e"), until_ms=now_ms))
    follower.put(stored("bob", Happened("bought", "", 1, "e"), until_ms=now_ms + 1))
    recall.assigned(0)
    await recall.whole(0)
    recall._sweep(recall._sweep_from_s)
    assert recall.remembered("ann", SOURCE).happened
    world.clock.advance(run_memory.LATE_MS)
    recall._sweep(recall._sweep_from_s)
    assert not recall.remembered("ann", SOURCE).happened
    assert recall.remembered("bob", SOURCE).happened
    assert [(each.key, each.value) for each in world.producer.of("g.memory")] == [(b"ann\0hbought/", None)]


async def test_a_partition_nobody_asks_for_is_left(world, follower, recall, monkeypatch) -> None:
    monkeypatch.setattr(run_memory, "IDLE_S", -1.0)
    recall.assigned(0)
    await recall.whole(0)
    await recall.whole(1)
    assert follower.followed == {0, 1}
    recall._look()
    assert follower.followed == {0}


async def test_one_entry_too_many_takes_one_from_the_topic(world, recall) -> None:
    recall.assigned(0)
    await recall.whole(0)
    for number in range(memory.ENTRIES_MAX + 1):
        entry = Happened(f"type-{number}", "", 1, "e")
        assert recall.remember(flight(world), entry, 1, 1_000 + number, world.settlement.write)
    gone = [each.key for each in world.producer.of("g.memory") if each.value is None]
    assert gone == [b"ann\0htype-0/"]
