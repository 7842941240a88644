"""run/process: each record ends somewhere it can be found, and every gate is asked again when a run comes back."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.core import journeys
from pipeline.model import Event, FailureClass, Kind, Plan, Record, Refused, Route, Undecodable
from pipeline.ports import Unknown
from pipeline.run.process import Process
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import DAY, step, until

REF = 5
FRAME = b"\x00\x00\x00\x00\x05"


class Plans:
    """A plan made by hand: the datum is the text after the frame, and names what the stages answer."""

    def __init__(self, world, *steps) -> None:
        self.world = world
        self.steps = steps or (step(),)
        self.condition = None
        self.asked: list[str] = []

    def __call__(self, topic, schema) -> Plan | Undecodable | None:
        self.asked.append(topic)
        route = Route("welcome", "h", DAY, self.condition, self.steps)
        return Plan(self._read, self._envelope, {"signup": (route,)}) if schema == "known" else None

    @staticmethod
    def _read(value, start):
        text = value[start:].decode()
        return Undecodable("damaged") if text == "damaged" else text

    def _envelope(self, datum, record) -> Event | Undecodable:
        if datum == "nameless":
            return Undecodable("missing id")
        kind = "other" if datum == "other" else "signup"
        return Event(f"e-{record.offset}", kind, record.timestamp_ms, "c", {})


@pytest.fixture
async def made(world):
    world.lane(FakeEndpoint())
    plans = Plans(world)
    process = Process(plans, world.lanes, world.settlement, world.telemetry, event_flag_max_age_ms=DAY)
    process.plans = plans
    process.learn("in", REF, "known")
    return process


def take(world, process, text: str | None, **over):
    offset = world.tracker.next
    world.tracker.received(offset)
    now_ms = world.clock() // 1_000_000
    value = None if text is None else FRAME + text.encode()
    record = Record("in", 0, offset, b"k", value, (), now_ms)
    return process.record(dataclasses.replace(record, **over), world.tracker, world.clock())


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


# ------------------------------------------------------------------------------------------- a run handed over


def retry_record(world, steps: dict[str, tuple[int, int]], **over) -> Record:
    """A retry record as settle writes it; `steps` by name: attempts and how far off it is due."""
    now_ms = world.clock() // 1_000_000
    fields = {
        "journey": "welcome", "hash": "h", "event_id": "e-7", "source": ("in", 3, 7, now_ms - 20_000), "deliveries": 2,
        "started_ms": now_ms - 20_000, "hop": 2, "parks": 0, "due_ms": now_ms, "trace_id": "c" * 32, "sampled": False,
        "link": "d" * 16,
        "steps": {
            name: journeys.StepState(attempts, now_ms + off_ms, now_ms - 10_000, "timeout", 0)
            for name, (attempts, off_ms) in steps.items()
        },
    } | over  # fmt: skip
    header = journeys.encode(journeys.RunState(**fields))
    return Record("g.retry.10s", 0, 7, b"k", FRAME + b"hello", ((journeys.STATE_HEADER, header),), now_ms)


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
    state = journeys.decode(record.header(journeys.STATE_HEADER))
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
    record = dataclasses.replace(retry_record(world, {"crm": (1, 0)}), headers=((journeys.STATE_HEADER, b"junk"),))
    resume(world, made, record)
    await until(lambda: world.tracker.watermark() == 8)
    assert world.producer.of("g.dead")[0].value == FRAME + b"hello"


async def test_a_record_step_that_waits_does_not_hold_the_run(world, made) -> None:
    made.plans.steps = (step("one", kind=Kind.RECORD), step("two"))
    made.learn("in", REF, "known")
    resume(world, made, retry_record(world, {"one": (1, 70_000), "two": (1, 70_000)}))
    assert len(world.producer.of("g.retry.1m")) == 2
