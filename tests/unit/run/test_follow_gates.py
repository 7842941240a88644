"""run/follow, run/resume: what gates say is done: skipped, held on a retry tier without an attempt, asked again."""

from __future__ import annotations

import dataclasses
from datetime import UTC

import pytest

from pipeline.core import runstate
from pipeline.model import (
    RESULTS,
    Answer,
    CancelOn,
    Cap,
    ConsentSaid,
    Contact,
    Edge,
    Happened,
    Known,
    Memory,
    Outcome,
    QuietHours,
    Suppress,
)
from tests.support.gated import Gated
from tests.unit.run.conftest import DAY, REF, Plans, retry_record, step, until

MINUTE = 60_000
HOUR = 60 * MINUTE
CONSENT = dataclasses.replace(step(), basis="consent", purpose="marketing", channels=("email",), reaches="email")
GRANTED = Known({"email": ConsentSaid("email", granted=True, at_ms=1)})


# ------------------------------------------------------------------------------------------------ tables and memory


async def test_what_tables_say_is_looked_up_once_per_event_and_decides(world) -> None:
    gated = Gated(world, dataclasses.replace(CONSENT, name="a"), dataclasses.replace(CONSENT, name="b"))
    gated.take()
    assert await gated.ended(2) == [("skipped", "consent", 0)] * 2
    assert gated.tables.asked == ["c"]
    gated.tables.of["c"] = GRANTED
    gated.take()
    assert (await gated.ended(4))[2:] == [("delivered", "", 1)] * 2


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (dataclasses.replace(GRANTED, erased_ms=1), "erased"),
        (dataclasses.replace(GRANTED, unreadable=True), "consent"),
        (dataclasses.replace(GRANTED, suppressions=(Suppress("s", "channel", "email", "", "", 0),)), "suppression"),
    ],
)
async def test_whatever_keeps_a_customer_from_being_contacted_sends_nothing(world, known, reason) -> None:
    gated = Gated(world, CONSENT)
    gated.tables.of["c"] = known
    gated.take()
    assert await gated.ended() == [("skipped", reason, 0)]
    assert gated.endpoint.requests == []


async def test_stale_tables_hold_until_they_are_read_again(world) -> None:
    gated = Gated(world, CONSENT)
    gated.tables.of["c"], gated.tables.stale_ms = GRANTED, 30_001
    gated.take()
    assert await gated.ended() == [("retrying", "table_stale", 0)]
    (record,) = gated.handed_over()
    assert record.topic == "g.retry.10s"
    world.clock.advance(10_000)
    gated.resume(record)
    assert (await gated.ended(2))[1] == ("retrying", "table_stale", 0)
    gated.tables.stale_ms = 0
    world.clock.advance(10_000)
    gated.resume(gated.handed_over()[1])
    assert (await gated.ended(3))[2] == ("delivered", "", 1)


async def test_a_cap_that_is_reached_skips(world) -> None:
    gated = Gated(world, dataclasses.replace(CONSENT, caps=(Cap("promotional", "email", 1, DAY),)))
    gated.tables.of["c"] = GRANTED
    gated.memories.of["c"] = Memory(contacts=(Contact("promotional", "email", gated.now_ms - 1, "another"),))
    gated.take()
    assert await gated.ended() == [("skipped", "cap", 0)]


async def test_an_event_that_cancels_ends_a_run_also_at_its_next_hop(world) -> None:
    cancel = (CancelOn("bought", lambda _datum, _now: "k"),)
    gated = Gated(world, step(), cancel_on=cancel)
    gated.take()
    assert (await gated.ended())[0][0] == "delivered"
    gated.memories.of["c"] = Memory(happened=(Happened("bought", "k", gated.now_ms, "x"),))
    gated.resume(retry_record(world, {"crm": (1, 0)}, source=("in", 0, 7, gated.now_ms)))
    assert (await gated.ended(2))[1] == ("skipped", "cancelled", 1)
    gated.memories.away = True
    gated.take()
    assert (await gated.ended(3))[2] == ("retrying", "table_stale", 0)


# ------------------------------------------------------------------------------------------------------ quiet hours


QUIET = QuietHours(21 * 3_600, 8 * 3_600, lambda _datum, _now: UTC, skips=False)


async def test_quiet_hours_hold_until_morning_and_use_no_attempt(world) -> None:
    gated = Gated(world, dataclasses.replace(CONSENT, quiet=(QUIET,)))
    gated.tables.of["c"] = GRANTED
    gated.take()
    assert await gated.ended() == [("retrying", "quiet_hours", 0)]
    (record,) = gated.handed_over()
    state = runstate.decode(record.header(runstate.STATE_HEADER))
    morning_ms = 1_700_035_200_000
    assert (record.topic, state.steps["crm"].due_ms, state.steps["crm"].attempts) == ("g.retry.10m", morning_ms, 0)
    while gated.now_ms < morning_ms:
        world.clock.advance(10 * MINUTE)
        gated.resume(gated.handed_over()[-1])
        await until(lambda: world.settlement.unsettled() == 0)
    assert (await gated.ended())[-1] == ("delivered", "", 1)
    assert {each[:2] for each in (await gated.ended())[:-1]} == {("retrying", "quiet_hours")}
    assert gated.now_ms - morning_ms < 10 * MINUTE


async def test_hours_that_turn_quiet_while_a_delivery_waits_hold_it(world) -> None:
    evening = dataclasses.replace(QUIET, from_s=22 * 3_600 + 15 * 60)
    gated = Gated(world, dataclasses.replace(CONSENT, quiet=(evening,)))
    gated.tables.of["c"] = GRANTED
    lane = world.lanes["crm"]
    lane._health.refused(None)
    gated.take()
    assert await gated.ended() == [("retrying", "timeout", 0)]
    lane.reset()
    world.clock.advance(10 * MINUTE)
    gated.resume(gated.handed_over()[0])
    assert (await gated.ended(2))[1] == ("retrying", "quiet_hours", 0)
    assert gated.endpoint.requests == []


# ------------------------------------------------------------------------------------------------------- who enters


@pytest.mark.parametrize(
    ("of_route", "reason"),
    [
        ({"rollout": 0.0}, "rollout"),
        ({"holdout": 1.0}, "holdout"),
    ],
)
async def test_who_does_not_enter_has_every_step_skipped_with_the_reason(world, of_route, reason) -> None:
    first = step("first")
    later = dataclasses.replace(step("later"), after=(Edge("first", frozenset({Outcome.DELIVERED})),))
    gated = Gated(world, first, later, **of_route)
    gated.take()
    assert await gated.ended(2) == [("skipped", reason, 0)] * 2
    await until(lambda: world.tracker.watermark() == 1)
    assert gated.endpoint.requests == []


async def test_who_entered_is_not_drawn_again_at_a_hop(world) -> None:
    gated = Gated(world, step(), rollout=0.0, holdout=1.0)
    gated.resume(retry_record(world, {"crm": (1, 0)}))
    assert await gated.ended() == [("delivered", "", 2)]


async def test_another_record_with_the_same_event_id_is_a_duplicate_the_same_one_is_not(world) -> None:
    gated = Gated(world, step())
    gated.plans._envelope = lambda _datum, record: dataclasses.replace(
        Plans._envelope(gated.plans, "hello", record), id="e-same"
    )
    gated.process.learn("in", REF, "known")
    gated.take()
    gated.take()
    assert sorted(await gated.ended(2)) == [("delivered", "", 1), ("skipped", "duplicate", 0)]
    await until(lambda: world.tracker.watermark() == 2)
    gated.take(offset=0)
    assert sorted(await gated.ended(3))[:2] == [("delivered", "", 1)] * 2


# ------------------------------------------------------------------------------------------------------------ status


@pytest.mark.parametrize("status", ["shadow", "dry"])
async def test_a_shadow_journey_renders_and_sends_nothing_and_so_does_a_dry_environment(world, status) -> None:
    rendered = []
    shown = dataclasses.replace(step(), render=lambda datum, _now: rendered.append(datum) or b"{}")
    gated = Gated(world, shown, status=status)
    gated.take()
    assert await gated.ended() == [("skipped", status, 0)]
    assert rendered == ["hello"]
    assert gated.endpoint.requests == []


@pytest.mark.parametrize("status", ["shadow", "dry"])
async def test_all_steps_of_a_shadow_journey_are_rendered_with_defaults_where_answers_would_be(world, status) -> None:
    read = {}

    def reads(datum, _now):
        read.update(datum[RESULTS]["first"].response)
        return b"{}"

    first = dataclasses.replace(step("first"), default=lambda _datum, _now: {"code": "SAVE"})
    after = (Edge("first", frozenset({Outcome.DELIVERED, Outcome.DEFAULTED})),)
    gated = Gated(world, first, dataclasses.replace(step("later"), after=after, render=reads), status=status)
    gated.plans._read = lambda value, start: {"text": value[start:].decode()}
    gated.process.learn("in", REF, "known")
    gated.take()
    assert await gated.ended(2) == [("skipped", status, 0)] * 2
    assert read == {"code": "SAVE"}
    assert gated.endpoint.requests == []


async def test_a_paused_journey_holds(world) -> None:
    gated = Gated(world, step(), status="paused")
    gated.take()
    assert await gated.ended() == [("retrying", "paused", 0)]
    assert gated.handed_over()[0].topic == "g.retry.10m"


@pytest.mark.parametrize(
    ("statuses", "ended"),
    [
        ({"welcome": "live"}, ("delivered", "", 2)),
        ({"welcome": "paused"}, ("retrying", "paused", 1)),
        ({"welcome": "shadow"}, ("skipped", "shadow", 1)),
        ({"welcome": "draft"}, ("skipped", "status", 1)),
        ({}, ("delivered", "", 2)),
    ],
)
async def test_what_waits_goes_by_the_status_its_journey_has_now(world, statuses, ended) -> None:
    gated = Gated(world, step(), statuses=statuses)
    gated.resume(retry_record(world, {"crm": (1, 0)}))
    assert await gated.ended() == [ended]


async def test_what_waits_of_a_draft_is_over_of_a_journey_that_is_gone_it_is_dead(world) -> None:
    gated = Gated(world, step(), statuses={"farewell": "draft"})
    gated.resume(retry_record(world, {"crm": (1, 0)}, journey="farewell", event_id="e-1"))
    gated.resume(retry_record(world, {"crm": (1, 0)}, journey="forgotten", event_id="e-2"))
    assert await gated.ended(2) == [("skipped", "status", 1), ("dead", "config", 1)]


async def test_a_step_left_over_says_what_holds_for_the_whole_run(world) -> None:
    first = step("first", max_attempts=1)
    later = dataclasses.replace(step("later"), after=(Edge("first", frozenset({Outcome.DELIVERED})),))
    gated = Gated(world, first, later)
    gated.plans._read = lambda value, start: {"text": value[start:].decode()}
    gated.process.learn("in", REF, "known")

    def rejected(_head, _body):
        gated.tables.of["c"] = Known({}, erased_ms=1)
        return Answer(400)

    gated.endpoint.script = rejected
    gated.take()
    await gated.ended(2)
    rows = {row.step: (row.outcome, row.reason) for row in world.outcomes()}
    assert rows == {"first": ("rejected", "client_error"), "later": ("skipped", "erased")}
