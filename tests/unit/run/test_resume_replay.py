"""run/settle to run/resume by way of a dead letter: what `dead replay` makes of one, a worker goes on with."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.cli import failed as finding
from pipeline.cli import rerun
from pipeline.cli.letter import letter
from pipeline.core import payload, replay, runstate
from pipeline.model import Answer, ConsentSaid, Known, Outcome, Record
from pipeline.testing.fakes import FakeTables
from tests.support.followed import AT, after, answering
from tests.unit.run.conftest import step, until


@pytest.fixture
def journey():
    return (
        answering("ask", code="A", at=AT), after("send", "ask"), after("report", "send"),
        after("sorry", ("send", "dead", "rejected")),
    )  # fmt: skip


def replayed(worker, *names: str, ambiguous=False) -> Record:
    """The retry record a replay of these steps writes, as the command makes it but without a broker."""
    routes = worker.process.reading.plans["in", 5].routes["signup"]
    (route,) = routes
    targets = {
        each.name: replay.Target(
            each.name, each.kind, drops_repeats=True, suffix=each.id_suffix, after=each.after,
            any_parent=each.any_parent, keeps=each.response is not None,
        )
        for each in route.steps
    }  # fmt: skip
    known = {"welcome": finding.Journey("welcome", targets, {name: name for name in targets})}
    letters = [letter(Record("g.dead", 0, at, each.key, each.value, each.headers, 0))
               for at, each in enumerate(worker.world.producer.of("g.dead"))]  # fmt: skip
    rows = {row.delivery_id: row for row in worker.world.outcomes()}
    chosen = []
    for each in letters:
        one = finding.failed_by(each, known)
        if each.says["step"] in names:
            assert one.ambiguous is ambiguous
            chosen.append(finding._chosen(one, rows.get(one.delivery_id), known, with_ambiguous=True))
    planned, left, _ = finding._planned(known["welcome"], chosen, rows)
    assert (planned is not None, left) == (True, {})
    now_ms = worker.world.clock() // 1_000_000
    state = rerun.state(planned, [each.run for each in letters if each.run], {}, now_ms, now_ms)
    source = letters[0].record
    headers = ((runstate.STATE_HEADER, runstate.encode(state)),)
    return dataclasses.replace(source, topic="g.retry.10s", headers=headers)


async def test_a_later_step_is_sent_again_with_earlier_answers_and_the_run_goes_on(workers, journey) -> None:
    first, second = workers(*journey), workers(*journey)
    first.answers["send"] = Answer(422)
    first.take()
    await first.settled()
    assert first.ended() == {
        "ask": "delivered", "send": "rejected(client_error)", "report": "skipped(upstream)", "sorry": "delivered",
    }  # fmt: skip
    second.resume(replayed(first, "send"))
    await second.settled()
    assert second.sent == ["send", "report"], "neither what ended before nor what came after the failure"
    assert second.ended() == {"send": "delivered", "report": "delivered"}
    assert second.seen["send"]["ask"].response == second.seen["report"]["ask"].response == {"code": "A", "at": AT}
    ids = {row.step: row.delivery_id for row in first.world.outcomes()}
    assert {row.step: row.delivery_id for row in second.world.outcomes()} == {
        name: ids[name] for name in ("send", "report")
    }
    assert {(row.offset, row.deliveries, row.hop) for row in second.world.outcomes()} == {(0, 4, 1)}


async def test_one_that_fails_again_can_be_sent_a_third_time(workers, journey) -> None:
    first, second, third = (workers(*journey) for _ in range(3))
    first.answers["send"] = second.answers["send"] = Answer(422)
    first.take()
    await first.settled()
    second.resume(replayed(first, "send"))
    await second.settled()
    assert second.ended() == {"send": "rejected(client_error)", "report": "skipped(upstream)"}
    second.world.producer.records[:0] = [
        each for each in first.world.producer.of("g.outcomes") if b"\x0asorry" in each.value or b"\x06ask" in each.value
    ]  # the outcomes topic has those of the first hop, too
    third.resume(replayed(second, "send"))
    await third.settled()
    assert third.sent == ["send", "report"]
    assert third.seen["report"]["ask"].response == {"code": "A", "at": AT}


async def test_the_first_step_of_a_run_goes_on_with_all_of_it(workers, journey) -> None:
    first, second = workers(*journey), workers(*journey)
    first.answers["ask"] = Answer(422)
    first.take()
    await first.settled()
    second.resume(replayed(first, "ask"))
    await second.settled()
    assert second.sent == ["ask", "send", "report"]
    assert second.ended()["sorry"] == "skipped(upstream)"


async def test_what_a_replay_sends_waits_like_anything_else_and_goes_on(workers, journey) -> None:
    first, second, third = (workers(*journey) for _ in range(3))
    first.answers["ask"] = Answer(422)
    first.take()
    await first.settled()
    second.answers["send"] = Answer(503)
    second.resume(replayed(first, "ask"))
    await second.settled()
    third.resume(second.handed_over()[0])
    await third.settled()
    assert (second.sent, third.sent) == (["ask", "send"], ["send", "report"])
    assert {name: third.ended()[name] for name in ("send", "report")} == {"send": "delivered", "report": "delivered"}


async def test_what_others_were_answered_after_the_failure_is_kept_too(workers) -> None:
    steps = (step("a"), answering("b", code="B"), after("both", "a", "b"))
    first, second = workers(*steps), workers(*steps)
    first.answers |= {"a": Answer(422), "b": None}
    first.take()
    await until(lambda: first.ended().keys() == {"a", "both"})
    assert first.world.producer.of("g.dead") == [], "its letter waits for what is under way"
    assert first.world.tracker.watermark() == 0
    (waiting,) = [each for each in first.endpoint.connections if each._waiting and not each._waiting.done()]
    waiting._waiting.set_result(Answer(200))
    await first.settled()
    second.resume(replayed(first, "a"))
    await second.settled()
    assert second.sent == ["a", "both"]
    assert second.seen["both"]["b"].response == {"code": "B"}


async def test_a_letter_does_not_wait_for_what_waits_on_a_retry_topic(workers) -> None:
    first = workers(step("a"), step("b", in_process=()), after("both", "a", "b"))
    first.answers |= {"a": Answer(422), "b": Answer(503)}
    first.take()
    await first.settled()
    assert [dict(each.headers)["hookline-step"] for each in first.world.producer.of("g.dead")] == [b"a"]


async def test_a_failure_and_what_came_after_it_and_failed_go_together(workers) -> None:
    steps = (step("a"), after("sorry", ("a", "rejected")), after("next", "a"))
    first, second, third = workers(*steps), workers(*steps), workers(*steps)
    first.answers |= {"a": Answer(422), "sorry": Answer(404)}
    first.take()
    await first.settled()
    record = replayed(first, "a", "sorry")
    second.resume(record)
    await second.settled()
    assert second.sent == ["a", "next"]
    assert second.ended() == {"a": "delivered", "next": "delivered", "sorry": "skipped(upstream)"}
    third.answers["a"] = Answer(422)
    third.resume(record)
    await third.settled()
    assert third.ended() == {"a": "rejected(client_error)", "sorry": "delivered", "next": "skipped(upstream)"}


async def test_that_an_attempt_may_have_arrived_is_told_over_hops_and_replays(workers) -> None:
    first, second, third = (workers(step("a", in_process=())) for _ in range(3))
    first.answers["a"] = None  # no answer: its timeout ends it
    first.take()
    await first.settled()
    second.answers["a"] = Answer(422)
    second.resume(first.handed_over()[0])
    await second.settled()
    assert [row.outcome for row in second.world.outcomes()] == [Outcome.REJECTED]
    record = replayed(second, "a", ambiguous=True)
    third.answers["a"] = Answer(404)
    third.resume(record)
    await third.settled()
    assert dict(third.world.producer.of("g.dead")[0].headers)["hookline-ambiguous"] == b"yes"


async def test_an_attempt_that_was_answered_or_never_sent_did_not_arrive_unnoticed(workers) -> None:
    answered = workers(step("a"))
    answered.answers["a"] = Answer(422)
    answered.take()
    await answered.settled()
    assert dict(answered.world.producer.of("g.dead")[0].headers)["hookline-ambiguous"] == b"no"
    assert payload.delivery_id("e-0", b"/welcome/a") == answered.world.outcomes()[0].delivery_id


@pytest.mark.parametrize(
    ("granted", "sent", "ended"), [(True, ["offer"], "delivered"), (False, [], "skipped(consent)")]
)
async def test_consent_withdrawn_before_a_dead_letter_is_replayed_means_no_request(
    workers, granted, sent, ended
) -> None:
    wants = dataclasses.replace(step("offer"), basis="consent", purpose="marketing", channels=("email",))
    first, second = workers(wants), workers(wants)
    for worker, says in ((first, True), (second, granted)):
        tables = FakeTables()
        tables.of["c"] = Known({"marketing": ConsentSaid("marketing", granted=says, at_ms=1)})
        worker.process._asking.attach(tables, None)
    first.answers["offer"] = Answer(422)
    first.take()
    await first.settled()
    assert first.ended() == {"offer": "rejected(client_error)"}
    second.resume(replayed(first, "offer"))
    await second.settled()
    assert (second.sent, second.ended()) == (sent, {"offer": ended})
