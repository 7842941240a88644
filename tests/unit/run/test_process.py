"""run/process: each record ends somewhere it can be found."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import FailureClass, Record, Refused
from pipeline.ports import Unknown
from tests.unit.run.conftest import DAY, FRAME, REF, retry_record, step, take, until


async def test_an_event_is_delivered(world, made) -> None:
    assert take(world, made, "hello") is None
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.event_id, row.outcome, row.offset, row.deliveries) == ("e-0", "delivered", 0, 1)


@pytest.mark.parametrize(
    ("text", "reason"), [(None, "tombstone"), ("other", "no_journey")],
)  # fmt: skip
async def test_positions_without_delivery_are_in_the_ledger(world, made, text, reason) -> None:
    take(world, made, text)
    assert world.tracker.watermark() == 1
    assert world.tracker.ledger() == ((0, 0, reason),)
    assert world.producer.records == []


async def test_a_false_trigger_condition_starts_nothing(world, made) -> None:
    made.plans.condition = lambda _datum, _now: False
    made.learn("in", REF, "known")
    take(world, made, "hello")
    assert world.tracker.ledger() == ((0, 0, "condition_false"),)


async def test_a_trigger_condition_that_errs_skips_every_step_with_that_reason(world, made) -> None:
    made.plans.condition = lambda _datum, _now: None
    made.plans.steps = (step("one"), step("two"))
    made.learn("in", REF, "known")
    take(world, made, "hello")
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("skipped", "condition_error")] * 2
    assert made.misses.conditions == {("welcome", "trigger.when"): 1}


async def test_a_step_condition_that_errs_is_noted_at_its_place_also_after_a_wait(world, made) -> None:
    made.plans.steps = (dataclasses.replace(step(), when=lambda _datum, _now: None),)
    made.learn("in", REF, "known")
    take(world, made, "hello")
    assert made.misses.conditions == {("welcome", "steps.crm.when"): 1}
    world.tracker.received(7)
    made.retry(retry_record(world, {"crm": (1, 0)}), world.tracker, world.clock())
    assert made.misses.conditions == {("welcome", "steps.crm.when"): 2}


async def test_a_type_no_journey_asks_for_is_noted(world, made) -> None:
    take(world, made, "other")
    assert made.misses.types == {("in", ""): 1}


async def test_a_record_that_no_mapping_wants_is_unmapped(world, made) -> None:
    made.learn("in", REF, "foreign")
    take(world, made, "hello")
    assert world.tracker.ledger() == ((0, 0, "unmapped"),)


@pytest.mark.parametrize("text", ["damaged", "nameless"])
async def test_what_is_no_event_goes_to_the_dead_topic(world, made, text) -> None:
    take(world, made, text)
    await until(lambda: world.tracker.watermark() == 1)
    (letter,) = world.producer.of("g.dead")
    assert letter.value == FRAME + text.encode()
    assert dict(letter.headers)["hookline-class"] == b"undecodable"
    assert world.tracker.ledger() == ((0, 0, "undecodable"),)


async def test_bytes_without_a_frame_are_undecodable(world, made) -> None:
    take(world, made, "", value=b"hello")
    await until(lambda: world.tracker.watermark() == 1)
    assert len(world.producer.of("g.dead")) == 1


async def test_an_unknown_schema_is_asked_for_and_the_record_offered_again(world, made) -> None:
    other = b"\x00\x00\x00\x00\x09hello"
    assert take(world, made, "", value=other) == ("in", 9)
    assert world.tracker.watermark() == 0
    made.learn("in", 9, "known")
    record = Record("in", 0, 0, None, other, (), world.clock() // 1_000_000)
    assert made.record(record, world.tracker, world.clock()) is None
    await until(lambda: world.tracker.watermark() == 1)


async def test_a_payload_that_cannot_be_built_is_dead_alone(world, made) -> None:
    broken = dataclasses.replace(step("two"), render=lambda *_: Refused(FailureClass.MISSING_FIELD, "email"))
    made.plans.steps = (step("one"), broken)
    made.learn("in", REF, "known")
    take(world, made, "hello")
    await until(lambda: world.tracker.watermark() == 1)
    rows = {row.step: (row.outcome, row.reason) for row in world.outcomes()}
    assert rows == {"one": ("delivered", ""), "two": ("dead", "missing_field")}
    assert dict(world.producer.of("g.dead")[0].headers)["hookline-detail"] == b"email"


async def test_a_target_and_metadata_are_made_for_those_steps_that_ask(world, made) -> None:
    heads = []

    def head(delivery_id, _headers, _traceparent, _now, body, target):
        heads.append((target, body))
        return delivery_id.encode()

    made.plans.steps = (
        dataclasses.replace(
            step("one"), head=head, target=lambda datum, _now: b"/" + datum.encode(),
            metadata=lambda body, event, delivery: b"%b %b %b" % (body, event.id.encode(), delivery.encode()),
        ),
        dataclasses.replace(step("two"), head=head),
        dataclasses.replace(step("three"), head=head, target=lambda *_: Refused(FailureClass.MISSING_FIELD, "account")),
    )  # fmt: skip
    made.learn("in", REF, "known")
    take(world, made, "hello")
    await until(lambda: world.tracker.watermark() == 1)
    rows = {row.step: row for row in world.outcomes()}
    assert (rows["three"].outcome, rows["three"].reason) == ("dead", "missing_field")
    assert heads == [(b"/hello", b"{} e-0 %b" % rows["one"].delivery_id.encode()), (b"", b"{}")]


async def test_without_consent_nothing_is_sent(world, made) -> None:
    made.plans.steps = (dataclasses.replace(step(), basis="consent", purpose="marketing", channels=("email",)),)
    made.learn("in", REF, "known")
    take(world, made, "hello")
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("skipped", "consent")]


async def test_an_old_event_is_stale(world, made) -> None:
    take(world, made, "hello", timestamp_ms=world.clock() // 1_000_000 - DAY - 1)
    assert [(row.outcome, row.reason) for row in world.outcomes()] == [("skipped", "stale")]


async def test_the_producers_trace_goes_on(world, made) -> None:
    parent = b"00-0123456789abcdef0123456789abcdef-00f067aa0ba902b7-01"
    take(world, made, "hello", headers=(("traceparent", parent),))
    await until(lambda: world.tracker.watermark() == 1)
    assert world.outcomes()[0].trace_id == "0123456789abcdef0123456789abcdef"
    assert len(world.telemetry.told) == 1


async def test_a_schema_the_registry_did_not_know_is_asked_for_again(world, made) -> None:
    late = FRAME[:4] + b"\x09" + b"hello"
    made.learn("in", 9, Unknown("no such schema"))
    assert take(world, made, "", value=late) is None
    await until(lambda: len(world.producer.of("g.dead")) == 1)
    made.each_minute()
    assert take(world, made, "", value=late) == ("in", 9)
    assert take(world, made, "hello") is None, "what is known stays known"


async def test_how_often_conditions_were_asked_is_counted(world, made) -> None:
    answers = iter([True, False, None])
    made.plans.condition = lambda _datum, _now: next(answers)
    made.learn("in", REF, "known")
    for _ in range(3):
        take(world, made, "hello")
    take(world, made, "other")
    assert sum(made.misses.taken.values()) == 3  # of types that journeys ask for
    assert made.misses.runs == {"welcome": 2}
    assert made.misses.conditions == {("welcome", "trigger.when"): 1}
