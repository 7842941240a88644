"""Pausing, disabling, releasing and dropping on a real Kafka, with real workers."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime

import pytest

from pipeline.model import Outcome
from pipeline.testing.receiver import Behaviour
from tests.support.conditions import eventually
from tests.support.system import event, step

IN_FORCE_S = 5.0


def reports(system) -> list[dict]:
    """What the live workers last said."""
    newest = {}
    for record in system.broker.records(f"{system.group}.control"):
        if record.key.startswith(b"worker/"):
            newest[record.key] = json.loads(record.value) if record.value else None
    return [each for each in newest.values() if each]


async def started(system, workers: int = 2) -> None:
    """Start workers; wait until all partitions are theirs."""
    for _ in range(workers):
        system.worker()

    def ready() -> bool:
        seen = reports(system)
        owned = sum(len(each["assigned"].get("input", ())) for each in seen)
        return len(seen) == workers and owned == system.partitions

    await eventually(ready, 40, "all workers report, all partitions assigned")


async def command(system, *arguments: str):
    """Run a command while the receiver goes on."""
    return await asyncio.to_thread(system.run, *arguments)


def ids(receiver) -> list[str]:
    return [each.delivery_id for each in receiver.seen]


@pytest.fixture
def paused_system(system, receiver):
    system.destination("crm", receiver.url)
    system.prepare()
    return system


async def test_a_pause_is_in_force_within_five_seconds_and_a_resumption_lets_all_go(paused_system, receiver):
    system = paused_system
    await started(system)
    system.feed([event(number) for number in range(10)])
    await eventually(lambda: len(receiver.seen) == 10, 20)

    began_s = time.monotonic()
    done = await command(system, "pause", "destination", "crm", "--reason", "wrong coupon")
    assert done.returncode == 0, done.stderr
    assert "in force on 2 of 2 workers" in done.stderr
    assert time.monotonic() - began_s < IN_FORCE_S + 3  # the command's own start is no part of the promise
    system.feed([event(number) for number in range(10, 30)])

    def parked() -> bool:
        rows = [row for row in system.outcomes() if row.reason == "paused"]
        return len({row.delivery_id for row in rows}) == 20

    await eventually(parked, 20, "all parked")
    assert len(receiver.seen) == 10
    assert all(row.attempts == 0 for row in system.outcomes() if row.reason == "paused")

    again = await command(system, "pause", "destination", "crm", "--reason", "again")
    assert again.returncode == 0
    assert "is paused already" in again.stdout
    assert "wrong coupon" in again.stdout

    done = await command(system, "resume", "destination", "crm", "--reason", "coupon fixed")
    assert done.returncode == 0, done.stderr
    await eventually(lambda: len(receiver.seen) == 30, 30, "all delivered")
    assert len(set(ids(receiver))) == 30
    await eventually(system.settled, 60, "all settled")
    assert system.account()["balanced"]
    assert {row.outcome for row in system.final().values()} == {Outcome.DELIVERED}


async def test_a_paused_step_waits_alone(system, receiver):
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), step("second", "crm.upsert"))
    system.prepare()
    await started(system, 1)
    for wrong, near in (("welcome.secnd", "did you mean welcome.second"), ("other.x", "no step is named other.x")):
        refused = await command(system, "pause", "step", wrong, "--reason", "a typing error")
        assert (refused.returncode, near in refused.stderr) == (2, True), refused.stderr
    done = await command(system, "pause", "step", "welcome.second", "--reason", "wrong text")
    assert done.returncode == 0, done.stderr
    system.feed([event(1)])
    await eventually(lambda: [row.step for row in system.outcomes() if row.reason == "paused"] == ["second"], 20)
    await eventually(lambda: len(receiver.seen) == 1)
    status = await command(system, "status")
    assert status.returncode == 1
    assert "hookline resume step welcome.second" in status.stdout
    assert "wrong text" in status.stdout


async def test_410_disables_the_operation_in_the_whole_fleet_until_it_is_reset(paused_system, receiver):
    system = paused_system
    await started(system)
    receiver.behaviour = Behaviour(status=410)
    system.feed([event(0)])
    await eventually(lambda: [row.outcome for row in system.outcomes()] == [Outcome.REJECTED], 20)
    receiver.behaviour = Behaviour()

    def disabled_everywhere() -> bool:
        seen = reports(system)
        return len(seen) == 2 and all(any(offset >= 0 for offset in each["applied"].values()) for each in seen)

    await eventually(disabled_everywhere, IN_FORCE_S, "both workers know")
    system.feed([event(number) for number in range(1, 21)])
    await eventually(
        lambda: len({row.delivery_id for row in system.outcomes() if row.reason == "disabled"}) == 20, 20, "all wait"
    )
    assert len(receiver.seen) == 1

    status = await command(system, "status")
    assert "hookline destination reset crm.upsert" in status.stdout
    assert "answered 410" in status.stdout
    done = await command(system, "destination", "reset", "crm.upsert", "--reason", "they put it back")
    assert done.returncode == 0, done.stderr
    await eventually(lambda: receiver.accepted() == 20, 30, "all delivered")
    await eventually(system.settled, 60, "all settled")
    assert system.account()["balanced"]


async def test_waiting_runs_are_listed_dropped_and_released_and_the_account_balances(system, receiver):
    system.tiers = ["1s", "600s"]
    system.destination("crm", receiver.url, breaker={"of": 2, "open": "1h", "open_max": "1h"},
                       retry={"max_attempts": 50})  # fmt: skip
    system.prepare()
    receiver.behaviour = Behaviour(unavailable=1.0)
    await started(system, 1)
    system.feed([event(number) for number in range(20)])
    slow = f"{system.group}.retry.600s"
    await eventually(lambda: len(system.broker.records(slow)) == 20, 60, "all wait for ten minutes")
    halfway_s = time.time() + 1
    await eventually(lambda: time.time() > halfway_s, 5)
    system.feed([event(number) for number in range(20, 30)])
    await eventually(lambda: len(system.broker.records(slow)) == 30, 60, "all wait for ten minutes")
    await eventually(lambda: not system.broker.lag(f"{system.group}.retry", f"{system.group}.retry.1s"), 30)

    listed = json.loads((await command(system, "waiting", "list", "--json", "--destination", "crm")).stdout)
    assert listed["count"] == 30
    assert {each["tier"] for each in listed["groups"]} == {slow}
    affected = await command(system, "affected", "--destination", "crm", "--json")
    assert affected.returncode == 1
    seen = json.loads(affected.stdout)
    assert (seen["customers"], seen["deliveries"]["waiting"]) == (30, 30)
    assert all(each["customer_ref"].endswith("...") for each in seen["listed"])

    drop = ("waiting", "drop", "--destination", "crm", "--before", _rfc3339(halfway_s), "--reason", "too late")
    dry = await command(system, *drop)
    assert dry.stdout.startswith("20 deliveries would end as skipped(dropped)")
    assert not any(row.reason == "dropped" for row in system.outcomes())
    done = await command(system, *drop, "--yes")
    assert done.returncode == 0, done.stderr
    await eventually(lambda: sum(row.reason == "dropped" for row in system.outcomes()) == 20, 20, "20 dropped")

    receiver.behaviour = Behaviour()
    done = await command(system, "destination", "reset", "crm", "--reason", "it is back")
    assert done.returncode == 0, done.stderr
    done = await command(system, "waiting", "release", "--destination", "crm", "--rate", "50/s", "--newest-first",
                         "--reason", "it is back")  # fmt: skip
    assert done.returncode == 0, done.stderr
    await eventually(lambda: receiver.accepted() == 10, 30, "the others are delivered")
    await eventually(system.settled, 60, "all settled")
    final = [(row.outcome, row.reason) for row in system.final().values()]
    assert sorted(final) == [("delivered", "")] * 10 + [("skipped", "dropped")] * 20
    assert system.account()["balanced"]
    assert (await command(system, "waiting", "list")).stdout == "nothing waits\n"


def _rfc3339(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()
