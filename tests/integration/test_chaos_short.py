"""Three workers on a real Kafka while workers and broker are killed, stopped and started: nothing is lost.

What is accepted more than once is attributed to the fault behind it, and is what promise 3 allows.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from pipeline.run.consume import COMMIT_S
from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.repeats import Accepted, Attribution, Fault, Loss, attribute
from tests.support.system import System, event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from tests.support.children import Child

WORKERS = 3
ROUNDS = 8
FREE_FROM = 2
"""From this round on every worker has partitions when its fault comes; before, the frozen one holds up rebalances."""
EVENTS_A_ROUND = 500
FROZEN_S = 17.0
"""Longer than the consumers' session timeout: the broker gives the partitions of a stopped worker away."""
SEED = 20_261_123
REJOIN_S = 3.0
"""The heartbeat's interval: how long members take to learn of a rebalance; commits of who rejoined wait meanwhile."""
SLACK_S = 2.5
"""For acks, the commit's own way and a busy machine: no part of the promise."""


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Keeps every request, with the token of the worker that sent it."""
    made = Receiver(Behaviour(latency_ms=10, unavailable=0.03, reset=0.01), keep=20 * EVENTS_A_ROUND * ROUNDS)
    await made.start()
    yield made
    await made.stop()


class Fleet:
    """Workers that are told apart by the token each sends; and what was done to them."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.names: dict[Child, str] = {}
        self.running: list[Child] = []
        self.faults: list[Fault] = []

    async def start(self) -> Child:
        """Start a worker, and wait until it is one: before that a signal only ends an interpreter."""
        name = f"worker-{len(self.names)}"
        self.system.environ["CRM_TOKEN"] = name
        # Each on a machine of its own: one that is frozen would keep the others' tables from being followed.
        self.system.environ["XDG_STATE_HOME"] = str(self.system.folder.parent / name)
        child = self.system.worker()
        self.names[child] = name
        await eventually(lambda: "worker_started" in child.log.read_text(), timeout_s=60)
        return child

    def serving(self) -> bool:
        """Whether every running worker was given partitions of the input."""
        return all(any(True for _ in self._told(child, "partitions_assigned")) for child in self.running)

    def fault(self, kind: str, child: Child | None = None) -> Fault:
        """Note what is done now."""
        made = Fault(kind, self.names[child] if child is not None else "", time.time())
        self.faults.append(made)
        return made

    def attribution(self, receiver: Receiver, places: Mapping[str, tuple[int, int]]) -> Attribution:
        """Attribute every repeated acceptance. `places`: the input position of each event ID."""
        accepted = [
            Accepted(
                seen.delivery_id, seen.headers["Authorization"].removeprefix("Bearer "), seen.at_s,
                *places[seen.headers["hookline-event-id"]],
            )
            for seen in receiver.seen if seen.status == 204
        ]  # fmt: skip
        losses = [
            Loss(name, int(partition.rpartition("/")[2]), datetime.fromisoformat(line["timestamp"]).timestamp())
            for child, name in self.names.items()
            for line in self._told(child, "partitions_lost")
            for partition in line["partitions"].split()
        ]
        return attribute(accepted, self.faults, losses)

    def _told(self, child: Child, what: str) -> Iterator[dict[str, str]]:
        for text in child.log.read_text().splitlines():
            if text.startswith("{") and what in text and (line := json.loads(text))["role"] == "input":
                yield line


@pytest.mark.timeout(300)
async def test_nothing_is_lost_whatever_dies(tmp_path, kafka_private, unique, receiver) -> None:
    dice = random.Random(SEED)
    system = System(tmp_path / "config", kafka_private, unique, partitions=6)
    system.destination("crm", receiver.url, limits={"concurrency": 8}, breaker={"open": "1s", "open_max": "2s"})
    fleet = Fleet(system)
    places: dict[str, tuple[int, int]] = {}
    try:
        system.prepare()
        fleet.running = [await fleet.start() for _ in range(WORKERS)]
        await eventually(fleet.serving, timeout_s=60)
        frozen = fleet.running.pop(0)
        for number in range(ROUNDS):
            if number >= FREE_FROM:
                await eventually(fleet.serving, timeout_s=60, what="all workers have partitions")
            events = [event(len(places) + n) for n in range(EVENTS_A_ROUND)]
            places |= dict(zip((each["id"] for each in events), system.feed(events), strict=True))
            until = receiver.accepted() + dice.randrange(50, 250)  # faults hit work under way, not a pause
            await eventually(lambda until=until: receiver.accepted() >= until, timeout_s=60)
            if number == 0:
                stopped = fleet.fault("stop", frozen)
                frozen.send(signal.SIGSTOP)
                stopped.committed = _committed(system)
            await _inflict(("kill", "term", "broker", "term")[number % 4], fleet, dice)
        await eventually(lambda: time.time() >= stopped.at_s + FROZEN_S, timeout_s=FROZEN_S + 1)
        frozen.send(signal.SIGCONT)
        await eventually(lambda: frozen.returncode == 1, what="the worker that stood still ended by itself")
        assert "stood still" in frozen.log.read_text()
        await eventually(lambda: receiver.accepted() == len(places), timeout_s=120, what="every delivery accepted")
        await eventually(system.settled, timeout_s=60)
        account = system.account()
        assert account["balanced"] is True
        assert {row.outcome for row in system.final().values()} == {"delivered"}
    finally:
        system.stop()
    found = fleet.attribution(receiver, places)
    print(f"\n{found.table()}\nof {len(places)} deliveries; account: {account}")  # noqa: T201
    _judge(found)


async def _inflict(kind: str, fleet: Fleet, dice: random.Random) -> None:
    victim = fleet.running.pop(dice.randrange(len(fleet.running)))
    match kind:
        case "kill":
            fault = fleet.fault("kill", victim)
            victim.kill()
            fault.committed = _committed(fleet.system)
            fleet.running.append(await fleet.start())
        case "term":
            fleet.running.append(await fleet.start())  # as in a rolling update: it joins, the old one drains
            fault = fleet.fault("term", victim)
            victim.send(signal.SIGTERM)
            await eventually(lambda: victim.returncode is not None, timeout_s=60)
            fault.until_s = time.time()
            assert victim.returncode == 0, victim.tail()
        case "broker":
            fleet.running.append(victim)
            fault = fleet.fault("broker")
            await asyncio.to_thread(fleet.system.broker.kill)
            await asyncio.to_thread(fleet.system.broker.start)
            fault.until_s = time.time()


def _committed(system: System) -> dict[int, int]:
    """Read it while nobody else can have the victim's partitions: the session timeout is still to pass."""
    return {number: offset for number, (offset, _) in system.broker.committed(system.group, system.topic).items()}


def _judge(found: Attribution) -> None:
    """Hold the repeats to the promise.

    A graceful stop repeats none: it ends its attempts, hands over what waits, and commits before it leaves. Whoever is
    killed or frozen repeats what was in flight or completed since the last commit: at most COMMIT_S back, or in a
    rebalance REJOIN_S more, since Kafka answers a commit only after the JoinGroup before it. While the broker is away
    nothing can be committed: what is completed meanwhile repeats only if partitions are lost over it.
    """
    assert found.unexplained == []
    assert [each.fault for each in found.of("term") if each.firsts] == []
    for each in found.of("kill", "stop"):
        assert each.committed == [], "sent again, though committed before"
    for each in found.blames:
        assert each.oldest_s <= COMMIT_S + REJOIN_S + SLACK_S, found.table()
