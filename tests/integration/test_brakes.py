"""Brakes on a real Kafka: the worker stops of itself, says so everywhere, loses nothing, and goes on when it can."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from typing import Any

from tests.support.conditions import eventually
from tests.support.ports import free_port
from tests.support.system import event
from tests.support.told import joined, lines, standing


def probe(port: int) -> tuple[int, dict[str, Any]]:
    """Ask a worker how it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health")
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


async def test_a_flood_of_bad_records_stops_the_intake_until_somebody_lets_it_go_on(system, receiver) -> None:
    system.partitions = 1
    system.hookline["brakes"] = {"intake": {"share": "10%", "of": 100}}
    system.destination("crm", receiver.url)
    system.prepare()
    port = free_port()
    worker = system.worker("--health", str(port))
    system.feed([event(1), *[b"no event"] * 300, event(2)])
    await eventually(lambda: bool(lines(worker, "intake_paused")))
    await standing(system, f"intake {system.topic}")
    assert len(system.dead()) == 10
    assert receiver.accepted() == 1
    code, health = await asyncio.to_thread(probe, port)
    assert (code, [each["what"] for each in health["halts"]]) == (503, [f"intake {system.topic}"])
    [said] = lines(worker, "intake_paused")
    assert (said["intake"], said["reason"]) == (system.topic, "10 undecodable of the last 11 positions")
    status = await asyncio.to_thread(system.run, "status")
    assert status.returncode == 1
    told = joined(status.stdout)
    assert f"intake {system.topic} stands still in 1 of 1 workers" in told
    assert "10 undecodable of the last 11 positions; tried again in" in told
    assert f"hookline resume intake {system.topic} --reason TEXT" in told
    document = json.loads((await asyncio.to_thread(system.run, "status", "--json")).stdout)
    assert [each["what"] for each in document["workers"][0]["halts"]] == [f"intake {system.topic}"]
    assert len(system.dead()) == 10, "nothing was put aside meanwhile"
    resumed = await asyncio.to_thread(system.run, "resume", "intake", system.topic, "--reason", "they are of no use")
    assert resumed.returncode == 0, resumed.stderr
    await eventually(lambda: receiver.accepted() == 2)
    await eventually(system.settled)
    assert await asyncio.to_thread(probe, port) == (200, {"state": "well", "halts": []})
    assert len(system.dead()) == 300
    assert (await asyncio.to_thread(system.account))["balanced"] is True
    assert [each["reason"].startswith("by ") for each in lines(worker, "intake_resumed")] == [True]
    await eventually(lambda: asyncio.to_thread(lambda: "stands still" not in system.run("status").stdout))


async def test_after_a_short_stretch_of_bad_records_the_intake_goes_on_by_itself(system, receiver) -> None:
    system.partitions = 1
    system.hookline["brakes"] = {"intake": {"share": "10%", "of": 50}}
    system.destination("crm", receiver.url)
    system.prepare()
    worker = system.worker()
    system.feed([event(0), *[b"no event"] * 5, *[event(n) for n in range(1, 60)]])
    await eventually(lambda: bool(lines(worker, "intake_paused")))
    paused_s = time.monotonic()
    await eventually(lambda: receiver.accepted() == 60)
    assert time.monotonic() - paused_s > 2.0, "it waited, before it looked"
    await eventually(system.settled)
    assert [each["reason"] for each in lines(worker, "intake_resumed")] == ["0 of the next 59 would come to nothing"]
    assert len(system.dead()) == 5
    assert (await asyncio.to_thread(system.account))["balanced"] is True


async def test_an_intake_is_paused_and_resumed_by_hand(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.prepare()
    system.worker()
    system.feed([event(1)])
    await eventually(lambda: receiver.accepted() == 1)
    wrong = await asyncio.to_thread(system.run, "pause", "intake", "lifecycle.evnts", "--reason", "why")
    assert (wrong.returncode, "no intake is named" in wrong.stderr) == (2, True)
    paused = await asyncio.to_thread(system.run, "pause", "intake", system.topic, "--reason", "their backfill is wrong")
    assert paused.returncode == 0, paused.stderr
    assert joined(paused.stdout) == f"intake {system.topic} is paused"
    system.feed([event(2)])
    status = joined((await asyncio.to_thread(system.run, "status")).stdout)
    assert f"hookline resume intake {system.topic}" in status
    assert "their backfill is wrong" in status
    await eventually(lambda: asyncio.to_thread(lambda: system.broker.lag(system.group, system.topic) == 1))
    assert receiver.accepted() == 1
    resumed = await asyncio.to_thread(system.run, "resume", "intake", system.topic, "--reason", "corrected")
    assert resumed.returncode == 0, resumed.stderr
    await eventually(lambda: receiver.accepted() == 2)
    await eventually(system.settled)
    assert (await asyncio.to_thread(system.account))["balanced"] is True
