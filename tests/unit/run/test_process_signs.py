"""run/process with events that journeys wait for, and with contacts: remembered, asked about, on other workers too."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import Answer, CancelOn, Cap, GatePolicy, Plan, Record, Route, Sign
from pipeline.run.asking import Asking
from pipeline.run.memory import Recall
from pipeline.run.process import Process, Unread
from pipeline.testing.fakes import FakeEndpoint
from pipeline.testing.follower import FakeFollower
from tests.unit.run.conftest import DAY, REF, retry_record, step, take, until

CAP = Cap("promotional", "email", 1, DAY)


def sign(datum, _now_ms):
    """Event and trigger agree if their texts begin alike; what is nameless cannot be told."""
    return None if datum == "none" else datum[:3]


class Signed:
    """One worker whose journey `welcome` is started by `signup` and cancelled by `other`, as conftest's events are."""

    def __init__(self, world, made, step_, follower=None) -> None:
        self.world = world
        self.follower = follower or FakeFollower(world.clock)
        self.recall = Recall(self.follower, "g.memory", world.producer, world.clock, world.telemetry.log)
        asking = Asking(GatePolicy(DAY), None, self.recall)
        self.route = Route(
            "welcome", "h", DAY, lambda datum, _now: datum != "false", (step_,), category="promotional",
            shares="welcome", cancel_on=(CancelOn("other", sign),),
        )  # fmt: skip
        signs = {"other": (Sign(sign, DAY),), "signup": (Sign(lambda *_: "", DAY),)}
        plan = Plan(made.plans._read, self._envelope, {"signup": (self.route,)}, None, signs)
        self.process = Process(
            lambda *_: plan, world.lanes, world.settlement, world.telemetry, asking, None, self.recall
        )
        self.process.learn("in", REF, "known")
        self.made = made

    def _envelope(self, datum, record):
        event = self.made.plans._envelope(datum, record)
        return dataclasses.replace(event, type="other") if datum.endswith("bought") else event

    async def own(self) -> Signed:
        self.process.assigned("in", 0)
        await self.process.read(Unread(0))
        return self


@pytest.fixture
async def signed(world, made):
    one = await Signed(world, made, step()).own()
    yield one
    await one.recall.stop()


def said(world) -> list[tuple[str, str, str]]:
    return [(row.event_id, row.outcome.value, row.reason) for row in world.outcomes()]


async def test_an_event_that_cancels_is_remembered_although_nothing_starts_and_its_position_waits(
    world, signed
) -> None:
    world.producer.holding = True
    take(world, signed.process, "k-1 bought")
    assert world.tracker.watermark() == 0
    assert world.tracker.ledger() == ()
    assert [each.key for each in world.producer.of("g.memory")] == [b"c\0hother/k-1"]
    world.producer.ack()
    assert world.tracker.watermark() == 1
    assert world.tracker.ledger() == ((0, 0, "no_journey"),)
    assert world.settlement.ledger_counts == {"no_journey": 1}
    assert world.settlement.unsettled() == 0


async def test_what_cannot_be_told_or_is_known_already_is_not_written(world, signed) -> None:
    take(world, signed.process, "k-1 bought")
    await until(lambda: world.tracker.watermark() == 1)
    world.clock.advance(-1)
    take(world, signed.process, "k-1 older, bought")  # the later one says all that is asked
    assert world.tracker.watermark() == 2
    assert len(world.producer.of("g.memory")) == 1


async def test_a_false_condition_remembers_too(world, signed) -> None:
    take(world, signed.process, "false")
    await until(lambda: world.tracker.watermark() == 1)
    assert world.tracker.ledger() == ((0, 0, "condition_false"),)
    assert [each.key for each in world.producer.of("g.memory")] == [b"c\0hsignup/"]


async def test_an_event_since_the_trigger_cancels_and_one_before_it_does_not(world, signed) -> None:
    take(world, signed.process, "k-1 bought")
    take(world, signed.process, "k-1 at the same time")
    take(world, signed.process, "k-2 another cart")
    await until(lambda: world.tracker.watermark() == 3)
    world.clock.advance(1)
    take(world, signed.process, "k-1 later")
    await until(lambda: world.tracker.watermark() == 4)
    assert sorted(said(world)) == [
        ("e-1", "skipped", "cancelled"), ("e-2", "delivered", ""), ("e-3", "delivered", ""),
    ]  # fmt: skip


async def test_a_run_resumed_elsewhere_waits_until_that_worker_has_read_what_came_meanwhile(world, made) -> None:
    """The retry partition's owner does not own the partition of the memory: it follows it, and only then goes on."""
    follower = FakeFollower(world.clock)
    follower.reachable = False
    one = Signed(world, made, step(), follower)
    record = retry_record(world, {"crm": (1, 0)})
    record = dataclasses.replace(record, value=b"\x00\x00\x00\x00\x05k-1 cart")
    world.tracker.received(7)
    assert one.process.retry(record, world.tracker, world.clock()) == Unread(3)
    owner = await Signed(world, made, step()).own()
    take(world, owner.process, "k-1 bought", timestamp_ms=world.clock() // 1_000_000 + 1)
    for each in world.producer.of("g.memory"):
        follower.put(Record(each.topic, 3, each.offset, each.key, each.value, (), 0))
    follower.reachable = True
    follower.followed.clear()
    follower.follow(3)
    await one.process.read(Unread(3))
    assert one.process.retry(record, world.tracker, world.clock()) is None
    await until(lambda: bool(said(world)))
    assert [each[1:] for each in said(world)] == [("skipped", "cancelled")]
    await one.recall.stop()
    await owner.recall.stop()


async def test_what_others_write_is_held_for_while_it_cannot_be_told(world, made) -> None:
    """Between reading it whole and the attempt the broker went away: no request is made, the run waits."""
    one = Signed(world, made, step())
    await one.process.read(Unread(3))
    record = dataclasses.replace(retry_record(world, {"crm": (1, 0)}), value=b"\x00\x00\x00\x00\x05k-1 cart")
    world.tracker.received(7)
    world.clock.advance(20_000)
    one.follower.reachable = False
    world.clock.advance(20_000)
    assert one.process.retry(record, world.tracker, world.clock()) == Unread(3)
    assert said(world) == []
    await one.recall.stop()


async def test_a_contact_counts_for_caps_also_from_a_worker_that_owns_nothing(world, made) -> None:
    capped = dataclasses.replace(step(), reaches="email", caps=(CAP,))
    one = await Signed(world, made, capped).own()
    take(world, one.process, "k-1")
    await until(lambda: world.tracker.watermark() == 1)
    take(world, one.process, "k-2")
    await until(lambda: world.tracker.watermark() == 2)
    assert said(world) == [("e-0", "delivered", ""), ("e-1", "skipped", "cap")]
    contacts = [each for each in world.producer.of("g.memory") if each.key.startswith(b"c\0cpromotional/email/")]
    assert [each.partition for each in contacts] == [0]
    world.clock.advance(DAY)
    take(world, one.process, "k-3", timestamp_ms=world.clock() // 1_000_000)
    await until(lambda: world.tracker.watermark() == 3)
    assert said(world)[-1] == ("e-2", "delivered", "")
    await one.recall.stop()


async def test_what_was_not_delivered_is_no_contact(world, made) -> None:
    capped = dataclasses.replace(step(), reaches="email", caps=(CAP,))
    await world.lanes["crm"].close()
    world.lane(FakeEndpoint(lambda *_: Answer(422)))
    one = await Signed(world, made, capped).own()
    take(world, one.process, "k-1")
    await until(lambda: world.tracker.watermark() == 1)
    assert said(world) == [("e-0", "rejected", "client_error")]
    assert [each.key for each in world.producer.of("g.memory")] == [b"c\0hsignup/"]
    await one.recall.stop()
