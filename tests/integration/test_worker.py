"""`hookline run` on a real Kafka and over real sockets: the way of one event, and what the receiver sees of it."""

from __future__ import annotations

import json
import os
import signal

from standardwebhooks import Webhook

from pipeline.testing.receiver import Behaviour
from tests.support.conditions import eventually
from tests.support.system import SECRET, TOKEN, event, step


async def test_an_event_becomes_a_signed_traced_request_and_is_accounted_for(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.prepare()
    worker = system.worker()
    sent = event(7)
    system.feed([sent])
    await eventually(lambda: receiver.accepted() == 1)
    await eventually(system.settled)
    (seen,) = receiver.seen
    assert (seen.method, seen.path) == ("POST", "/upsert")
    assert json.loads(seen.body) == {"event_id": sent["id"], "customer_id": "c-7"}
    headers = {name.lower(): content for name, content in seen.headers.items()}
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["hookline-event-id"] == sent["id"]
    assert headers["hookline-event-type"] == "signup.completed"
    assert (headers["hookline-journey"], headers["hookline-step"]) == ("welcome", "crm")
    assert headers["traceparent"].split("-")[1] == sent["id"].replace("-", "")
    Webhook(SECRET).verify(seen.body, headers)
    (row,) = system.outcomes()
    assert (row.outcome, row.attempts, row.status, row.event_id) == ("delivered", 1, 204, sent["id"])
    assert row.delivery_id == headers["webhook-id"]
    assert system.account()["balanced"] is True
    worker.send(signal.SIGTERM)
    assert worker.wait(30) == 0


async def test_two_steps_two_destinations_one_position(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.destination("log", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), step("touch", "log.upsert", kind="record"))
    system.prepare()
    system.worker()
    system.feed([event(n) for n in range(200)])
    await eventually(lambda: receiver.accepted() == 400)
    await eventually(system.settled)
    assert {row.deliveries for row in system.outcomes()} == {2}
    account = system.account()
    assert account["balanced"] is True


async def test_consent_is_asked_of_the_event(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert", reaches="email"), basis="consent", purpose="marketing")
    system.prepare()
    system.worker()
    yes, no, nothing = event(1), event(2, consent={"email": "denied"}), event(3, consent={})
    both = event(4, consent={"email": "granted", "marketing.email": "denied"})
    system.feed([yes, no, nothing, both])
    await eventually(lambda: len(system.outcomes()) == 4)
    assert {row.event_id: (row.outcome, row.reason) for row in system.outcomes()} == {
        yes["id"]: ("delivered", ""), no["id"]: ("skipped", "consent"), nothing["id"]: ("skipped", "consent"),
        both["id"]: ("skipped", "consent"),
    }  # fmt: skip
    assert receiver.deliveries() == 1


async def test_conditions_choose_events_and_steps(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey(
        "welcome",
        step("pro", "crm.upsert", when='event.properties.plan == "pro"'),
        step("all", "crm.upsert"),
        trigger={"when": "event.properties.n >= 2"},
    )
    system.prepare()
    system.worker()
    system.feed(
        [event(1), event(2), event(3, properties={"plan": "free", "n": 3}), event(4, properties={"plan": "pro"})]
    )
    await eventually(lambda: system.broker.lag(system.group, system.topic) == 0)
    outcomes = sorted((row.step, row.outcome, row.reason) for row in system.outcomes())
    assert outcomes == [
        ("all", "delivered", ""), ("all", "delivered", ""), ("all", "skipped", "condition_error"),
        ("pro", "delivered", ""), ("pro", "skipped", "condition_error"), ("pro", "skipped", "condition_false"),
    ]  # fmt: skip
    assert system.ledger() == {"condition_false": 1}


async def test_trouble_is_retried_through_a_tier_with_the_same_delivery_id(system, receiver) -> None:
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    system.prepare()
    system.worker()
    system.feed([event(1)])
    await eventually(lambda: any(row.outcome == "retrying" for row in system.outcomes()))
    receiver.behaviour = Behaviour()
    await eventually(lambda: receiver.accepted() == 1, timeout_s=40)
    assert receiver.deliveries() == 1
    await eventually(system.settled)
    (final,) = system.final().values()
    assert final.outcome == "delivered"
    assert final.hop >= 1
    assert final.attempts >= 4
    assert system.account()["balanced"] is True


async def test_a_rejection_is_a_dead_letter_and_ends_there(system, receiver) -> None:
    receiver.behaviour = Behaviour(status=422)
    system.destination("crm", receiver.url)
    system.prepare()
    system.worker()
    sent = event(1)
    system.feed([sent])
    await eventually(lambda: len(system.dead()) == 1)
    (letter,) = system.dead()
    assert letter.header("hookline-class") == "client_error"
    assert letter.header("hookline-outcome") == "rejected"
    assert letter.header("hookline-event-id") == sent["id"]
    assert letter.header("hookline-status") == "422"
    assert letter.key == b"c-1"
    await eventually(system.settled)
    assert receiver.deliveries() == 1
    assert system.account()["balanced"] is True


async def test_sigterm_drains_within_its_deadline_and_repeats_nothing(system, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=300)
    system.destination("crm", receiver.url, limits={"concurrency": 4})
    system.prepare()
    worker = system.worker()
    system.feed([event(n) for n in range(60)])
    await eventually(lambda: receiver.accepted() >= 4)
    worker.send(signal.SIGTERM)
    await eventually(lambda: worker.returncode is not None, timeout_s=40)
    assert worker.returncode == 0
    receiver.behaviour = Behaviour()
    system.worker()
    await eventually(lambda: receiver.accepted() == 60, timeout_s=60)
    await eventually(system.settled)
    snapshot = receiver.snapshot()
    assert snapshot["requests"] == 60
    assert system.account()["balanced"] is True


async def test_a_second_sigterm_ends_at_once_and_nothing_is_lost(system, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=60_000)
    system.destination("crm", receiver.url, timeout="60s")
    system.prepare()
    worker = system.worker("--drain", "50")
    system.feed([event(n) for n in range(10)])
    await eventually(lambda: receiver.deliveries() == 10)
    worker.send(signal.SIGTERM)
    await eventually(lambda: "worker_draining" in worker.tail())
    worker.send(signal.SIGTERM)
    await eventually(lambda: worker.returncode is not None, timeout_s=10)
    assert worker.returncode == 1
    receiver.behaviour = Behaviour()
    system.worker()
    await eventually(lambda: receiver.accepted() == 10, timeout_s=90)
    await eventually(system.settled)
    assert system.account()["balanced"] is True


async def test_a_signal_to_a_whole_supervised_group_drains_it(system, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=1_500)
    system.destination("crm", receiver.url, timeout="10s")
    system.prepare()
    supervisor = system.worker("--workers", "2")
    system.feed([event(n) for n in range(20)])
    await eventually(lambda: receiver.deliveries() == 20, timeout_s=60)
    os.killpg(supervisor.pid, signal.SIGTERM)  # as a terminal and systemd do: workers hear it twice
    await eventually(lambda: supervisor.returncode is not None, timeout_s=40)
    said = supervisor.log.read_text()
    assert supervisor.returncode == 0, supervisor.tail()
    assert "worker_killed" not in said
    assert said.count("worker_stopped") == 2
    await eventually(system.settled)
    assert receiver.snapshot()["requests"] == receiver.accepted() == 20


async def test_runs_on_a_tier_that_was_taken_out_are_still_done(system, receiver) -> None:
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    system.tiers = ["4s"]
    system.prepare()
    worker = system.worker()
    system.feed([event(n) for n in range(5)])
    await eventually(lambda: len([row for row in system.outcomes() if row.outcome == "retrying"]) >= 5, timeout_s=40)
    worker.send(signal.SIGTERM)
    await eventually(lambda: worker.returncode == 0, timeout_s=40)
    assert system.broker.lag(f"{system.group}.retry", f"{system.group}.retry.4s") >= 5
    receiver.behaviour = Behaviour()
    system.tiers = ["1s"]
    system.write()
    assert system.run("topics", "create").returncode == 0
    system.worker()
    await eventually(lambda: receiver.accepted() == 5, timeout_s=40)
    system.tiers = ["4s", "1s"]  # what `settled` looks at: all there are
    await eventually(system.settled)
    assert {row.outcome for row in system.final().values()} == {"delivered"}
    account = system.account()
    assert account["balanced"] is True
    assert account["waiting"] == 0
