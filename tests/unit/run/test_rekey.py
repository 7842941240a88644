"""run/rekey and run/process with copies: one copy for each event that is asked for, taken up once."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.core import rekey
from pipeline.core.offsets import Tracker
from pipeline.model import GatePolicy, Once, Plan, Record, Route, Sign
from pipeline.ports import Unknown
from pipeline.run import rekey as run_rekey
from pipeline.run.asking import Asking
from pipeline.run.memory import Recall
from pipeline.run.process import Process, Unread
from pipeline.run.rekey import Rekey
from pipeline.testing.follower import FakeFollower
from tests.unit.run.conftest import DAY, FRAME, REF, retry_record, step, until

TOPIC = "g.events"


class Rekeyed:
    """One worker that copies records of `in` into `g.events`, and takes the copies up. All customers are `c`."""

    def __init__(self, world, made, *, rekeyed: bool = True) -> None:
        self.world = world
        self.recall = Recall(
            FakeFollower(world.clock), "g.memory", world.producer, world.clock, world.telemetry.log,
            home=lambda _customer, source: source[1] if (source[0] == TOPIC) == rekeyed else 7,
        )  # fmt: skip
        once = Once(lambda datum, _now: datum, DAY)
        route = Route("welcome", "h", DAY, lambda datum, _now: datum != "false", (step(),), shares="welcome", once=once)
        signs = {"bought": (Sign(lambda *_: "", DAY),)}
        self.plan = Plan(made.plans._read, self._envelope, {"signup": (route,)}, None, signs)
        self.places: list[tuple] = []
        self.process = Process(
            lambda *_: self.plan, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(DAY)), None,
            self.recall, TOPIC, rekeyed=rekeyed,
        )  # fmt: skip
        self.made = made
        self.rekey = Rekey(TOPIC, self.process.reading, world.settlement, world.producer, self.process.misses)
        self.process.learn("in", REF, "known")
        self.stamp_ms = world.clock() // 1_000_000 - 5_000
        self.copies = Tracker(TOPIC, 2, 0)
        self.inputs = Tracker("in", 0, 0)

    def _envelope(self, datum, record):
        self.places.append((record.topic, record.partition, record.offset, record.timestamp_ms))
        event = self.made.plans._envelope(datum, record)
        kind = {"bought": "bought", "nobody": "nobody.asked"}.get(datum, "signup")
        return dataclasses.replace(event, type=kind)

    def put(self, text: str, **over):
        """Offer the next record of the input to what copies."""
        record = Record("in", 0, self.inputs.next, b"cart", FRAME + text.encode(), (("tenant", b"x"),), self.stamp_ms)
        self.inputs.received(record.offset)
        return self.rekey.record(dataclasses.replace(record, **over), self.inputs, self.world.clock())

    def written(self) -> list[Record]:
        return self.world.producer.of(TOPIC)

    def take(self, copy: Record, offset: int):
        """Offer a copy to process, as if it lay on partition 2 at that offset."""
        record = dataclasses.replace(copy, partition=2, offset=offset)
        self.copies.received(offset)
        return self.process.copy(record, self.copies, self.world.clock())

    async def own(self) -> Rekeyed:
        self.process.assigned(TOPIC, 2)
        await self.process.read(Unread(2))
        return self


@pytest.fixture
async def rekeyed(world, made):
    one = await Rekeyed(world, made).own()
    yield one
    await one.recall.stop()


async def test_a_position_is_done_once_the_broker_has_its_copy(world, rekeyed) -> None:
    world.producer.holding = True
    assert rekeyed.put("hello") is None
    (copy,) = rekeyed.written()
    assert (copy.key, copy.value) == (b"c", FRAME + b"hello")
    assert ("tenant", b"x") in copy.headers
    assert rekeyed.inputs.watermark() == 0
    assert world.settlement.unsettled() == 1
    world.producer.ack()
    assert rekeyed.inputs.watermark() == 1
    assert rekeyed.inputs.ledger() == ((0, 0, "rekeyed"),)
    assert (world.settlement.unsettled(), world.settlement.unsettled_bytes, rekeyed.inputs.in_flight) == (0, 0, 0)
    assert world.outcomes() == []


async def test_what_is_no_event_or_asked_for_by_nobody_is_not_copied_and_what_is_waited_for_is(world, rekeyed) -> None:
    rekeyed.put("nobody")
    rekeyed.put("", value=None)
    rekeyed.put("", value=b"?")
    rekeyed.put("bought")
    await until(lambda: rekeyed.inputs.watermark() == 4)
    reasons = [reason for _, _, reason in rekeyed.inputs.ledger()]
    assert reasons == ["no_journey", "tombstone", "undecodable", "rekeyed"]
    assert [each.value for each in rekeyed.written()] == [FRAME + b"bought"]
    assert len(world.producer.of("g.dead")) == 1


async def test_an_unknown_schema_is_asked_for_before_anything_is_copied(rekeyed) -> None:
    assert rekeyed.put("hello", value=b"\x00\x00\x00\x00\x09hello") == ("in", 9)
    rekeyed.rekey.learn("in", 9, Unknown("no such ID"))
    assert rekeyed.rekey.record(
        Record("in", 0, 0, None, b"\x00\x00\x00\x00\x09hello", (), 0), rekeyed.inputs, rekeyed.world.clock()
    ) is None  # fmt: skip
    assert rekeyed.written() == []


async def test_what_is_too_large_to_be_copied_is_dead_by_reference(world, rekeyed) -> None:
    world.producer._record_bytes_max = 700
    rekeyed.put("x" * 700)
    await until(lambda: rekeyed.inputs.watermark() == 1)
    (letter,) = world.producer.of("g.dead")
    assert (letter.header("hookline-class"), letter.header("hookline-detail")) == (
        b"config", run_rekey.TOO_LARGE.encode()
    )  # fmt: skip
    assert rekeyed.inputs.ledger() == ((0, 0, "undecodable"),)


async def test_a_copy_runs_as_its_original_would_and_is_told_of_at_its_own_place(world, rekeyed) -> None:
    rekeyed.put("hello")
    (copy,) = rekeyed.written()
    assert rekeyed.take(copy, 0) is None
    await until(lambda: rekeyed.copies.watermark() == 1)
    assert rekeyed.places[-1] == ("in", 0, 0, rekeyed.stamp_ms)
    (row,) = world.outcomes()
    assert (row.topic, row.partition, row.offset, row.record_time_ms) == (TOPIC, 2, 0, rekeyed.stamp_ms)
    assert [each.partition for each in world.producer.of("g.memory")] == [2]


async def test_a_record_that_was_copied_twice_runs_once(world, rekeyed) -> None:
    rekeyed.put("hello")
    (copy,) = rekeyed.written()
    rekeyed.take(copy, 0)
    rekeyed.take(copy, 1)
    await until(lambda: rekeyed.copies.watermark() == 2)
    assert rekeyed.copies.ledger() == ((1, 1, "copied_twice"),)
    assert len(world.outcomes()) == 1


async def test_another_worker_knows_a_second_copy_by_what_lies_before_the_commit(world, rekeyed, made) -> None:
    rekeyed.put("hello")
    (copy,) = rekeyed.written()
    other = await Rekeyed(world, made).own()
    other.process.passed_over(dataclasses.replace(copy, partition=2, offset=0))
    other.copies = Tracker(TOPIC, 2, 1)
    other.take(copy, 1)
    assert other.copies.ledger() == ((1, 1, "copied_twice"),)
    assert world.outcomes() == []
    await other.recall.stop()


async def test_a_copy_that_waits_for_what_is_remembered_is_no_second_one_when_it_is_offered_again(world, made) -> None:
    one = Rekeyed(world, made)
    one.put("hello")
    (copy,) = one.written()
    one.process.assigned(TOPIC, 2)
    assert one.take(copy, 0) == Unread(2)
    await one.process.read(Unread(2))
    assert one.process.copy(dataclasses.replace(copy, partition=2, offset=0), one.copies, world.clock()) is None
    await until(lambda: one.copies.watermark() == 1)
    assert one.copies.ledger() == ()
    await one.recall.stop()


async def test_a_record_in_the_topic_that_is_no_copy_is_dead_with_its_bytes(world, rekeyed) -> None:
    rekeyed.take(Record(TOPIC, 2, 0, b"c", FRAME + b"hello", (), 0), 0)
    await until(lambda: rekeyed.copies.watermark() == 1)
    (letter,) = world.producer.of("g.dead")
    assert letter.value == FRAME + b"hello"
    assert letter.header("hookline-detail") == b"a copy without what it was copied from"


async def test_a_run_of_a_copy_comes_back_as_its_original_would(world, rekeyed) -> None:
    rekeyed.put("hello")
    (copy,) = rekeyed.written()
    original = rekey.consumed(copy)
    record = retry_record(world, {"crm": (1, 0)}, source=(TOPIC, 2, 0, rekeyed.stamp_ms))
    record = dataclasses.replace(record, headers=(*rekey.taken(copy, original).headers, *record.headers))
    world.tracker.received(record.offset)
    assert rekeyed.process.retry(record, world.tracker, world.clock()) is None
    assert rekeyed.places[-1] == ("in", 0, 0, rekeyed.stamp_ms)
    await until(lambda: not world.tracker.open())
    assert [(row.outcome, row.hop) for row in world.outcomes()] == [("delivered", 2)]


async def test_a_run_that_began_before_events_were_copied_asks_where_its_customer_is_kept_now(world, rekeyed) -> None:
    record = retry_record(world, {"crm": (1, 0)})
    assert rekeyed.process.retry(record, world.tracker, world.clock()) == Unread(7)


async def test_partitions_of_the_inputs_say_nothing_of_what_is_remembered(world, rekeyed) -> None:
    rekeyed.rekey.assigned("in", 5)
    rekeyed.process.assigned("in", 5)
    assert not rekeyed.recall._parts.get(5)
    rekeyed.rekey.gone("in", 2)
    rekeyed.process.gone("in", 2)
    assert rekeyed.recall._parts[2].owned


async def test_what_would_come_of_records_is_foretold_of_inputs_and_copies(rekeyed) -> None:
    """As the brake of an intake asks it, before anything is taken up."""

    def told(what, **over):
        record = Record("in", 0, 0, None, FRAME + b"hello", (), 0)
        return what(dataclasses.replace(record, **over), rekeyed.world.clock())

    take, foretell = rekeyed.rekey.taking("input")
    assert take == rekeyed.rekey.record
    assert told(foretell) is None
    assert told(foretell, value=None) is None
    assert told(foretell, value=b"?") == "undecodable"
    assert told(foretell, value=b"\x00\x00\x00\x00\x09hello") == ("in", 9)
    _, foretell = rekeyed.process.taking("events")
    rekeyed.put("hello")
    (copy,) = rekeyed.written()
    assert told(foretell, headers=copy.headers) is None
    assert told(foretell, headers=copy.headers, value=b"\x00\x00\x00\x00\x09hello") == ("in", 9)
    assert told(foretell) == "undecodable"
    assert rekeyed.written() == [copy]
