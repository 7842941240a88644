"""run/batch: deliveries share requests, and each is settled exactly once by what its batch's answer says of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest

from pipeline.core import batch as rules
from pipeline.core import runstate
from pipeline.core.offsets import Tracker
from pipeline.core.payload import batch_id, delivery_id
from pipeline.model import (
    Answer,
    BatchPolicy,
    BreakerPolicy,
    Broken,
    Failure,
    FailureClass,
    GatePolicy,
    Hold,
    SkipReason,
)
from pipeline.run.asking import Asking
from pipeline.run.batch import Batching
from pipeline.run.process import Process
from pipeline.testing.fakes import FakeEndpoint
from tests.support.followed import after
from tests.unit.run.conftest import DAY, REF, TIERS, Plans, step, take, until

READ = rules.reader(rules.Results((), ("status",), ("id",)))


class Together:
    """A lane with batching in front, and steps that call its operation."""

    def __init__(self, world, script=lambda _head, _body: Answer(204), *, read=None, breaker=None, **over) -> None:
        self.world = world
        self.refuse: SkipReason | Hold | None = None
        self.refused: set[str] = set()  # deliveries it means; all of them if empty
        self.endpoint = FakeEndpoint(script)

        def response(answer):
            return Broken("results") if read is not None and read(answer.body, ()) is None else {"answer": answer}

        carrier = dataclasses.replace(step("", in_process=(), max_attempts=1_000), response=response, keep_bytes=9_999)
        limits = {"events_max": 4, "bytes_max": 10_000, "wait_ms": 60_000, "lines": False} | over
        self.policy = BatchPolicy(**limits, step=carrier, read=read)
        self.step = dataclasses.replace(step(), batch=self.policy)
        lane_limits = {} if breaker is None else {"breaker": breaker}
        batching = Batching(world.settlement, world.clock, world.dice, self._gate)
        self.lane = world.lane(self.endpoint, settler=batching, batching=batching, again=self._gate, **lane_limits)

    def _gate(self, delivery, now_ns) -> SkipReason | Hold | None:
        if not self.refused or delivery.id in self.refused:
            return self.refuse
        delivery.asked_ns = now_ns
        return None

    def offer(self, number: int, **over) -> list:
        made = []
        for _ in range(number):
            (delivery,) = self.world.deliveries(dataclasses.replace(self.step, **over))
            delivery.body = json.dumps({"id": delivery.id}).encode()
            made.append(delivery)
        for each in made:
            self.lane.gather(each, self.policy)
        return made

    def sent(self) -> list[list[str]]:
        return [[each["id"] for each in json.loads(body)] for _, body in self.endpoint.requests]

    def ended(self) -> dict[str, str]:
        return {row.delivery_id: row.outcome for row in self.world.outcomes()}


def failing(*bad: str, status=422):
    """Refuse whatever holds one of these deliveries."""

    def script(_head, body):
        return Answer(status if any(name in body.decode() for name in bad) else 204)

    return script


async def test_as_many_as_a_batch_takes_share_one_request(world) -> None:
    together = Together(world)
    ids = [each.id for each in together.offer(4)]
    await until(lambda: world.tracker.watermark() == 4)
    assert together.sent() == [ids]
    assert together.ended() == dict.fromkeys(ids, "delivered")
    assert [row.attempts for row in world.outcomes()] == [1] * 4
    ((head, _),) = together.endpoint.requests
    assert head.decode().split()[0] not in ids  # the batch has an ID of its own


async def test_a_batch_waits_for_company_no_longer_than_it_may(world) -> None:
    together = Together(world, wait_ms=1)
    ids = [each.id for each in together.offer(3)]
    await until(lambda: world.tracker.watermark() == 3)
    assert together.sent() == [ids]


async def test_bodies_bound_a_batch_too(world) -> None:
    together = Together(world, bytes_max=40, wait_ms=1)
    ids = [each.id for each in together.offer(3)]
    await until(lambda: world.tracker.watermark() == 3)
    assert together.sent() == [ids[:2], ids[2:]]


async def test_a_batch_holds_deliveries_of_one_partition(world) -> None:
    together = Together(world, wait_ms=1)
    together.offer(1)
    first, world.tracker = world.tracker, Tracker("in", 1, 0)
    together.offer(1)
    await until(lambda: first.watermark() == 1 and world.tracker.watermark() == 1)
    assert [len(each) for each in together.sent()] == [1, 1]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_item_at_fault_is_found_by_halving_and_the_others_are_delivered(world, status) -> None:
    together = Together(world, failing("d-2-", status=status))
    ids = [each.id for each in together.offer(4)]
    await until(lambda: world.tracker.watermark() == 4)
    ended = together.ended()
    assert ended.pop(ids[2]) == "rejected"
    assert set(ended.values()) == {"delivered"}
    assert together.sent() == [ids, ids[:2], ids[2:], ids[2:3], ids[3:]]
    assert {row.attempts for row in world.outcomes()} == {1}, "a refusal of the whole is nobody's attempt"


async def test_looking_for_the_item_at_fault_opens_no_breaker(world) -> None:
    """Else batches that are too large would be parked and probed as large again, until all of them are too old."""
    together = Together(world, lambda _head, body: Answer(413 if len(json.loads(body)) > 1 else 204),
                        breaker=BreakerPolicy(rejections=0.5, rejections_of=2))  # fmt: skip
    together.offer(8)
    await until(lambda: world.tracker.watermark() == 8)
    assert set(together.ended().values()) == {"delivered"}
    assert together.lane.stats.state == "closed"


async def test_a_probe_that_is_halved_leaves_its_place_to_its_first_half(world) -> None:
    together = Together(world, lambda _head, body: Answer(413 if len(json.loads(body)) > 1 else 204),
                        breaker=BreakerPolicy(open_ms=0))  # fmt: skip
    together.lane._health.refused(None)
    together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    assert set(together.ended().values()) == {"delivered"}
    assert together.lane.stats.state == "closed"


async def test_rejected_deliveries_of_batches_open_the_breaker_as_others_do(world) -> None:
    together = Together(world, lambda _head, _body: Answer(422),
                        breaker=BreakerPolicy(rejections=1.0, rejections_of=2))  # fmt: skip
    together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    assert set(together.ended().values()) == {"rejected", "retrying"}
    assert together.lane.stats.state == "open"


async def test_what_the_operation_as_such_is_refused_for_is_not_repeated(world) -> None:
    together = Together(world, failing("d-", status=404))
    together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    assert len(together.sent()) == 1
    assert set(together.ended().values()) == {"rejected"}


async def test_a_failed_batch_is_handed_over_delivery_by_delivery_never_repeated_as_it_was(world) -> None:
    together = Together(world, lambda _head, _body: Answer(503, "30"))
    ids = [each.id for each in together.offer(4)]
    await until(lambda: world.tracker.watermark() == 4)
    assert together.sent() == [ids]
    assert len(world.producer.of("g.retry.10s")) == 4
    rows = world.outcomes()
    assert {(row.outcome, row.reason, row.attempts) for row in rows} == {("retrying", "server_error", 1)}
    assert all(row.due_ms >= world.clock() // 1_000_000 + 30_000 for row in rows), "Retry-After is a floor"


async def test_what_failed_before_goes_in_smaller_company(world) -> None:
    together = Together(world, events_max=16)
    made = []
    for _ in range(8):
        (delivery,) = world.deliveries(together.step)
        delivery.body, delivery.attempts = json.dumps({"id": delivery.id}).encode(), 1
        made.append(delivery)
    for each in made:
        together.lane.gather(each, together.policy)
    await until(lambda: world.tracker.watermark() == 8)
    assert [len(each) for each in together.sent()] == [4, 4]


async def test_each_item_gets_its_own_result(world) -> None:
    statuses = {"d-0-crm": 200, "d-1-crm": 422, "d-2-crm": 503}

    def script(_head, body):
        items = [
            {"id": each["id"], "status": statuses[each["id"]]} for each in json.loads(body) if each["id"] in statuses
        ]
        return Answer(207, "", json.dumps(items).encode())

    together = Together(world, script, read=READ)
    ids = [each.id for each in together.offer(4)]
    await until(lambda: world.tracker.watermark() == 4)
    assert together.ended() == {ids[0]: "delivered", ids[1]: "rejected", ids[2]: "retrying", ids[3]: "retrying"}
    reasons = {row.delivery_id: row.reason for row in world.outcomes()}
    assert reasons[ids[3]] == "contract", "an item without a result is ambiguous"


async def test_an_answer_without_the_results_it_promises_counts_as_contract(world) -> None:
    together = Together(world, lambda _head, _body: Answer(200, "", b"<html>"), read=READ)
    together.offer(2)
    together.offer(2)
    await until(lambda: world.tracker.watermark() == 4)
    assert {(row.outcome, row.reason) for row in world.outcomes()} == {("delivered", "contract")}
    assert together.lane.stats.failures == {"contract": 1}


async def test_an_ambiguous_batch_is_dead_where_repeats_are_not_dropped(world) -> None:
    together = Together(world, lambda _head, _body: Failure(FailureClass.TIMEOUT, sent=True))
    carrier = dataclasses.replace(together.policy.step, retry=dataclasses.replace(
        together.policy.step.retry, retry_ambiguous=False))  # fmt: skip
    together.policy = dataclasses.replace(together.policy, step=carrier)
    together.step = dataclasses.replace(together.step, batch=together.policy)
    together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    assert set(together.ended().values()) == {"dead"}


async def test_a_refusing_destination_parks_each_delivery_without_an_attempt(world) -> None:
    together = Together(world, lambda _head, _body: Answer(401))
    together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    assert {(row.outcome, row.reason, row.attempts) for row in world.outcomes()} == {("retrying", "auth", 0)}


async def test_the_gates_are_asked_again_when_a_batch_closes(world) -> None:
    together = Together(world)
    together.offer(3)
    together.refuse = SkipReason.CONSENT
    together.offer(1)
    await until(lambda: world.tracker.watermark() == 4)
    assert together.sent() == []
    assert {(row.outcome, row.reason) for row in world.outcomes()} == {("skipped", "consent")}


async def test_a_batch_that_waited_for_its_turn_goes_without_those_that_may_not_go_any_more(world) -> None:
    answers = iter([None, None])
    together = Together(world, lambda _head, _body: next(answers, Answer(204)), wait_ms=10)
    together.offer(8)
    await until(lambda: len(together.sent()) == 2)
    waiting = together.offer(4)
    await asyncio.sleep(0)
    together.refused, together.refuse = {waiting[1].id}, SkipReason.CONSENT
    world.clock.advance(1_001)
    together.endpoint.connections[0].abort(FailureClass.TIMEOUT)
    await until(lambda: len(together.sent()) == 3)
    assert sorted(together.sent()[2]) == sorted(each.id for each in waiting if each is not waiting[1])
    row = next(row for row in world.outcomes() if row.delivery_id == waiting[1].id)
    assert (row.outcome, row.reason, row.attempts) == ("skipped", "consent", 0)


async def test_a_batch_whose_deliveries_must_all_wait_is_not_sent(world) -> None:
    answers = iter([None, None])
    together = Together(world, lambda _head, _body: next(answers, Answer(204)), wait_ms=10)
    together.offer(8)
    await until(lambda: len(together.sent()) == 2)
    together.offer(4)
    together.refuse = Hold(world.clock() // 1_000_000 + 60_000, "table_stale")
    world.clock.advance(1_001)
    together.endpoint.connections[0].abort(FailureClass.TIMEOUT)
    held = {("retrying", "table_stale", 0)}
    await until(lambda: held <= {(row.outcome, row.reason, row.attempts) for row in world.outcomes()})
    assert len(together.sent()) == 2


async def test_what_is_gathered_is_handed_over_when_its_partition_goes(world) -> None:
    together = Together(world)
    together.offer(2)
    together.lane.release(lambda delivery: delivery.run.flight.tracker is world.tracker)
    await until(lambda: world.tracker.watermark() == 2)
    assert set(together.ended().values()) == {"retrying"}
    assert together.sent() == []


async def test_what_is_gathered_is_dropped_when_its_partition_is_lost(world) -> None:
    together = Together(world, wait_ms=1)
    together.offer(2)
    together.lane.discard(lambda delivery: delivery.run.flight.tracker is world.tracker)
    (other,) = together.offer(1)
    await until(lambda: other.id in together.ended())
    assert together.sent() == [[other.id]]


async def test_what_is_held_back_by_hand_waits_wherever_it_is(world) -> None:
    together = Together(world, lambda _head, _body: None, events_max=2)
    together.offer(4)  # two batches under way: the lane has two slots
    await until(lambda: len(together.endpoint.requests) == 2)
    together.offer(3)  # one batch in the lane's queue, one delivery gathered
    together.lane.hold(lambda step: "paused" if step.journey == "welcome" else "")
    together.offer(1)
    await until(lambda: len(world.outcomes()) == 4)
    assert {(row.outcome, row.reason, row.attempts) for row in world.outcomes()} == {("retrying", "paused", 0)}
    assert len(together.endpoint.requests) == 2


async def test_after_a_drain_nothing_is_gathered(world) -> None:
    together = Together(world)
    together.offer(2)
    together.lane.drain()
    together.offer(1)
    await until(lambda: world.tracker.watermark() == 3)
    assert set(together.ended().values()) == {"retrying"}
    assert together.sent() == []


async def test_a_delivery_that_is_not_due_waits_before_it_is_gathered(world) -> None:
    together = Together(world, wait_ms=1)
    (delivery,) = world.deliveries(together.step)
    delivery.body, delivery.due_ms = b'{"id":"x"}', world.clock() // 1_000_000 + 30
    together.lane.gather(delivery, together.policy)
    assert together.endpoint.requests == []
    await until(lambda: world.tracker.watermark() == 1)
    assert together.sent() == [["x"]]


async def test_the_same_deliveries_make_the_same_batch_id(world) -> None:
    together = Together(world)
    one = together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    heads = [head.decode().split()[0] for head, _ in together.endpoint.requests]
    assert heads == [batch_id([each.id for each in one])]
    assert len({batch_id(ids) for ids in (["a"], ["b"], ["a", "b"], ["b", "a"])}) == 4


@pytest.mark.parametrize("lost", [True, False])
async def test_a_refused_batch_is_not_halved_once_its_partition_goes(world, lost) -> None:
    together = Together(world, lambda _head, _body: Answer(422))
    together.endpoint.latency_s = 0.02
    together.offer(4)
    await until(lambda: len(together.endpoint.requests) == 1)
    if lost:
        world.settlement.forget(world.tracker)
        together.lane.discard(lambda _: True)
    else:
        world.tracker.leaving = True
        together.lane.release(lambda _: True)
        await until(lambda: world.tracker.watermark() == 4)
        assert {(row.outcome, row.attempts) for row in world.outcomes()} == {("retrying", 0)}
    await until(lambda: len(together.lane._idle) == len(together.lane._seats))
    assert len(together.endpoint.requests) == 1
    assert lost == (world.outcomes() == [])


async def test_an_item_whose_sender_is_refused_waits_a_tier_for_the_breaker_is_closed(world) -> None:
    def script(_head, body):
        return Answer(207, body=json.dumps([each | {"status": 401} for each in json.loads(body)]).encode())

    together = Together(world, script, read=READ)
    together.offer(4)
    await until(lambda: world.tracker.watermark() == 4)
    assert {(row.outcome, row.reason, row.attempts) for row in world.outcomes()} == {("retrying", "auth", 0)}
    now_ms = world.clock() // 1_000_000
    for record in world.producer.of("g.retry.10s"):
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        assert all(each.due_ms == now_ms + TIERS[0] for each in state.steps.values())  # so it is no early release's


async def test_a_drop_ends_what_is_gathered_and_leaves_the_rest(world) -> None:
    together = Together(world, wait_ms=1)
    dropped, kept = together.offer(2)
    together.lane.drop(lambda each: each is dropped)
    await until(lambda: world.tracker.watermark() == 2)
    assert together.sent() == [[kept.id]]
    assert together.ended() == {dropped.id: "skipped", kept.id: "delivered"}


async def test_what_starts_while_a_full_batch_closes_is_gathered_too(world) -> None:
    """A refusal lets the next step of its run start at once: into the batch that the one which was too much opens."""
    together = Together(world, bytes_max=10, wait_ms=1)
    body = {"render": lambda *_: b'{"id":1}', "batch": together.policy}
    steps = (
        dataclasses.replace(step("a"), **body),
        after("b", ("a", "skipped"), **body),
    )
    plans = Plans(world, *steps)
    plans._read = lambda *_: {}
    process = Process(plans, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(DAY)))
    process.learn("in", REF, "known")
    together.refuse, together.refused = SkipReason.CONSENT, {delivery_id("e-0", b"/welcome/a")}
    take(world, process, "hello")
    take(world, process, "hello")
    await until(lambda: world.tracker.watermark() == 2, 10.0)
    assert sorted((row.event_id, row.step, row.outcome) for row in world.outcomes()) == [
        ("e-0", "a", "skipped"), ("e-0", "b", "delivered"), ("e-1", "a", "delivered"), ("e-1", "b", "skipped"),
    ]  # fmt: skip
