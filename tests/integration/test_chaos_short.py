"""Three workers on a real Kafka while workers and broker are killed, stopped and started: nothing is lost.

What is accepted more than once is attributed to the fault behind it, and is what promise 3 allows.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.fleet import Fleet, judge
from tests.support.system import System

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKERS = 3
ROUNDS = ("kill", "term", "broker", "kill")
FREE_FROM = 2
"""From this round on every worker has partitions when its fault comes; before, the frozen one holds up rebalances."""
EVENTS_A_ROUND = 500
FROZEN_S = 17.0
"""Longer than the consumers' session timeout: the broker gives the partitions of a stopped worker away."""
SEED = 20_261_123


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Keeps every request, with the token of the worker that sent it."""
    made = Receiver(Behaviour(latency_ms=10, unavailable=0.03, reset=0.01), keep=20 * EVENTS_A_ROUND * len(ROUNDS))
    await made.start()
    yield made
    await made.stop()


@pytest.mark.timeout(300)
async def test_nothing_is_lost_whatever_dies(tmp_path, kafka_private, unique, receiver) -> None:
    dice = random.Random(SEED)
    system = System(tmp_path / "config", kafka_private, unique, partitions=6)
    system.environ["XDG_STATE_HOME"] = str(tmp_path / "state")  # one machine: the first worker follows the tables
    system.destination("crm", receiver.url, limits={"concurrency": 8}, breaker={"open": "1s", "open_max": "2s"})
    fleet = Fleet(system, receiver)
    try:
        await fleet.begin(WORKERS)
        frozen = fleet.running[0]
        for number, kind in enumerate(ROUNDS):
            if number >= FREE_FROM:
                await fleet.serving()
            await fleet.feed(EVENTS_A_ROUND)
            await fleet.under_way(dice.randrange(50, 250))
            if number == 0:
                stopped = await fleet.freeze(frozen)
            await _inflict(kind, fleet, dice)
        await eventually(lambda: time.time() >= stopped.at_s + FROZEN_S, timeout_s=FROZEN_S + 1)
        await fleet.thaw(frozen)
        account = await fleet.settled()
    finally:
        system.stop()
    found = fleet.attribution()
    print(f"\n{found.table()}\nof {len(fleet.places)} deliveries; account: {account}")  # noqa: T201
    judge(found)


async def _inflict(kind: str, fleet: Fleet, dice: random.Random) -> None:
    victim = dice.choice(fleet.running)
    match kind:
        case "kill":
            await fleet.kill(victim)
            await fleet.start()
        case "term":
            await fleet.start()  # as in a rolling update: it joins, the old one drains
            await fleet.term(victim)
        case "broker":
            fault = fleet.fault("broker")
            await asyncio.to_thread(fleet.system.broker.kill)
            await asyncio.to_thread(fleet.system.broker.start)
            fault.until_s = time.time()
