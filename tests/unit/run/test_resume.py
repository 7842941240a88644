"""run/resume: what waited goes on where it stopped, and everything that may have changed is asked again."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from pipeline.core import definitions, payload, runstate
from pipeline.core.account import Account
from pipeline.model import Answer, Kind, Record
from tests.support.followed import after
from tests.unit.run.conftest import DAY, FRAME, REF, retry_record, step, until


def resume(world, process, record: Record) -> None:
    world.tracker.received(7)
    assert process.retry(record, world.tracker, world.clock()) is None


async def test_only_what_waits_is_sent_again_under_its_input_position(world, made) -> None:
    made.plans.steps = (step("one"), step("two"))
    made.learn("in", REF, "known")
    resume(world, made, retry_record(world, {"two": (3, 0)}))
    await until(lambda: world.tracker.watermark() == 8)
    (row,) = world.outcomes()
    assert (row.step, row.outcome, row.attempts, row.hop) == ("two", "delivered", 4, 2)
    assert (row.topic, row.partition, row.offset, row.deliveries) == ("in", 3, 7, 2)
    assert row.trace_id == "c" * 32


async def test_the_schema_of_a_retry_record_is_wanted_for_its_input_topic(world, made) -> None:
    world.tracker.received(7)
    record = dataclasses.replace(retry_record(world, {"crm": (1, 0)}), value=b"\x00\x00\x00\x00\x09hello")
    assert made.retry(record, world.tracker, world.clock()) == ("in", 9)
    made.learn("in", 9, "known")
    assert made.retry(record, world.tracker, world.clock()) is None
    await until(lambda: world.tracker.watermark() == 8)


async def test_a_retry_is_mapped_under_its_input_position_and_its_own_now(world, made) -> None:
    seen = []
    made.plans.steps = (dataclasses.replace(step(), render=lambda _datum, now_ms: seen.append(now_ms) or b"{}"),)
    made.learn("in", REF, "known")
    resume(world, made, retry_record(world, {"crm": (1, 0)}))
    await until(lambda: world.tracker.watermark() == 8)
    (row,) = world.outcomes()
    assert (row.event_id, row.record_time_ms) == ("e-7", world.clock() // 1_000_000 - 20_000)
    assert seen == [world.clock() // 1_000_000 - 20_000]


async def test_a_copy_of_a_hop_is_dropped(world, made) -> None:
    record = retry_record(world, {"crm": (1, 0)})
    resume(world, made, record)
    world.tracker.received(8)
    made.retry(dataclasses.replace(record, offset=8), world.tracker, world.clock())
    await until(lambda: world.tracker.watermark() == 9)
    assert len(world.outcomes()) == 1


async def test_what_is_due_much_later_hops_on_without_an_attempt(world, made) -> None:
    resume(world, made, retry_record(world, {"crm": (1, 70_000)}))
    (record,) = world.producer.of("g.retry.1m")
    state = runstate.decode(record.header(runstate.STATE_HEADER))
    assert (state.hop, state.steps["crm"].attempts) == (3, 1)


async def test_what_is_past_its_age_is_dead_not_stale(world, made) -> None:
    made.plans.steps = (step(max_age_ms=5_000),)
    made.learn("in", REF, "known")
    resume(world, made, retry_record(world, {"crm": (1, 0)}))
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("dead", "expired")]


async def test_a_removed_step_is_dead_with_the_reason(world, made) -> None:
    resume(world, made, retry_record(world, {"gone": (1, 0)}))
    await until(lambda: world.tracker.watermark() == 8)
    assert [(row.step, row.outcome, row.reason) for row in world.outcomes()] == [("gone", "dead", "config")]


async def test_damaged_state_is_dead_with_its_bytes(world, made) -> None:
    record = dataclasses.replace(retry_record(world, {"crm": (1, 0)}), headers=((runstate.STATE_HEADER, b"junk"),))
    resume(world, made, record)
    await until(lambda: world.tracker.watermark() == 8)
    assert world.producer.of("g.dead")[0].value == FRAME + b"hello"


@pytest.mark.parametrize(
    ("value", "cls", "detail"),
    [
        ("unmapped", "config", "no mapping for this record any more"),
        (b"damaged", "undecodable", "damaged"),
        (b"nameless", "undecodable", "missing id"),
        (None, "undecodable", "run without its event"),
    ],
)
async def test_each_delivery_of_a_run_whose_event_cannot_be_had_any_more_ends_by_itself(
    world, made, value, cls, detail
) -> None:
    made.plans.steps = (step("one"), step("two"))
    made.learn("in", REF, "known")
    made.learn("in", 9, "a schema that nothing maps")
    content = b"\x00\x00\x00\x00\x09hello" if value == "unmapped" else value and FRAME + value
    record = dataclasses.replace(retry_record(world, {"one": (3, 0), "two": (0, 0)}), value=content)
    assert made.foretell_run(record, 0) == cls
    resume(world, made, record)
    await until(lambda: world.tracker.watermark() == 8)
    assert {row.outcome for row in world.outcomes()} == {"dead"}
    rows = {row.delivery_id: row for row in world.outcomes()}
    announced = {payload.delivery_id("e-7", each.id_suffix) for each in made.plans.steps}
    assert rows.keys() == announced
    told = {(row.reason, row.event_id, row.topic, row.partition, row.offset, row.deliveries) for row in rows.values()}
    assert told == {(cls, "e-7", "in", 3, 7, 2)}
    assert {row.customer_ref for row in rows.values()} == {""}
    letters = [dict(each.headers) for each in world.producer.of("g.dead")]
    assert [(each["hookline-step"], each["hookline-detail"].decode()) for each in letters] == [
        (b"one", detail), (b"two", detail),
    ]  # fmt: skip
    assert all(last < 7 for _, last, _ in world.tracker.ledger()), "the position had deliveries"


async def test_the_account_of_a_run_whose_mapping_is_gone_balances(workers) -> None:
    steps = (step("one", in_process=()), after("two", "one"))
    first, second = workers(*steps), workers(*steps)
    first.answers["one"] = Answer(503)
    first.take()
    await first.settled()
    second.process.learn("in", REF, "a schema that nothing maps")
    second.resume(first.handed_over()[0])
    await second.settled()
    assert second.ended() == {"one": "dead(config)", "two": "dead(config)"}
    account = Account()
    for row in (*first.world.outcomes(), *second.world.outcomes()):
        account.outcome(row)
    now_ms = second.world.clock() // 1_000_000 + DAY
    account.ledger(SimpleNamespace(topic="in", partition=0, first=0, next=1, at_ms=now_ms, empty=()))  # of its commit
    report = account.report({("in", 0): 1}, {("in", 0): 0}, now_ms, 0, now_ms)
    assert report.balanced
    assert (report.events, report.deliveries) == (1, {"dead": 2})


async def test_what_a_later_release_wrote_is_passed_on_as_it_is_and_said_once_a_minute(world, made) -> None:
    record = retry_record(world, {"crm": (1, 0)})
    newer = bytes((runstate.STATE_VERSION + 1,)) + record.header(runstate.STATE_HEADER)[1:]
    headers = (("traceparent", b"kept"), (runstate.STATE_HEADER, newer))
    resume(world, made, dataclasses.replace(record, partition=1, headers=headers))
    assert world.tracker.watermark() == 7, "not before it is acked"
    await until(lambda: world.tracker.watermark() == 8)
    (again,) = world.producer.records
    assert (again.topic, again.partition, again.key, again.value) == (record.topic, 1, record.key, record.value)
    assert again.headers == headers
    made.each_minute()
    made.each_minute()
    assert world.telemetry.lines == [("warning", "run_state_newer", {"records": 1})]


async def test_a_run_of_a_definition_that_only_others_can_carry_out_is_passed_on(world, made) -> None:
    made.plans.pinned = {"f" * 20: definitions.LATER}.get
    made.learn("in", REF, "known")
    record = retry_record(world, {"crm": (1, 0)}, hash="f" * 20)
    for _ in range(2):  # its copy is no repeat of it
        resume(world, made, record)
    assert [each.topic for each in world.producer.records] == [record.topic] * 2
    assert world.outcomes() == []


async def test_a_run_without_its_definition_is_dead_by_name(world, made) -> None:
    made.plans.pinned = {"f" * 20: "definition_missing"}.get
    made.learn("in", REF, "known")
    resume(world, made, retry_record(world, {"crm": (1, 0)}, hash="f" * 20))
    await until(world.outcomes)
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("dead", "config")]
    (letter,) = world.producer.of("g.dead")
    assert ("hookline-detail", b"definition_missing") in letter.headers


async def test_such_a_record_of_a_removed_tier_goes_to_one_that_is_there(world, made) -> None:
    record = retry_record(world, {"crm": (1, 0)})
    resume(
        world, made, dataclasses.replace(record, topic="g.retry.5s", headers=((runstate.STATE_HEADER, b"\xff" * 9),))
    )
    assert [each.topic for each in world.producer.records] == ["g.retry.10s"]


async def test_a_record_step_that_waits_does_not_hold_the_run(world, made) -> None:
    made.plans.steps = (step("one", kind=Kind.RECORD), step("two"))
    made.learn("in", REF, "known")
    resume(world, made, retry_record(world, {"one": (1, 70_000), "two": (1, 70_000)}))
    assert len(world.producer.of("g.retry.1m")) == 2
