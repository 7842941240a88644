"""run/follow with run/settle and run/resume: a run that waits goes on where it stopped, whoever works on it."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from pipeline.model import Answer, Edge, Kind
from tests.support.followed import AT, ENDED, after, answering, waits
from tests.unit.run.conftest import step, until


@pytest.fixture
def journey():
    return (
        dataclasses.replace(answering("ask", code="A", at=AT), retry=step(in_process=()).retry),
        dataclasses.replace(step("send", in_process=()), after=(Edge("ask", ENDED),)),
        after("report", "send"),
    )  # fmt: skip


async def test_a_run_goes_on_where_it_stopped_on_another_worker_with_earlier_responses(workers, journey) -> None:
    first, second = workers(*journey), workers(*journey)
    waits(first, "send")
    first.take()
    await first.settled()
    assert first.ended() == {"ask": "delivered", "send": "retrying(server_error)", "report": "retrying(upstream)"}
    (record,) = first.handed_over()
    (state,) = first.states()
    assert (set(state.steps), state.ahead, set(state.results)) == ({"send"}, ("report",), {"ask", "send"})

    second.resume(record)
    await second.settled()
    assert second.sent == ["send", "report"], "what ended is not started again"
    assert second.ended() == {"send": "delivered", "report": "delivered"}
    assert second.seen["send"]["ask"].response == second.seen["report"]["ask"].response == {"code": "A", "at": AT}
    assert {(row.deliveries, row.offset, row.hop) for row in second.world.outcomes()} == {(3, 0, 1)}
    ids = {row.step: row.delivery_id for row in first.world.outcomes()}
    assert {row.delivery_id for row in second.world.outcomes()} == {ids["send"], ids["report"]}


async def test_a_resumed_run_may_be_handed_over_again(workers, journey) -> None:
    first, second, third = (workers(*journey) for _ in range(3))
    waits(first, "ask")
    first.take()
    await first.settled()
    assert first.states()[0].ahead == ("send", "report")
    waits(second, "send")
    second.resume(first.handed_over()[0])
    await second.settled()
    third.resume(second.handed_over()[0])
    await third.settled()
    assert (second.sent, third.sent) == (["ask", "send"], ["send", "report"])
    assert third.seen["report"]["ask"].response == {"code": "A", "at": AT}
    assert [row.hop for row in third.world.outcomes()] == [2, 2]


async def test_an_edge_by_retrying_lets_the_run_go_on_and_its_hand_over_waits_for_that(workers) -> None:
    steps = (
        dataclasses.replace(step("slow", in_process=())), after("meanwhile", ("slow", "retrying")),
        after("done", "slow"), after("both", "meanwhile", ("slow", "retrying", "delivered")),
    )  # fmt: skip
    first, second = workers(*steps), workers(*steps)
    waits(first, "slow")
    first.take()
    await first.settled()
    assert first.sent == ["slow", "meanwhile", "both"]
    assert first.ended() == {
        "slow": "retrying(server_error)", "meanwhile": "delivered", "both": "delivered", "done": "retrying(upstream)",
    }  # fmt: skip
    second.resume(first.handed_over()[0])
    await second.settled()
    assert second.sent == ["slow", "done"]


async def test_an_edge_by_retrying_that_was_fulfilled_stays_so_whoever_ends_first(workers) -> None:
    steps = (
        step("slow", in_process=()), step("other", in_process=()), after("one", ("slow", "retrying"), "other"),
        after("never", ("other", "rejected")),
    )  # fmt: skip
    first, second, third = (workers(*steps) for _ in range(3))
    waits(first, "slow", "other")
    first.take()
    await first.settled()
    assert first.states()[0].retried == ("other", "slow")
    waits(second, "other")
    second.resume(first.handed_over()[0])
    await second.settled()
    third.resume(second.handed_over()[0])
    await third.settled()
    assert third.ended() == {"other": "delivered", "one": "delivered", "never": "skipped(upstream)"}


async def test_without_a_retry_such_an_edge_is_not_fulfilled(workers) -> None:
    worker = workers(step("quick"), after("meanwhile", ("quick", "retrying")))
    worker.take()
    await worker.settled()
    assert worker.ended() == {"quick": "delivered", "meanwhile": "skipped(upstream)"}


async def test_a_record_step_is_handed_over_alone_with_what_it_reads_and_starts_nothing_else(workers) -> None:
    steps = (
        answering("ask", code="A"), after("log", "ask", kind=Kind.RECORD), after("send", "ask"), after("last", "send"),
    )  # fmt: skip
    first, second, third = (workers(*steps) for _ in range(3))
    waits(first, "log", "send")
    first.take()
    await first.settled()
    states = {tuple(state.steps): state for state in first.states()}
    assert {key: state.ahead for key, state in states.items()} == {("log",): (), ("send",): ("last",)}
    records = {
        next(iter(state.steps)): record for state, record in zip(first.states(), first.handed_over(), strict=True)
    }
    second.resume(records["log"])
    await second.settled()
    assert second.ended() == {"log": "delivered"}
    assert second.seen["log"]["ask"].response == {"code": "A"}
    third.resume(records["send"])
    await third.settled()
    assert third.ended() == {"send": "delivered", "last": "delivered"}


async def test_a_copy_of_a_hop_starts_nothing(workers, journey) -> None:
    first, second = workers(*journey), workers(*journey)
    waits(first, "send")
    first.take()
    await first.settled()
    second.resume(first.handed_over()[0])
    second.resume(first.handed_over()[0])
    await second.settled(2)
    assert second.sent == ["send", "report"]


async def test_state_that_is_too_large_ends_what_waits_and_the_run_goes_on(workers) -> None:
    worker = workers(
        answering("ask", text="x" * 70_000),
        after("send", "ask"),
        after("sorry", ("send", "dead")),
        after("last", "send"),
    )
    waits(worker, "send")
    worker.take()
    await worker.settled()
    assert worker.ended() == {
        "ask": "delivered", "send": "dead(config)", "sorry": "delivered", "last": "skipped(upstream)",
    }  # fmt: skip
    assert dict(worker.world.producer.of("g.dead")[0].headers)["hookline-detail"] == b"state_too_large"
    assert worker.handed_over() == []


async def test_a_dropped_step_ends_what_comes_after(workers, journey) -> None:
    first, second = workers(*journey), workers(*journey)
    waits(first, "send")
    first.take()
    await first.settled()
    second.process.told = lambda *_: type("Order", (), {"verb": "drop"})
    second.resume(first.handed_over()[0])
    await second.settled()
    assert second.ended() == {"send": "skipped(dropped)", "report": "skipped(upstream)"}


async def test_steps_that_went_from_the_configuration_end_with_the_reason(workers, journey) -> None:
    first = workers(*journey, after("more", "report"))
    waits(first, "ask")
    first.take()
    await first.settled()
    changed = workers(journey[0], after("more", "newcomer"), step("newcomer"))
    changed.resume(first.handed_over()[0])
    await changed.settled()
    assert changed.ended() == {
        "ask": "delivered", "send": "dead(config)", "report": "dead(config)", "more": "skipped(upstream)",
    }  # fmt: skip


# ---------------------------------------------------------------------------------------- a partition that goes


async def test_a_partition_that_leaves_starts_nothing_new_and_hands_the_rest_over(workers, journey) -> None:
    first, second = workers(*journey), workers(*journey)
    first.answers["ask"] = None
    first.take()
    await until(lambda: first.sent == ["ask"])
    first.world.tracker.leaving = True
    first.endpoint.connections[0]._waiting.set_result(Answer(200))
    await first.settled()
    assert first.sent == ["ask"]
    assert first.ended() == {"ask": "delivered", "send": "retrying", "report": "retrying(upstream)"}
    second.resume(first.handed_over()[0])
    await second.settled()
    assert second.ended() == {"send": "delivered", "report": "delivered"}


async def test_what_a_stopping_worker_puts_off_is_no_retry(workers) -> None:
    steps = (step("a"), after("b", "a"), after("meanwhile", ("b", "retrying")))
    worker, second = workers(*steps), workers(*steps)
    worker.answers["a"] = None
    worker.take()
    await until(lambda: worker.sent == ["a"])
    worker.lane.drain()
    worker.endpoint.connections[0]._waiting.set_result(Answer(200))
    await worker.settled()
    assert worker.ended() == {"a": "delivered", "b": "retrying", "meanwhile": "retrying(upstream)"}
    second.resume(worker.handed_over()[0])
    await second.settled()
    assert second.ended() == {"b": "delivered", "meanwhile": "skipped(upstream)"}


async def test_nothing_of_a_partition_that_went_is_started(workers, journey) -> None:
    worker = workers(*journey)
    worker.answers["ask"] = None
    worker.take()
    await until(lambda: worker.sent == ["ask"])
    worker.world.settlement.forget(worker.world.tracker)
    worker.endpoint.connections[0]._waiting.set_result(Answer(200))
    await until(lambda: len(worker.world.outcomes()) == 1)
    await asyncio.sleep(0.01)
    assert worker.sent == ["ask"]
    assert worker.handed_over() == []
