"""run/budget: a `decide` ends in time, whatever its destination does; its default is its response."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import runstate
from pipeline.model import Answer, Broken, Failure, FailureClass, Kind, Refused
from tests.support.followed import Worker, after, decide, on_virtual_time, waits
from tests.unit.run.conftest import step, until

BUDGET_MS = 800


def ended_after_ms(worker: Worker, name: str) -> int:
    [row] = [row for row in worker.world.outcomes() if row.step == name]
    return row.settled_at_ms - row.record_time_ms


def late(ms: int, answer: Answer | Failure | None = None):
    """Every request is answered after so long, whether its connection was aborted or not."""

    def scene(worker: Worker) -> None:
        worker.endpoint.latency_s = ms / 1_000
        worker.answers["ask"] = answer or Answer(200, body=b"SAVE")

    return scene


def never(worker: Worker) -> None:
    worker.answers["ask"] = None


def connecting(seconds: float, *, stubborn: bool = False):
    """Connections take so long to open, `stubborn` ones although they are given up."""

    def scene(worker: Worker) -> None:
        late(0)(worker)
        connect = worker.endpoint.connect

        async def slowly():
            try:
                await asyncio.sleep(seconds)
            except asyncio.CancelledError:
                if not stubborn:
                    raise
                await asyncio.sleep(seconds)
            return await connect()

        worker.endpoint.connect = slowly

    return scene


def down(worker: Worker) -> None:
    worker.endpoint.down = Failure(FailureClass.CONNECTION, sent=False)


@pytest.mark.parametrize(
    ("scene", "outcome", "at_ms"),
    [
        (late(0), "delivered", 0),
        (late(799), "delivered", 799),
        (late(801), "defaulted(timeout)", BUDGET_MS),
        (late(5_000), "defaulted(timeout)", BUDGET_MS),
        (never, "defaulted(timeout)", BUDGET_MS),
        (connecting(5), "defaulted(timeout)", BUDGET_MS),
        (connecting(0.7), "delivered", 700),
        (connecting(3, stubborn=True), "defaulted(timeout)", BUDGET_MS),
        (late(300, Answer(503)), "defaulted(server_error)", None),
        (late(300, Answer(429, "5")), "defaulted(rate_limited)", 300),
        (late(100, Answer(422)), "defaulted(client_error)", 100),
        (late(100, Answer(401)), "defaulted(auth)", 100),
        (late(100, Failure(FailureClass.TLS, sent=False)), "defaulted(tls)", None),
        (down, "defaulted(connection)", None),
    ],
)  # fmt: skip
def test_a_decide_ends_within_its_budget_whatever_its_receiver_does(scene, outcome, at_ms) -> None:
    worker = on_virtual_time(scene, decide("ask", budget_ms=BUDGET_MS), after("then", "ask"), timeout_ms=60_000)
    assert worker.ended()["ask"] == outcome
    took_ms = ended_after_ms(worker, "ask")
    assert took_ms <= BUDGET_MS
    assert at_ms is None or took_ms in (at_ms, at_ms - 1)  # the clock cuts off
    assert worker.seen["then"]["ask"].response == {"code": "SAVE" if outcome == "delivered" else "default"}
    assert worker.world.producer.of("g.dead") == []
    assert all("ask" not in state.steps for state in worker.states()), "a decide never waits on a retry topic"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 1_200), st.sampled_from([200, 422, 429, 503, 401, 0])), min_size=1, max_size=6),
    st.integers(1, 1_000),
)
def test_however_its_attempts_go_a_decide_ends_once_and_in_time(attempts, budget_ms) -> None:
    def scene(worker: Worker) -> None:
        left = list(attempts)

        def script(_head, body):
            worker.sent.append(body.decode())
            wait_ms, status = left.pop(0) if len(left) > 1 else left[0]
            worker.endpoint.latency_s = wait_ms / 1_000
            return Answer(status, body=b"SAVE") if status else None

        worker.endpoint.script = script

    worker = on_virtual_time(scene, decide("ask", budget_ms=budget_ms))
    assert ended_after_ms(worker, "ask") <= budget_ms
    assert worker.ended()["ask"].startswith(("delivered", "defaulted("))


def test_queueing_is_part_of_the_budget_and_what_waited_in_vain_is_never_sent() -> None:
    worker = on_virtual_time(
        late(3_000), step("first"), decide("ask", budget_ms=BUDGET_MS), concurrency=1, timeout_ms=60_000
    )
    assert worker.ended()["ask"] == "defaulted(timeout)"
    assert BUDGET_MS - 1 <= ended_after_ms(worker, "ask") <= BUDGET_MS
    assert worker.sent == ["first"]


def test_nothing_is_sent_once_the_budget_is_spent() -> None:
    worker = on_virtual_time(connecting(3, stubborn=True), decide("ask", budget_ms=BUDGET_MS), timeout_ms=60_000)
    assert worker.ended() == {"ask": "defaulted(timeout)"}
    assert len(worker.endpoint.connections) == 1, "it opened in the end"
    assert worker.sent == []


def test_a_later_decide_has_its_budget_from_when_it_could_start() -> None:
    worker = on_virtual_time(late(1_500), step("first"), decide("ask", "first", budget_ms=BUDGET_MS), timeout_ms=60_000)
    assert worker.ended()["ask"] == "defaulted(timeout)"
    assert 1_500 + BUDGET_MS - 1 <= ended_after_ms(worker, "ask") <= 1_500 + BUDGET_MS


def test_the_attempt_that_the_budget_ended_is_remembered_and_counts_as_a_timeout() -> None:
    worker = on_virtual_time(never, decide("ask"), timeout_ms=60_000)
    [row] = worker.world.outcomes()
    assert [(attempt.number, attempt.cls) for attempt in row.history] == [(1, "timeout")]
    assert (row.attempts, worker.lane.stats.failures) == (1, {"timeout": 1})
    assert [each[1] for each in worker.world.telemetry.lines] == ["delivery_defaulted"]


def test_a_delivery_answered_in_time_keeps_no_timer() -> None:
    kept = []

    def scene(made: Worker) -> None:
        original = made.lane.offer
        made.lane.offer = lambda delivery: (kept.append(delivery), original(delivery))

    worker = on_virtual_time(scene, decide("ask"))
    assert worker.ended() == {"ask": "delivered"}
    assert kept[0].budget.cancelled()


# ----------------------------------------------------------------------------------------- where there is no waiting


async def test_behind_an_open_breaker_the_default_comes_at_once(workers) -> None:
    worker = workers(decide("ask"), after("then", "ask"))
    for _ in range(4):
        worker.lane._health.failed(worker.world.deliveries(step())[0])
    worker.lane.stats.last_class = "server_error"
    worker.take()
    rows = {row.step: (row.outcome, row.reason) for row in worker.world.outcomes()}
    assert rows["ask"] == ("defaulted", "server_error")


async def test_held_by_hand_the_default_comes_at_once(workers) -> None:
    worker = workers(decide("ask"))
    worker.lane.hold(lambda _step: "paused")
    worker.take()
    await worker.settled()
    assert worker.ended() == {"ask": "defaulted(paused)"}


async def test_a_stop_ends_what_waits_by_its_default(workers) -> None:
    worker = workers(step("slow"), step("slow2"), decide("ask"))
    worker.answers |= {"slow": None, "slow2": None}
    worker.take()
    await until(lambda: len(worker.sent) == 2)
    worker.lane.drain()
    for connection in worker.endpoint.connections:
        connection._waiting.set_result(Answer(204))
    await worker.settled()
    assert worker.ended()["ask"] == "defaulted(timeout)"


async def test_a_decide_that_has_not_started_goes_with_its_run_and_has_its_budget_there(workers) -> None:
    steps = (step("first", in_process=()), decide("ask", "first"))
    first, second = workers(*steps), workers(*steps)
    waits(first, "first")
    first.take()
    await first.settled()
    assert first.states()[0].ahead == ("ask",)
    second.resume(first.handed_over()[0])
    await second.settled()
    assert second.ended() == {"first": "delivered", "ask": "delivered"}


async def test_nothing_of_a_partition_that_went_is_ended_here(workers) -> None:
    worker = workers(decide("ask", budget_ms=500))
    worker.answers["ask"] = None
    worker.take()
    await until(lambda: worker.sent == ["ask"])
    worker.world.settlement.forget(worker.world.tracker)
    await asyncio.sleep(0.6)
    assert worker.world.outcomes() == []


# ---------------------------------------------------------------------------------------------------- what it says


async def test_a_broken_contract_has_the_default(workers) -> None:
    broken = decide("ask", response=lambda _: Broken("#/code type"))
    worker = workers(broken, after("then", ("ask", "defaulted")))
    worker.take()
    await worker.settled()
    assert worker.ended() == {"ask": "defaulted(contract)", "then": "delivered"}


async def test_a_payload_that_cannot_be_built_is_dead(workers) -> None:
    worker = workers(decide("ask", render=lambda *_: Refused(FailureClass.MISSING_FIELD, "x")))
    worker.take()
    await worker.settled()
    assert worker.ended() == {"ask": "dead(missing_field)"}


async def test_a_default_that_cannot_be_made_is_why_it_is_dead_but_only_if_it_is_needed(workers) -> None:
    ask = decide("ask", default=lambda *_: Refused(FailureClass.CONDITION_ERROR, "default.code"))
    good, bad = workers(ask), workers(ask)
    bad.answers["ask"] = Answer(422)
    for worker in (good, bad):
        worker.take()
        await worker.settled()
    assert (good.ended(), bad.ended()) == ({"ask": "delivered"}, {"ask": "dead(condition_error)"})


def enrich(**over):
    made = decide("ask", kind=Kind.ENRICH, budget_ms=0)
    return dataclasses.replace(made, retry=step(in_process=(), max_attempts=2).retry, **over)


async def test_an_enrich_is_retried_and_then_has_its_default_without_a_dead_letter(workers) -> None:
    steps = (enrich(), after("then", "ask"))
    first, second = workers(*steps), workers(*steps)
    waits(first, "ask")
    first.take()
    await first.settled()
    assert first.ended()["ask"] == "retrying(server_error)"
    waits(second, "ask")
    second.resume(first.handed_over()[0])
    await second.settled()
    assert second.ended() == {"ask": "defaulted(server_error)", "then": "delivered"}
    assert second.seen["then"]["ask"].response == {"code": "default"}
    assert second.world.producer.of("g.dead") == []


async def test_an_enrich_that_is_too_old_when_it_comes_back_has_its_default(workers) -> None:
    steps = (enrich(), after("then", "ask", max_age_ms=10 * 86_400_000))
    first, second = workers(*steps), workers(*steps)
    waits(first, "ask")
    first.take()
    await first.settled()
    record = first.handed_over()[0]
    second.world.clock.advance(86_400_000)
    second.resume(record)
    await second.settled()
    assert second.ended() == {"ask": "defaulted(expired)", "then": "delivered"}


async def test_an_enrich_without_a_default_fails_like_an_update(workers) -> None:
    contract = enrich(default=None, response=lambda _: Broken("# type"))
    refused, broken = workers(enrich(default=None), after("then", "ask")), workers(contract, after("then", "ask"))
    refused.answers["ask"] = Answer(422)
    for worker in (refused, broken):
        worker.take()
        await worker.settled()
    assert refused.ended() == {"ask": "rejected(client_error)", "then": "skipped(upstream)"}
    assert broken.ended() == {"ask": "delivered(contract)", "then": "delivered"}
    assert broken.seen["then"]["ask"].response is None


async def test_a_default_for_state_that_is_too_large(workers) -> None:
    big = dataclasses.replace(step("big"), response=lambda _: {"text": "x" * runstate.STATE_BYTES_MAX}, keep_bytes=1)
    ask = dataclasses.replace(enrich(), after=after("ask", "big").after)
    worker = workers(big, ask)
    waits(worker, "ask")
    worker.take()
    await worker.settled()
    assert worker.ended() == {"big": "delivered", "ask": "defaulted(config)"}
