"""`hookline dead replay` with real workers on a real Kafka."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time

import pytest

from pipeline.cli import main
from pipeline.cli import replay as replaying
from pipeline.testing.receiver import Behaviour
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
    dry = await replay(rejected, "--dry-run")
    assert (dry["count"], len(rejected.outcomes())) == (20, 20), "nothing is written"
    done = await replay(rejected, "--rate", "50/s")
    assert {**done, "dry_run": True} == dry
    await delivered(rejected)
    assert ids(receiver, 204) == ids(receiver, 422)
    assert rejected.broker.ends(rejected.topic) == before
    assert (await asyncio.to_thread(rejected.account))["balanced"] is True
    again = await replay(rejected)
    assert (again["count"], again["left_alone"]) == (0, {"delivered": 20})
    assert len(ids(receiver, 204)) == 20


async def test_filters_narrow_what_is_sent(rejected) -> None:
    one = next(iter(rejected.final().values())).event_id
    for arguments, count in (
        (("--event", one), 1), (("--class", "client_error"), 20), (("--class", "tls"), 0), (("--journey", "x"), 0),
        (("--step", "crm", "--destination", "crm"), 20), (("--since", "1h"), 20), (("--until", "1h"), 0),
    ):  # fmt: skip
        assert (await replay(rejected, "--dry-run", *arguments))["count"] == count, arguments


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
