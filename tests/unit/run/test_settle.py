"""run/settle: acks first, then done; a run is handed over once, with all its waiting steps."""

from __future__ import annotations

from pipeline.core import runstate
from pipeline.model import FailureClass, Flight, Kind, LedgerReason, Outcome, Record, SkipReason, Trace
from pipeline.testing.fakes import FakeProducer
from tests.unit.run.conftest import step, until


async def test_a_position_is_done_only_when_the_outcome_is_acked(world) -> None:
    world.producer.holding = True
    (delivery,) = world.deliveries(step())
    world.settlement.finish(delivery, Outcome.DELIVERED, "", "")
    assert world.tracker.watermark() == 0
    assert world.settlement.unsettled() == 1
    world.producer.ack()
    assert world.tracker.watermark() == 1
    assert world.settlement.unsettled() == 0


async def test_all_deliveries_of_a_position_must_be_settled(world) -> None:
    one, two = world.deliveries(step("one"), step("two"))
    world.settlement.finish(one, Outcome.DELIVERED, "", "")
    world.producer.ack()
    assert world.tracker.watermark() == 0
    world.settlement.skip(two, SkipReason.CONSENT)
    world.producer.ack()
    assert world.tracker.watermark() == 1
    rows = world.outcomes()
    assert [(row.step, row.outcome, row.reason, row.deliveries) for row in rows] == [
        ("one", "delivered", "", 2), ("two", "skipped", "consent", 2),
    ]  # fmt: skip


async def test_final_outcomes_are_counted_by_destination_with_or_without_an_attempt(world) -> None:
    one, two, three, four = world.deliveries(step("one"), step("two"), step("three"), step("four", destination="mail"))
    world.settlement.finish(one, Outcome.DELIVERED, "", "")
    world.settlement.skip(two, SkipReason.CONSENT)
    world.settlement.finish(four, Outcome.DEAD, FailureClass.MISSING_FIELD, "x")
    world.settlement.later(three, 0, "timeout", parked=True)
    assert world.settlement.outcome_counts == {
        ("crm", "delivered"): 1, ("crm", "skipped"): 1, ("mail", "dead"): 1,
    }  # fmt: skip


async def test_a_dead_delivery_waits_for_both_its_writes(world) -> None:
    world.producer.holding = True
    (delivery,) = world.deliveries(step())
    world.settlement.finish(delivery, Outcome.DEAD, FailureClass.TIMEOUT, "x")
    (letter,) = world.producer.of("g.dead")
    assert (letter.key, letter.value) == (b"key", b"value")
    headers = dict(letter.headers)
    assert headers["traceparent"] == b"kept"
    assert headers["hookline-class"] == b"timeout"
    assert headers["hookline-outcome"] == b"dead"
    acks = list(world.producer._unacked)
    world.producer._unacked.clear()
    acks[0](None, None)
    assert world.tracker.watermark() == 0
    acks[1](None, None)
    assert world.tracker.watermark() == 1


async def test_knative_a_dead_letter_that_is_refused_leaves_its_position_open(world) -> None:
    world.producer.holding = True
    (delivery,) = world.deliveries(step())
    world.settlement.finish(delivery, Outcome.DEAD, FailureClass.TIMEOUT, "x")
    assert [record.topic for record in world.producer.records] == ["g.outcomes", "g.dead"]
    outcome_acked, letter_acked = world.producer._unacked
    world.producer._unacked.clear()
    outcome_acked(None, None)
    letter_acked("the topic is gone", None)
    assert world.producer.refusals == ["the topic is gone"], "which stops the worker"
    assert world.tracker.watermark() == 0
    assert world.tracker.finished() == []


async def test_a_run_is_handed_over_once_nothing_of_it_moves(world) -> None:
    one, two = world.deliveries(step("one"), step("two"))
    now_ms = world.clock() // 1_000_000
    one.attempts = 3
    world.settlement.later(one, now_ms + 70_000, "timeout", parked=False)
    assert world.producer.of("g.retry.1m") == []
    world.settlement.later(two, now_ms + 90_000, "server_error", parked=False)
    (record,) = world.producer.of("g.retry.1m")
    assert (record.key, record.value) == (b"key", b"value")
    state = runstate.decode(record.header(runstate.STATE_HEADER))
    assert isinstance(state, runstate.RunState)
    assert set(state.steps) == {"one", "two"}
    assert state.steps["one"].attempts == 3
    assert (state.hop, state.source[:3], state.deliveries) == (1, ("in", 0, 0), 2)
    assert [row.outcome for row in world.outcomes()] == ["retrying", "retrying"]
    world.producer.ack()
    assert world.tracker.watermark() == 1


async def test_a_settled_step_is_not_in_the_hand_over(world) -> None:
    one, two = world.deliveries(step("one"), step("two"))
    world.settlement.later(one, world.clock() // 1_000_000 + 10_000, "timeout", parked=False)
    world.settlement.finish(two, Outcome.DELIVERED, "", "")
    (record,) = world.producer.of("g.retry.10s")
    state = runstate.decode(record.header(runstate.STATE_HEADER))
    assert list(state.steps) == ["one"]


async def test_record_steps_neither_delay_nor_are_delayed(world) -> None:
    log, crm = world.deliveries(step("log", kind=Kind.RECORD), step("crm"))
    now_ms = world.clock() // 1_000_000
    world.settlement.later(crm, now_ms + 10_000, "timeout", parked=False)
    assert len(world.producer.of("g.retry.10s")) == 1
    world.settlement.later(log, now_ms + 10_000, "timeout", parked=False)
    assert len(world.producer.of("g.retry.10s")) == 2
    world.producer.ack()
    assert world.tracker.watermark() == 1


async def test_parking_climbs_a_tier_each_time_and_uses_no_attempt(world) -> None:
    tiers = []
    world.settlement._carrier._tiers_ms = (60_000, 1_800_000, 3_600_000)
    for parks in range(4):
        (delivery,) = world.deliveries(step())
        delivery.run.parks = parks
        world.settlement.later(delivery, world.clock() // 1_000_000, "auth", parked=True)
        tiers.append(world.producer.records[-2].topic)
        state = runstate.decode(world.producer.records[-2].header(runstate.STATE_HEADER))
        assert state.parks == parks + 1
        assert state.steps["crm"].attempts == 0
    assert tiers == ["g.retry.1m", "g.retry.10m", "g.retry.10m", "g.retry.10m"]  # by name: of 30 min, then 1 h


async def test_a_run_too_large_to_hand_over_is_dead_by_reference(world) -> None:
    world.producer._record_bytes_max = 900
    (delivery,) = world.deliveries(step())
    flight = delivery.run.flight
    flight.record = Record("in", 0, 0, b"key", b"v" * 1_000, (), 0)
    world.settlement.later(delivery, world.clock() // 1_000_000 + 10_000, "timeout", parked=False)
    (letter,) = world.producer.of("g.dead")
    assert letter.value is None
    assert dict(letter.headers)["hookline-oversize"] == b"1000"
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("dead", "config")]
    world.producer.ack()
    assert world.tracker.watermark() == 1


async def test_an_undecodable_record_is_on_the_dead_topic_before_it_is_done(world) -> None:
    world.tracker.received(0)
    flight = Flight(
        Record("in", 0, 0, None, b"junk", (), 0), world.tracker, ("in", 0, 0, 0), None, Trace("b" * 32, "", False), 1
    )
    world.settlement.undecodable(flight, FailureClass.UNDECODABLE, "truncated")
    assert world.tracker.watermark() == 0
    await until(lambda: world.tracker.watermark() == 1)
    assert world.tracker.ledger() == ((0, 0, LedgerReason.UNDECODABLE),)
    assert world.producer.of("g.dead")[0].value == b"junk"
    assert world.producer.of("g.outcomes") == []


async def test_late_acks_of_a_partition_that_went_change_nothing(world) -> None:
    world.producer.holding = True
    (delivery,) = world.deliveries(step())
    world.settlement.finish(delivery, Outcome.DELIVERED, "", "")
    world.settlement.forget(world.tracker)
    assert world.settlement.unsettled() == 0
    world.producer.ack()
    assert world.settlement.unsettled() == 0
    assert world.tracker.watermark() == 0


async def test_failures_are_told_to_telemetry_even_when_unsampled(world) -> None:
    good, bad = world.deliveries(step("good"), step("bad"))
    world.settlement.finish(good, Outcome.DELIVERED, "", "")
    world.settlement.finish(bad, Outcome.REJECTED, FailureClass.CLIENT_ERROR, "http_422")
    assert world.telemetry.told == [("d-0-bad", Outcome.REJECTED, "client_error")]
    assert "customer-7" not in repr(world.telemetry.lines)


async def test_the_fake_producer_acks_later_never_within(world) -> None:
    producer, acked = FakeProducer(), []
    producer.produce("t", None, b"", [], lambda *_: acked.append(1))
    assert acked == []
    await until(lambda: acked == [1])


async def test_a_refused_write_leaves_its_position_open(world) -> None:
    world.producer.holding = True
    (delivery,) = world.deliveries(step())
    world.settlement.finish(delivery, Outcome.DELIVERED, "", "")
    world.producer.refuse("no")
    assert world.producer.refusals == ["no"]
    assert (world.settlement.unsettled(), world.tracker.watermark()) == (1, 0)
    assert world.producer.full(), "nothing more is taken up"
    world.producer.take()
    assert (world.settlement.unsettled(), world.tracker.watermark()) == (0, 1)


async def test_failures_for_good_are_told_and_nothing_else(world) -> None:
    told = []
    world.settlement.failures.told = lambda delivery, outcome, cls: told.append((delivery.step.name, outcome, cls))
    names = ("sent", "dead", "rejected", "defaulted", "skipped", "waiting")
    of = dict(zip(names, world.deliveries(*map(step, names)), strict=True))
    world.settlement.finish(of["sent"], Outcome.DELIVERED, FailureClass.CONTRACT, "x")
    world.settlement.finish(of["dead"], Outcome.DEAD, FailureClass.MISSING_FIELD, "x")
    world.settlement.finish(of["rejected"], Outcome.REJECTED, FailureClass.CLIENT_ERROR, "x")
    world.settlement.finish(of["defaulted"], Outcome.DEFAULTED, FailureClass.TIMEOUT, "")
    world.settlement.skip(of["skipped"], SkipReason.CONSENT)
    world.settlement.later(of["waiting"], 0, "timeout", parked=False)
    assert told == [
        ("dead", "dead", "missing_field"), ("rejected", "rejected", "client_error"),
        ("defaulted", "defaulted", "timeout"),
    ]  # fmt: skip
