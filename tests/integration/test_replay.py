"""`hookline dead replay` with real workers on a real Kafka."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time

import pytest

from pipeline.cli import main
from pipeline.cli import replay as replaying
from pipeline.core.tables import CONSENT, encode
from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import event, step


@pytest.fixture
async def rejected(system, receiver):
    """Twenty deliveries that their receiver rejects."""
    receiver.behaviour = Behaviour(answers={"/upsert": (422, b"")})
    system.destination("crm", receiver.url)
    system.prepare()
    system.worker()
    system.feed([event(n) for n in range(20)])
    await eventually(lambda: len(system.dead()) == 20 and system.settled(), timeout_s=60)
    receiver.behaviour = Behaviour()
    return system


async def replay(system, *arguments: str) -> dict:
    # Beside the loop, on which the receiver answers: one that stood still would be a receiver that times out.
    done = await asyncio.to_thread(system.run, "dead", "replay", "--json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def ids(receiver, status: int) -> list[str]:
    return sorted(each.delivery_id for each in receiver.seen if each.status == status)


async def delivered(system) -> None:
    await eventually(
        lambda: system.settled() and {row.outcome for row in system.final().values()} == {"delivered"}, timeout_s=60
    )


async def test_what_was_rejected_is_delivered_with_its_ids_and_a_second_run_sends_nothing(rejected, receiver) -> None:
    before = rejected.broker.ends(rejected.topic)
    dry = await replay(rejected, "--dry-run", "--list")
    assert (dry["count"], len(rejected.outcomes())) == (20, 20), "nothing is written"
    assert sorted(each["delivery_id"] for each in dry["deliveries"]) == ids(receiver, 422)
    done = await replay(rejected, "--rate", "5/s", "--list")
    assert {**done, "dry_run": True} == dry
    at = sorted(each.timestamp_ms for each in rejected.broker.records(f"{rejected.group}.retry.1s"))
    assert len(at) == 20
    assert at[-1] - at[0] >= 1_990, "five a second: the second batch, two seconds before the fourth, is after the first"
    await delivered(rejected)
    assert ids(receiver, 204) == ids(receiver, 422)
    assert rejected.broker.ends(rejected.topic) == before
    assert (await asyncio.to_thread(rejected.account))["balanced"] is True
    again = await replay(rejected)
    assert (again["count"], again["left_alone"]) == (0, {"delivered": 20})
    assert len(ids(receiver, 204)) == 20


async def test_gates_are_asked_again_who_withdrew_consent_gets_nothing(system, receiver, tmp_path) -> None:
    receiver.behaviour = Behaviour(answers={"/upsert": (422, b"")})
    system.destination("crm", receiver.url)
    told = {"reaches": "email", "category": "promotional", "basis": "consent", "purpose": "marketing"}
    system.journey("welcome", step("mail", "crm.upsert", reaches=told.pop("reaches")), **told)
    system.hookline["state_dir"] = str(tmp_path / "state")
    system.prepare()
    system.worker()
    system.feed([event(n) for n in range(4)])
    await eventually(lambda: len(system.dead()) == 4 and system.settled(), timeout_s=60)
    receiver.behaviour = Behaviour()
    denied = encode(CONSENT, {"said": {"email": {"state": "denied", "at": time.time_ns() // 1_000_000}}})
    system.broker.produce(f"{system.group}.consent", [Outgoing(denied, f"c-{n}\0crm".encode()) for n in (1, 3)])
    assert (await replay(system))["count"] == 4
    await eventually(
        lambda: system.settled() and {row.outcome for row in system.final().values()} == {"delivered", "skipped"},
        timeout_s=60,
    )
    ends = [(row.outcome, row.reason) for row in system.final().values()]
    assert sorted(ends) == [("delivered", "")] * 2 + [("skipped", "consent")] * 2
    got = {json.loads(each.body)["customer_id"] for each in receiver.seen if each.status == 204}
    assert got == {"c-0", "c-2"}
    assert (await replay(system))["left_alone"] == {"delivered": 2, "skipped": 2}
    assert (await asyncio.to_thread(system.account))["balanced"] is True


async def test_filters_narrow_what_is_sent(rejected) -> None:
    one = next(iter(rejected.final().values())).event_id
    for arguments, count in (
        (("--event", one), 1), (("--class", "client_error"), 20), (("--class", "tls"), 0),
        (("--step", "crm", "--destination", "crm"), 20), (("--since", "1h"), 20), (("--until", "1h"), 0),
    ):  # fmt: skip
        assert (await replay(rejected, "--dry-run", *arguments))["count"] == count, arguments
    slip = await asyncio.to_thread(rejected.run, "dead", "replay", "--journey", "welcme", "--dry-run")
    assert slip.returncode == 2
    assert "welcome" in slip.stderr


CODES = {
    "ask": {"path": "/ask", "response": {"code": {"at": "/code", "type": "string", "class": "public"}}},
    "send": {"path": "/send"},
}


@pytest.fixture
def followed(system, receiver):
    """`ask` gives a code, `send` sends it, `report` tells of both, `sorry` that `send` failed."""
    system.destination("codes", receiver.url, operations=CODES)
    system.destination("log", receiver.url)
    told = {"customer_id": "${event.customer.id}", "code": "${steps.ask.response.code}"}
    system.journey(
        "welcome",
        step("ask", "codes.ask") | {"kind": "enrich"},
        step("send", "codes.send", payload=told) | {"after": "ask"},
        step("report", "log.upsert", payload=told | {"sent": "${steps.send.outcome}"}) | {"after": "send"},
        step("sorry", "log.upsert", payload={"sorry": "${steps.send.class}"})
        | {"after": {"send": ["rejected", "dead"]}},
    )
    system.prepare()
    return system


def answers(code: str, send: int = 200, ask: int = 200):
    return {"/ask": (ask, json.dumps({"code": code}).encode()), "/send": (send, b"")}


def bodies(receiver, path: str) -> list[dict]:
    return [json.loads(each.body) for each in receiver.seen if each.path == path and 200 <= each.status < 300]


async def ended(system, *outcomes: str) -> None:
    """Wait until each step ended so: `ask`, `report`, `send`, `sorry`."""

    def words() -> set[tuple[str, str]]:
        return {(row.step, row.outcome.value) for row in system.final().values()}

    steps = ("ask", "report", "send", "sorry")
    await eventually(lambda: system.settled() and words() == set(zip(steps, outcomes, strict=True)), timeout_s=60)


async def test_a_step_after_others_is_sent_with_their_answers_and_its_run_goes_on(followed, receiver) -> None:
    receiver.behaviour = Behaviour(answers=answers("code-one", send=422))
    followed.worker()
    followed.feed([event(n) for n in range(10)])
    await ended(followed, "delivered", "skipped", "rejected", "delivered")
    event_id = next(iter(followed.final().values())).event_id
    shown = (await asyncio.to_thread(followed.run, "dead", "show", event_id)).stdout
    assert "earlier steps" in shown
    assert "code-one" not in shown, "an answer is shown to nobody who did not ask for it"
    assert "code-one" in (await asyncio.to_thread(followed.run, "dead", "show", event_id, "--reveal")).stdout
    receiver.behaviour = Behaviour(answers=answers("second"))
    dry = await replay(followed, "--dry-run", "--list")
    assert (dry["count"], dry["following"], dry["left_alone"]) == (10, 10, {})
    done = await replay(followed, "--list")
    assert {**done, "dry_run": True} == dry
    await ended(followed, "delivered", "delivered", "delivered", "delivered")
    assert {(each["customer_id"], each["code"]) for each in bodies(receiver, "/send")} == {
        (f"c-{n}", "code-one") for n in range(10)
    }
    told = [each for each in bodies(receiver, "/upsert") if "sorry" not in each]
    assert {(each["code"], each["sent"]) for each in told} == {("code-one", "delivered")}
    assert len(told) == len(bodies(receiver, "/send")) == len(bodies(receiver, "/ask")) == 10
    assert len(bodies(receiver, "/upsert")) == 20, "what came after the failure is not done again"
    sent = [row for row in followed.outcomes() if row.outcome == "delivered"]
    assert sorted(row.delivery_id for row in sent if row.hop) == [each["delivery_id"] for each in sorted(
        done["deliveries"], key=lambda each: each["delivery_id"])]  # fmt: skip
    account = await asyncio.to_thread(followed.account)
    assert (account["balanced"], account["deliveries"]) == (True, {"delivered": 40})
    assert (await replay(followed))["count"] == 0


def _put_off(system, name: str) -> set[str]:
    """The deliveries of a step that a worker handed over."""
    waits = [
        row for row in system.outcomes() if row.outcome == "retrying" and row.reason not in ("replayed", "upstream")
    ]
    return {row.delivery_id for row in waits if row.step == name}


async def test_the_first_step_of_a_run_is_sent_again_and_all_of_it_follows(followed, receiver) -> None:
    receiver.behaviour = Behaviour(answers=answers("none", ask=422))
    followed.worker()
    followed.feed([event(n) for n in range(10)])
    await ended(followed, "rejected", "skipped", "skipped", "skipped")
    receiver.behaviour = Behaviour(answers=answers("second", send=503))
    done = await replay(followed, "--step", "ask")
    assert (done["count"], done["following"]) == (10, 30)
    await eventually(lambda: len(_put_off(followed, "send")) == 10, timeout_s=60)
    assert (await replay(followed))["left_alone"] == {"delivered": 10}, "what was replayed and waits is left alone"
    account = await asyncio.to_thread(followed.account)
    assert (account["waiting"], account["repeats"]) == (30, 0), "what was skipped, and goes on, waits"
    assert account["deliveries"] == {"delivered": 10, "retrying": 30}
    receiver.behaviour = Behaviour(answers=answers("third"))
    await ended(followed, "delivered", "delivered", "delivered", "skipped")
    assert {each["code"] for each in bodies(receiver, "/send")} == {"second"}
    assert (await asyncio.to_thread(followed.account))["balanced"] is True


async def test_a_replay_that_was_killed_is_gone_on_with(rejected, receiver) -> None:
    child = _start(rejected, "--rate", "2/s")
    topic = f"{rejected.group}.retry.1s"
    await eventually(lambda: sum(end - first for first, end in rejected.broker.ends(topic).values()) >= 4, timeout_s=60)
    child.kill()
    child.wait()
    rest = await replay(rejected)
    assert 0 < rest["count"] < 20
    await delivered(rejected)
    again = ids(receiver, 204)
    assert again == ids(receiver, 422), "what was written again was sent once"
    assert (await asyncio.to_thread(rejected.account))["balanced"] is True


def _start(system, *arguments: str):
    return subprocess.Popen(
        system._argv("dead", "replay", *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


async def test_a_replay_past_its_age_is_stale_and_sends_nothing(rejected, receiver) -> None:
    for child in rejected.children:
        child.kill()
    rejected.journeys["welcome"]["trigger"]["max_age"] = "1s"
    rejected.write()
    rejected.worker()
    newest_ms = max(row.event_time_ms for row in rejected.final().values())
    await eventually(lambda: time.time() * 1_000 > newest_ms + 1_000)
    assert (await replay(rejected))["count"] == 20
    await eventually(lambda: {row.reason for row in rejected.final().values()} == {"stale"}, timeout_s=60)
    assert ids(receiver, 204) == []
    assert (await asyncio.to_thread(rejected.account))["balanced"] is True
    assert (await replay(rejected))["count"] == 0


async def test_what_may_have_arrived_is_sent_only_if_that_is_asked_for(system, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=3_000)
    system.destination("crm", receiver.url, idempotency="none", timeout="500ms")
    system.journey("welcome", step("crm", "crm.upsert"))
    system.prepare()
    system.worker()
    system.feed([event(1)])
    await eventually(lambda: len(system.dead()) == 1 and system.settled(), timeout_s=60)
    (letter,) = system.dead()
    assert letter.header("hookline-ambiguous") == "yes"
    receiver.behaviour = Behaviour()
    assert (await replay(system))["left_alone"] == {"ambiguous": 1}
    assert (await replay(system, "--ambiguous"))["count"] == 1
    await delivered(system)


async def test_a_hop_that_a_broken_off_replay_wrote_already_is_sent_once(rejected, receiver, monkeypatch) -> None:
    """Broken off before its outcomes are written, again and again: the worker drops the copies."""
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(replaying, "_outcome", _broken_off)
            with pytest.raises(_BrokenOffError):
                _here(rejected, "dead", "replay", "--rate", "50/s")
    assert (await replay(rejected))["count"] in (0, 20)
    await delivered(rejected)
    assert ids(receiver, 204) == ids(receiver, 422)
    assert (await asyncio.to_thread(rejected.account))["balanced"] is True


class _BrokenOffError(BaseException):
    pass


def _here(system, *arguments: str) -> None:
    """Run a command in this very process."""
    main(system._argv(*arguments)[3:])


def _broken_off(*_: object) -> bytes:
    raise _BrokenOffError
