"""run/budget: past its deadline no attempt of a step begins, wherever it waits."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.core import runstate
from pipeline.model import ABSENT, Answer, BreakerPolicy
from tests.support.followed import Worker, after, on_virtual_time, waits
from tests.unit.run.conftest import step, until

DEADLINE_MS = 1_000
"""After the start of the run."""


def due(name="send", in_ms=DEADLINE_MS, **policy):
    return dataclasses.replace(step(name, **policy), deadline=lambda _datum, started_ms: started_ms + in_ms)


def answered(after_ms: int, answer: Answer):
    def scene(worker: Worker) -> None:
        worker.endpoint.latency_s = after_ms / 1_000
        worker.answers |= {"send": answer, "first": answer}

    return scene


async def test_what_starts_past_its_deadline_is_skipped_and_what_has_none_goes(workers) -> None:
    worker = workers(
        due("late", 0), due("early", -1), due("good", 1),
        dataclasses.replace(step("none"), deadline=lambda *_: ABSENT), after("then", ("late", "skipped")),
    )  # fmt: skip
    worker.take()
    await worker.settled()
    assert worker.ended() == {
        "late": "skipped(expired)", "early": "skipped(expired)", "good": "delivered", "none": "delivered",
        "then": "delivered",
    }  # fmt: skip


async def test_a_deadline_that_errs_skips_and_is_noted_at_its_place(workers) -> None:
    worker = workers(dataclasses.replace(step("send"), deadline=lambda *_: None))
    worker.take()
    await worker.settled()
    assert worker.ended() == {"send": "skipped(condition_error)"}
    assert worker.process.misses.conditions == {("welcome", "steps.send.deadline"): 1}


@pytest.mark.parametrize("in_ms", [1, 999, 1_000, 1_500, 1_999])
def test_what_waits_for_a_seat_is_skipped_at_its_deadline(in_ms) -> None:
    worker = on_virtual_time(
        answered(2_000, Answer(204)), step("first"), due("send", in_ms), concurrency=1, timeout_ms=60_000
    )
    assert (worker.ended()["send"], worker.sent) == ("skipped(expired)", ["first"])
    [row] = [row for row in worker.world.outcomes() if row.step == "send"]
    assert in_ms - 1 <= row.settled_at_ms - row.record_time_ms <= in_ms


def test_an_attempt_under_way_goes_on_past_the_deadline() -> None:
    worker = on_virtual_time(answered(3_000, Answer(204)), due(), timeout_ms=60_000)
    assert worker.ended() == {"send": "delivered"}


def test_no_retry_begins_past_the_deadline_and_none_is_written_for_it() -> None:
    calm = BreakerPolicy(1.0, 1_000)
    slow = on_virtual_time(answered(3_000, Answer(503)), due(), timeout_ms=60_000, breaker=calm)
    assert (slow.ended(), slow.sent) == ({"send": "skipped(expired)"}, ["send"])
    quick = on_virtual_time(answered(10, Answer(503)), due(in_process=(700, 700)), breaker=calm)
    assert quick.ended() == {"send": "skipped(expired)"}
    assert (quick.handed_over(), slow.handed_over()) == ([], [])


async def test_it_is_asked_again_where_the_run_goes_on(workers) -> None:
    steps = (due("send", 3_600_000, in_process=()), after("then", ("send", "skipped")))
    first, second, third = (workers(*steps) for _ in range(3))
    waits(first, "send")
    first.take()
    await first.settled()
    assert first.ended()["send"] == "retrying(server_error)"
    record = first.handed_over()[0]
    second.resume(record)
    await second.settled()
    assert second.ended() == {"send": "delivered", "then": "skipped(upstream)"}
    third.world.clock.advance(3_600_000)
    third.resume(record)
    await third.settled()
    assert (third.ended(), third.sent) == ({"send": "skipped(expired)", "then": "delivered"}, ["then"])
    assert isinstance(first.states()[0], runstate.RunState)


async def test_nothing_of_a_partition_that_went_is_skipped_here(workers) -> None:
    worker = workers(step("first"), step("second"), due("send", 10))
    worker.answers |= {"first": None, "second": None}
    worker.take()
    await until(lambda: len(worker.sent) == 2)
    worker.world.settlement.forget(worker.world.tracker)
    worker.world.clock.advance(50)
    await until(lambda: worker.lane._backlog.firsts[0].expiry.when() < worker.lane._loop.time())
    assert worker.world.outcomes() == []
