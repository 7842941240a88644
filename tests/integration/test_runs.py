"""Runs with steps after others on a real Kafka: a worker that dies between two steps, and one that goes on."""

from __future__ import annotations

import json

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import event, step

CODES = {
    "ask": {"path": "/ask", "response": {"code": {"at": "/code", "type": "string", "class": "public"}}},
    "send": {"path": "/send"},
}
CALM = {"failures": "100%", "of": 1_000}


@pytest.fixture
def journey(system, receiver):
    """`ask` gives a code, `send` sends it, `report` tells of both."""
    system.destination("codes", receiver.url, operations={"ask": CODES["ask"]})
    system.destination("mail", receiver.url, operations={"send": CODES["send"]}, breaker=CALM, timeout="20s")
    system.destination("log", receiver.url)
    told = {"customer_id": "${event.customer.id}", "code": "${steps.ask.response.code}"}
    system.journey(
        "welcome",
        step("ask", "codes.ask") | {"kind": "enrich"},
        step("send", "mail.send", payload=told) | {"after": "ask"},
        step("report", "log.upsert", payload=told | {"sent": "${steps.send.outcome}"}) | {"after": "send"},
    )
    system.prepare()
    return system


def answers(code: str, send: int = 200):
    return {"/ask": (200, json.dumps({"code": code}).encode()), "/send": (send, b"")}


def bodies(receiver, path: str) -> list[dict]:
    return [json.loads(each.body) for each in receiver.seen if each.path == path and 200 <= each.status < 300]


async def test_a_run_goes_on_after_kill_9_between_two_steps_with_the_earlier_response(journey, receiver) -> None:
    receiver.behaviour = Behaviour(answers=answers("first", send=503))
    worker = journey.worker()
    journey.feed([event(n) for n in range(20)])
    await eventually(lambda: journey.broker.lag(journey.group, journey.topic) == 0, timeout_s=60)
    worker.kill()
    waiting = {(row.step, row.outcome, row.reason) for row in journey.outcomes()}
    assert ("report", "retrying", "upstream") in waiting
    receiver.behaviour = Behaviour(answers=answers("second"))
    journey.worker()
    await eventually(journey.settled, timeout_s=60)
    assert len(bodies(receiver, "/ask")) == 20, "what ended before is not asked again"
    for path in ("/send", "/upsert"):
        assert {each["customer_id"] for each in bodies(receiver, path)} == {f"c-{n}" for n in range(20)}
        assert {each["code"] for each in bodies(receiver, path)} == {"first"}
    assert {each["sent"] for each in bodies(receiver, "/upsert")} == {"delivered"}
    assert {row.outcome for row in journey.final().values()} == {"delivered"}
    assert journey.account()["balanced"] is True


async def test_a_run_killed_with_a_step_under_way_begins_anew_and_each_step_ends_once(journey, receiver) -> None:
    receiver.behaviour = Behaviour(answers=answers("first"), latency_ms=100)
    worker = journey.worker()
    journey.feed([event(n) for n in range(20)])
    await eventually(lambda: bodies(receiver, "/ask"), timeout_s=60)
    worker.kill()
    receiver.behaviour = Behaviour(answers=answers("second"))
    journey.worker()
    # The dead worker's partitions are free after its session, 15 s.
    await eventually(lambda: sum(row.outcome == "delivered" for row in journey.final().values()) == 60, timeout_s=60)
    await eventually(journey.settled, timeout_s=60)
    ids = {path: {each.delivery_id for each in receiver.seen if each.path == path} for path in ("/ask", "/send")}
    assert [len(found) for found in ids.values()] == [20, 20], "repeats have the delivery ID of what they repeat"
    assert len(journey.final()) == 60
    account = journey.account()
    assert (account["balanced"], account["events"]) == (True, 20)


async def test_a_decide_that_is_late_has_its_default_and_the_run_goes_on_before_the_answer(system, receiver) -> None:
    late, slow_s = Receiver(Behaviour(answers=answers("late"), latency_ms=3_000), keep=100), 3.0
    await late.start()
    system.destination("codes", late.url, operations={"ask": CODES["ask"]})
    system.destination("mail", receiver.url, operations={"send": CODES["send"]})
    system.journey(
        "welcome",
        step("ask", "codes.ask") | {"kind": "decide", "budget": "300ms", "default": {"code": "none"}},
        step("send", "mail.send", payload={"code": "${steps.ask.response.code}", "why": "${steps.ask.class}"})
        | {"after": "ask"},
    )
    system.prepare()
    system.worker()
    system.feed([event(n) for n in range(10)])
    await eventually(system.settled, timeout_s=60)
    await late.stop()
    assert {(row.step, row.outcome, row.reason) for row in system.final().values()} == {
        ("ask", "defaulted", "timeout"), ("send", "delivered", ""),
    }  # fmt: skip
    assert {(each["code"], each["why"]) for each in bodies(receiver, "/send")} == {("none", "timeout")}
    asked = [row for row in system.outcomes() if row.step == "ask"]
    assert len(asked) == 10, "an answer after the default settles nothing"
    assert max(row.settled_at_ms - row.first_attempt_at_ms for row in asked) < slow_s * 1_000
    assert system.account()["balanced"] is True
