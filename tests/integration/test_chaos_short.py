"""Three workers on a real Kafka while workers and broker are killed, stopped and started: nothing is lost."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING

import pytest

from pipeline.testing.receiver import Behaviour
from tests.support.conditions import eventually
from tests.support.system import System, event

if TYPE_CHECKING:
    from tests.support.children import Child

WORKERS = 3
ROUNDS = 8
EVENTS_A_ROUND = 500
FROZEN_S = 17.0
"""Longer than the consumers' session timeout: the broker gives the partitions of a stopped worker away."""
SEED = 20_261_123


async def _grown(receiver, by: int) -> None:
    """Wait until that many more deliveries arrived: faults hit work under way, not a pause."""
    until = receiver.accepted() + by
    await eventually(lambda: receiver.accepted() >= until, timeout_s=60)


async def _started(system: System, logged: str = "worker_started") -> Child:
    """Start a worker, and wait until it is one: before that a signal only ends an interpreter."""
    child = system.worker()
    await eventually(lambda: logged in child.log.read_text(), timeout_s=60)
    return child


@pytest.mark.timeout(300)
async def test_nothing_is_lost_whatever_dies(tmp_path, kafka_private, unique, receiver) -> None:
    dice = random.Random(SEED)
    receiver.behaviour = Behaviour(latency_ms=10, unavailable=0.03, reset=0.01)
    system = System(tmp_path / "config", kafka_private, unique, partitions=6)
    system.destination("crm", receiver.url, limits={"concurrency": 8}, breaker={"open": "1s", "open_max": "2s"})
    fed = 0
    try:
        system.prepare()
        frozen = await _started(system, "partitions_assigned")
        fleet = [await _started(system) for _ in range(WORKERS - 1)]
        thaw_at_s = 0.0
        loop = asyncio.get_running_loop()
        for number in range(ROUNDS):
            system.feed([event(fed + n) for n in range(EVENTS_A_ROUND)])
            fed += EVENTS_A_ROUND
            await _grown(receiver, 100)
            if number == 0:
                frozen.send(signal.SIGSTOP)
                thaw_at_s = loop.time() + FROZEN_S
            victim = fleet.pop(dice.randrange(len(fleet)))
            match ("kill", "term", "broker", "term")[number % 4]:
                case "kill":
                    victim.kill()
                    fleet.append(await _started(system))
                case "term":
                    fleet.append(await _started(system))  # as in a rolling update: it joins, the old one drains
                    victim.send(signal.SIGTERM)
                    await eventually(lambda child=victim: child.returncode is not None, timeout_s=60)
                    assert victim.returncode == 0, victim.tail()
                case "broker":
                    fleet.append(victim)
                    await asyncio.to_thread(kafka_private.kill)
                    await asyncio.to_thread(kafka_private.start)
        await eventually(lambda: loop.time() >= thaw_at_s, timeout_s=FROZEN_S + 1)
        frozen.send(signal.SIGCONT)
        await eventually(lambda: frozen.returncode == 1, what="the worker that stood still ended by itself")
        assert "stood still" in frozen.log.read_text()
        await eventually(lambda: receiver.accepted() == fed, timeout_s=120, what="every delivery ID accepted")
        await eventually(system.settled, timeout_s=60)
        account = system.account()
        assert account["balanced"] is True
        assert {row.outcome for row in system.final().values()} == {"delivered"}
        repeats = sum(answers - 1 for _, answers in receiver.snapshot()["ids"].values())
        print(f"accepted more than once: {repeats} of {fed}; account: {account}")  # noqa: T201
    finally:
        system.stop()
