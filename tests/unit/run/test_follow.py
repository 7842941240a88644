"""run/follow: later steps start once those before ended, each once."""

from __future__ import annotations

import dataclasses

from pipeline.model import Answer, FailureClass, Kind, Outcome, Refused
from tests.support.followed import after, answering
from tests.unit.run.conftest import REF, step, take, until


async def test_steps_start_one_after_the_other_and_read_what_came_of_those_before(workers) -> None:
    worker = workers(answering("one", code="A"), after("two", "one"), after("three", "two"))
    worker.take()
    await worker.settled()
    assert worker.sent == ["one", "two", "three"]
    assert worker.ended() == dict.fromkeys(("one", "two", "three"), "delivered")
    assert {row.deliveries for row in worker.world.outcomes()} == {3}
    assert worker.seen["one"] == {}
    assert worker.seen["three"]["one"].response == {"code": "A"}
    assert worker.seen["three"]["two"].outcome is Outcome.DELIVERED


async def test_branches_run_side_by_side_and_a_join_waits_for_all(workers) -> None:
    worker = workers(step("a"), step("b"), after("both", "a", "b"), after("either", "a", "b", any_parent=True))
    worker.answers["b"] = None
    worker.take()
    await until(lambda: "either" in worker.sent)
    assert sorted(worker.sent) == ["a", "b", "either"]
    worker.endpoint.connections[1]._waiting.set_result(Answer(204))
    await worker.settled()
    assert worker.sent[3:] == ["both"]
    assert worker.ended() == dict.fromkeys(("a", "b", "both", "either"), "delivered")


async def test_a_step_whose_parents_ended_otherwise_is_skipped_and_so_is_what_comes_after(workers) -> None:
    worker = workers(
        step("a"), after("yes", ("a", "delivered")), after("no", ("a", "rejected")), after("none", "yes"),
        after("any", "no", "none", any_parent=True), after("told", ("yes", "skipped")),
    )  # fmt: skip
    worker.answers["a"] = Answer(422)
    worker.take()
    await worker.settled()
    assert worker.ended() == {
        "a": "rejected(client_error)", "yes": "skipped(upstream)", "no": "delivered", "none": "skipped(upstream)",
        "any": "delivered", "told": "delivered",
    }  # fmt: skip
    assert worker.seen["no"]["a"].status == 422


async def test_a_payload_that_cannot_be_built_and_a_false_condition_are_outcomes_like_any(workers) -> None:
    broken = after("broken", "a", render=lambda *_: Refused(FailureClass.MISSING_FIELD, "x"))
    worker = workers(
        step("a"), broken, after("unwanted", "a", when=lambda *_: False), after("odd", "a", when=lambda *_: None),
        after("then", ("broken", "dead"), ("unwanted", "skipped"), ("odd", "skipped")),
    )  # fmt: skip
    worker.take()
    await worker.settled()
    assert worker.ended() == {
        "a": "delivered", "broken": "dead(missing_field)", "unwanted": "skipped(condition_false)",
        "odd": "skipped(condition_error)", "then": "delivered",
    }  # fmt: skip
    assert worker.process.misses.conditions == {("welcome", "steps.odd.when"): 1}


async def test_what_holds_for_the_run_is_said_of_every_step_left(workers) -> None:
    worker = workers(*(dataclasses.replace(each, max_age_ms=60_000) for each in (step("a"), after("b", "a"))))
    take(worker.world, worker.process, "hello", timestamp_ms=worker.world.clock() // 1_000_000 - 60_001)
    await worker.settled()
    assert worker.ended() == {"a": "skipped(stale)", "b": "skipped(stale)"}


async def test_a_run_that_is_refused_as_a_whole_ends_every_step_with_the_reason(workers) -> None:
    worker = workers(step("a"), after("b", "a"), after("log", "b", kind=Kind.RECORD))
    plan = worker.process.reading.plans["in", REF]
    route = dataclasses.replace(plan.routes["signup"][0], condition=lambda *_: None)
    worker.process.reading.plans["in", REF] = dataclasses.replace(plan, routes={"signup": (route,)})
    worker.take()
    await worker.settled()
    assert worker.ended() == dict.fromkeys(("a", "b", "log"), "skipped(condition_error)")


async def test_a_long_chain_ends_at_once_without_recursion(workers) -> None:
    number = 1_500
    worker = workers(
        dataclasses.replace(step("s0"), when=lambda *_: False), *(after(f"s{n}", f"s{n - 1}") for n in range(1, number))
    )
    worker.take()
    await worker.settled()
    assert len(worker.ended()) == number


# ------------------------------------------------------------------------------------------------- what it costs


async def test_what_a_run_keeps_is_counted(workers) -> None:
    plain, followed = workers(answering("a"), step("b")), workers(answering("a", text="x" * 1_000), after("b", "a"))
    for worker in (plain, followed):
        worker.answers |= {"a": None, "b": None}
        worker.take()
        await until(lambda worker=worker: "a" in worker.sent)
    more = followed.world.settlement.unsettled_bytes - plain.world.settlement.unsettled_bytes
    assert more == 10 * len(b"\0\0\0\0\5hello")
    followed.endpoint.connections[0]._waiting.set_result(Answer(200))
    await until(lambda: "b" in followed.sent)
    assert followed.world.settlement.unsettled_bytes - plain.world.settlement.unsettled_bytes > more + 1_000


async def test_a_run_without_later_steps_keeps_nothing(workers) -> None:
    worker = workers(step("a"), step("b"))
    kept = []
    original = worker.lane.offer
    worker.lane.offer = lambda delivery: (kept.append(delivery.run), original(delivery))
    worker.take()
    await worker.settled()
    assert [(run.results, run.datum) for run in kept] == [(None, None)] * 2
