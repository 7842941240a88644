"""A fleet of worker processes under load, what is done to it, and whose fault it is that something was sent again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.run.consume import COMMIT_S
from tests.support.conditions import eventually
from tests.support.repeats import Accepted, Attribution, Fault, Loss, attribute
from tests.support.system import event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pipeline.testing.receiver import Receiver, Seen
    from tests.support.children import Child
    from tests.support.system import System

READY_S = 60.0
"""Longest wait for a worker to start, for one to end after SIGTERM, and for all to have partitions."""
LEFT_S = 8.0
"""Longest wait for one that failed to be gone from its group; the session of one that does not leave is 15 s."""
FEED_EVERY_S = 0.25
KEEP_REQUESTS = 200_000
"""Requests a receiver keeps for the attribution; more than any test sends."""
KAFKA_AT = "KAFKA_AT"
"""Variable a worker may have the address of its Kafka from, if some go through a proxy."""
REJOIN_S = 3.0
"""The heartbeat's interval: how long members take to learn of a rebalance; commits of who rejoined wait meanwhile."""
SLACK_S = 2.5
"""For acks, the commit's own way and a busy machine: no part of the promise."""


class Fleet:
    """Workers of one system that are told apart by the token each sends, the events fed to them, and their faults."""

    role = "input"
    """Of the consumers whose partitions are spoken of here."""

    def __init__(self, system: System, receiver: Receiver) -> None:
        self.system = system
        self.receiver = receiver
        self.names: dict[Child, str] = {}
        self.running: list[Child] = []
        self.faults: list[Fault] = []
        self.places: dict[str, tuple[int, int]] = {}
        """The input position of each event ID."""

    # ------------------------------------------------------------------------------------------- workers

    async def begin(self, workers: int) -> None:
        """Make the topics, start workers, and wait until all of them have partitions."""
        await asyncio.to_thread(self.system.prepare)
        for _ in range(workers):
            await self.start()
        await self.serving()

    async def start(self, **environ: str) -> Child:
        """Start a worker, and wait until it is one: before that a signal only ends an interpreter."""
        name = f"worker-{len(self.names)}"
        usual = self.system.environ
        self.system.environ = {**usual, "CRM_TOKEN": name, **environ}
        child = self.system.worker()
        self.system.environ = usual
        self.names[child] = name
        await eventually(
            lambda: "worker_started" in child.log.read_text() or child.returncode is not None,
            READY_S,
            f"{name} started",
        )
        assert child.returncode is None, child.tail()
        self.running.append(child)
        return child

    async def serving(self) -> None:
        """Wait until every running worker was given partitions."""
        await eventually(
            lambda: all(
                any(line["partitions"] for line in self._told(each, "partitions_assigned")) for each in self.running
            ),
            READY_S, "all workers have partitions",
        )  # fmt: skip

    async def ended(self, child: Child) -> int:
        """Wait until a worker ends by itself; its exit code."""
        await eventually(lambda: child.returncode is not None, READY_S, f"{self.names[child]} ended")
        assert child.returncode is not None
        return child.returncode

    # -------------------------------------------------------------------------------------------- faults

    def fault(self, kind: str, child: Child | None = None) -> Fault:
        """Note what is done now."""
        made = Fault(kind, self.names[child] if child is not None else "", time.time())
        self.faults.append(made)
        return made

    async def kill(self, child: Child) -> None:
        """SIGKILL; nobody takes its place."""
        self.running.remove(child)
        fault = self.fault("kill", child)
        child.kill()
        fault.committed = await asyncio.to_thread(self.committed)

    async def term(self, child: Child) -> None:
        """SIGTERM; it must end well."""
        self.running.remove(child)
        fault = self.fault("term", child)
        child.send(signal.SIGTERM)
        assert await self.ended(child) == 0, child.tail()
        fault.until_s = time.time()

    async def freeze(self, child: Child) -> Fault:
        """SIGSTOP: it stays in its group until the broker misses it."""
        self.running.remove(child)
        fault = self.fault("stop", child)
        child.send(signal.SIGSTOP)
        fault.committed = await asyncio.to_thread(self.committed)
        return fault

    async def thaw(self, child: Child) -> None:
        """Wake a worker whose partitions have moved: it must send nothing any more, and end by itself."""
        woken_s = time.time()
        child.send(signal.SIGCONT)
        assert await self.ended(child) == 1, child.tail()
        assert "stood still" in child.log.read_text()
        late = [each for each in self.receiver.seen if self._sender(each) == self.names[child] and each.at_s > woken_s]
        assert late == [], f"{len(late)} requests of a worker that should send nothing any more"

    async def left(self) -> None:
        """Wait until the group has those who run and nobody else: who ended is not waited for."""
        await eventually(
            lambda: asyncio.to_thread(lambda: self.system.broker.members(self.reads[0]) == len(self.running)),
            LEFT_S, "who ended has left the group",
        )  # fmt: skip

    @property
    def reads(self) -> tuple[str, str]:
        """The group and the topic of these consumers."""
        return self.system.group, self.system.topic

    def committed(self) -> dict[int, int]:
        """Next offset by partition; read while nobody else can have the victim's: its session is still to end."""
        found = self.system.broker.committed(*self.reads)
        return {number: offset for number, (offset, _) in found.items()}

    # ---------------------------------------------------------------------------------------------- load

    async def feed(self, number: int) -> None:
        """Produce so many events; returns once Kafka has them."""
        events = [self._event(len(self.places) + each) for each in range(number)]
        found = await asyncio.to_thread(self.system.feed, events)
        self.places |= dict(zip((each["id"] for each in events), found, strict=True))

    def _event(self, number: int) -> dict[str, Any]:
        return event(number)  # each of another customer

    @contextlib.asynccontextmanager
    async def load(self, per_s: int) -> AsyncIterator[None]:
        """Feed events without end while the body runs, and wait for the last of them to be on Kafka."""
        over = asyncio.Event()

        async def feeding() -> None:
            while not over.is_set():
                await self.feed(max(round(per_s * FEED_EVERY_S), 1))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), FEED_EVERY_S)

        task = asyncio.create_task(feeding())
        try:
            yield
        finally:
            over.set()
            await task

    async def under_way(self, more: int = 50) -> None:
        """Wait until so many more deliveries are accepted: what comes then hits work, not a pause."""
        until = self.receiver.accepted() + more
        await eventually(lambda: self.receiver.accepted() >= until, READY_S, "deliveries go on")

    async def recovered(self) -> None:
        """Wait until what is accepted by now is committed: what comes then is a fault of its own."""
        accepted = self.receiver.accepted()
        await eventually(
            lambda: asyncio.to_thread(lambda: sum(self.committed().values()) >= accepted), 2 * READY_S, "commits go on"
        )

    # ------------------------------------------------------------------------------------------ evidence

    async def settled(self, timeout_s: float = 120.0) -> dict[str, Any]:
        """Wait until everything fed is accepted and settled; the account, which balances. Nothing is lost."""
        await eventually(
            lambda: self.receiver.accepted() >= len(self.places), timeout_s,
            what=f"all {len(self.places)} deliveries accepted",
        )  # fmt: skip
        assert self.receiver.accepted() == len(self.places)
        await eventually(lambda: asyncio.to_thread(self.system.settled), timeout_s, what="everything committed")
        account = await asyncio.to_thread(self.system.account)
        assert account["balanced"] is True
        final = await asyncio.to_thread(self.system.final)
        assert len(final) == len(self.places)
        assert {row.outcome for row in final.values()} == {"delivered"}
        return account

    def accepted(self) -> list[Accepted]:
        """Every request that was answered 2xx."""
        return [
            Accepted(
                seen.delivery_id, self._sender(seen), seen.at_s, *self.places[seen.headers["hookline-event-id"]],
            )
            for seen in self.receiver.seen if 200 <= seen.status < 300
        ]  # fmt: skip

    @staticmethod
    def _sender(seen: Seen) -> str:
        return seen.headers["Authorization"].removeprefix("Bearer ")

    def attribution(self) -> Attribution:
        """Attribute every repeated acceptance."""
        losses = [
            Loss(name, int(partition.rpartition("/")[2]), datetime.fromisoformat(line["timestamp"]).timestamp())
            for child, name in self.names.items()
            for line in self._told(child, "partitions_lost")
            for partition in line["partitions"].split()
        ]
        return attribute(self.accepted(), self.faults, losses)

    def _told(self, child: Child, what: str) -> Iterator[dict[str, str]]:
        for text in child.log.read_text().splitlines():
            if text.startswith("{") and what in text and (line := json.loads(text))["role"] == self.role:
                yield line


def judge(found: Attribution) -> None:
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
