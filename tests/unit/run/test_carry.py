"""run/carry: what goes to a retry topic, what into a log, and what stays where it is."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.core import runstate
from pipeline.core.offsets import Tracker
from pipeline.model import ORIGINAL_KEY, TURN, Cap, Kind, Outcome, Record, Route, Waiting
from pipeline.run.carry import Carrier, OwnTopics
from pipeline.run.settle import Settlement
from pipeline.testing.fakes import FakeProducer
from tests.support.followed import after
from tests.unit.run.conftest import DAY, TIERS, step, until

LOG = "g.ordered.welcome"


class Resting(Tracker):
    """A tracker of a log that notes what waits."""

    ordered = True
    __slots__ = ("rests",)

    def rest(self, offset, header, due_ms) -> None:
        self.rests.append((offset, header, due_ms))


@pytest.fixture
def ordered(world):
    world.producer = FakeProducer({"g.retry.10s": 2, "g.retry.1m": 2, "g.retry.10m": 2, LOG: 3})
    own = OwnTopics(
        ("g.retry.10s", "g.retry.1m", "g.retry.10m"), "g.dead", "g.outcomes", TIERS, {"welcome": LOG}
    )  # fmt: skip
    world.settlement = Settlement(own, world.producer, world.telemetry, world.clock, world.dice, lambda _id: "r" * 32)
    return world


def queue(world, *steps, size=5):
    """Open a position whose only run keeps order, and put it into its log."""
    deliveries = world.deliveries(*steps)
    run = deliveries[0].run
    run.flight.record = Record("in", 0, 0, b"key", b"value" * (size // 5), (("traceparent", b"kept"),), 0)
    run.route = Route("welcome", "h", DAY, None, steps, ordered=True)
    waiting = [Waiting(each, 0, TURN, parked=False) for each in deliveries if not each.step.after]
    world.settlement.queue(run, waiting, [each for each in steps if each.after])
    return run


async def test_an_event_is_in_the_log_before_its_position_is_done(ordered) -> None:
    ordered.producer.holding = True
    queue(ordered, step("a"), step("b"))
    (entry,) = ordered.producer.of(LOG)
    assert (entry.key, entry.value) == (b"customer-7", b"value")
    assert (entry.partition, entry.header(ORIGINAL_KEY)) == (runstate.log_partition("customer-7", 3), b"key")
    state = runstate.decode(entry.header(runstate.STATE_HEADER))
    assert isinstance(state, runstate.RunState)
    assert (state.hop, state.due_ms, state.source[:3], set(state.steps)) == (1, 0, ("in", 0, 0), {"a", "b"})
    assert entry.header("traceparent") == b"kept"
    assert ordered.tracker.watermark() == 0
    ordered.producer.ack()
    assert ordered.tracker.watermark() == 1
    assert [(row.step, row.outcome, row.reason) for row in ordered.outcomes()] == [
        ("a", Outcome.RETRYING, TURN), ("b", Outcome.RETRYING, TURN)
    ]  # fmt: skip
    assert {row.due_ms for row in ordered.outcomes()} == {ordered.clock() // 1_000_000 + DAY}


async def test_what_does_not_fit_the_log_is_dead_step_by_step(ordered) -> None:
    ordered.producer._record_bytes_max = 1_000
    run = queue(ordered, step("a"), after("b", "a"), size=1_000)
    await until(lambda: ordered.tracker.watermark() == 1)
    assert ordered.producer.of(LOG) == []
    assert [(row.step, row.outcome, row.reason) for row in ordered.outcomes()] == [
        ("a", Outcome.DEAD, "config"), ("b", Outcome.DEAD, "config")
    ]  # fmt: skip
    assert run.sent_to == ""


async def test_a_run_of_a_log_stays_there_but_its_record_steps_do_not_delay_it(ordered) -> None:
    tracker = Resting("g.ordered.welcome", 1, 0)
    tracker.rests = []
    now_ms = ordered.clock() // 1_000_000
    for kind in (Kind.UPDATE, Kind.RECORD):
        (delivery,) = ordered.deliveries(step("a", kind=kind))
        delivery.run.flight.tracker = tracker
        carrier: Carrier = ordered.settlement._carrier
        waiting = [Waiting(delivery, now_ms + 2_500, "timeout", parked=False)]
        due_ms = carrier.write(delivery.run, waiting, (), now_ms, lambda *_: None)
        assert due_ms == now_ms + (2_500 if kind is Kind.UPDATE else 10_000)  # no tier: it is due when it is due
    ((offset, header, due_ms),) = tracker.rests
    assert (offset, due_ms) == (0, now_ms + 2_500)
    assert isinstance(runstate.decode(header), runstate.RunState)
    assert len(ordered.producer.of("g.retry.10s")) == 1


def test_a_parked_run_of_a_log_climbs_as_others_do(ordered) -> None:
    tracker = Resting("g.ordered.welcome", 1, 0)
    tracker.rests = []
    now_ms = ordered.clock() // 1_000_000
    (delivery,) = ordered.deliveries(step("a"))
    delivery.run.flight.tracker = tracker
    waiting = [Waiting(delivery, now_ms, "timeout", parked=True)]
    due_ms = ordered.settlement._carrier.write(delivery.run, waiting, (), now_ms, lambda *_: None)
    assert due_ms == now_ms + 600_000
    state = runstate.decode(tracker.rests[0][1])
    assert isinstance(state, runstate.RunState)
    assert state.parks == 1


async def test_what_waits_of_a_customer_whom_caps_count_comes_back_in_one_worker(world) -> None:
    capped = dataclasses.replace(step(), caps=(Cap("promotional", "email", 1, DAY),))
    sent = {True: set(), False: set()}
    for made, offsets in ((capped, range(20)), (step(), range(20))):
        for offset in offsets:
            (delivery,) = world.deliveries(made, offset=offset)
            waiting = [Waiting(delivery, 0, "timeout", parked=False)]
            world.settlement._carrier.write(delivery.run, waiting, (), 0, lambda *_: None)
            sent[made is capped].add(world.producer.of("g.retry.10s")[-1].partition)
    assert sent == {True: {runstate.log_partition("customer-7", 2)}, False: {0, 1}}
