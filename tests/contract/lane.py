"""A real lane with a real sender, and what it told of each delivery: for what only shows over sockets and time."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Self

from pipeline.core import payload
from pipeline.core.offsets import Tracker
from pipeline.model import Credentials, Delivery, Flight, Outcome, Record, Route, Run, Step, Trace
from pipeline.run.dispatch import Lane
from pipeline.testing.fakes import FakeTelemetry, dice
from tests.contract.endpoint import destination
from tests.support.conditions import eventually
from tests.unit.run.conftest import step

if TYPE_CHECKING:
    from pipeline.adapters.http import HttpSender
    from pipeline.model import Answer, Failure
    from tests.contract.endpoint import WireEndpoint

DAY_MS = 86_400_000


class LaneTo:
    """Delivers to an endpoint. Deliveries end in `settled`, as `finish` or `later` were told; `results` by attempt."""

    def __init__(self, endpoint: WireEndpoint, *, policy: dict[str, object] | None = None, resolver=None, **limits):
        chosen = {"timeout_ms": 300, "concurrency": 1, "queue": 10_000} | limits
        self.sender: HttpSender = endpoint.sender(resolver, **chosen)
        self.settled: dict[str, tuple[object, ...]] = {}
        self.results: list[Answer | Failure] = []
        self.errors: list[BaseException] = []
        self.stats = endpoint.stats
        self._destination = destination(endpoint.port, **({"host": endpoint.host} | chosen))
        self._step = _step(policy or {})
        self._tracker = Tracker("in", 0, 0)
        self._tasks: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.all_tasks()
        self._lane = Lane(
            self._destination, self.sender, self, FakeTelemetry(), self.stats, time.time_ns, dice(),
            self.errors.append, lambda: 1.0,
        )  # fmt: skip
        judge = self._lane.judge

        def judged(delivery: Delivery, span_id: str, result: Answer | Failure) -> None:
            self.results.append(result)
            judge(delivery, span_id, result)

        self._lane.judge = judged  # type: ignore[method-assign] - watched, and then done as always
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the lane: then nothing of it may be left."""
        await self._lane.close()
        assert self.errors == []
        assert self.sender._open == set()
        left = asyncio.all_tasks() - self._tasks
        assert not [task for task in left if "/tests/" not in task.get_coro().cr_code.co_filename]

    def offer(self, name: str, body: bytes = b"{}") -> None:
        """Give the lane a delivery."""
        now_ms = time.time_ns() // 1_000_000
        record = Record("in", 0, 0, None, b"", (), now_ms)
        flight = Flight(record, self._tracker, ("in", 0, 0, now_ms), None, Trace("a" * 32, "", False), time.time_ns())
        run = Run(flight, Route("welcome", "h", DAY_MS, None, (self._step,)), now_ms, moving=1)
        self._lane.offer(Delivery(name, self._step, run, body, b"", now_ms + 2 * DAY_MS))

    async def deliver(self, name: str, body: bytes = b"{}") -> tuple[object, ...]:
        """Give it one, and wait until it says what became of it: ("delivered", "", ""), ("later", class, wait), ..."""
        self.offer(name, body)
        return await eventually(lambda: self.settled.get(name), timeout_s=10)

    # ----------------------------------------------------------------------------------------- ports.Settler

    def finish(self, delivery: Delivery, outcome: Outcome, cls: str, detail: str) -> None:
        """Keep it."""
        assert delivery.id not in self.settled
        self.settled[delivery.id] = (str(outcome), str(cls), detail)

    def later(self, delivery: Delivery, due_ms: int, cls: str, *, parked: bool) -> None:
        """Keep it, with the wait from the end of the attempt."""
        assert delivery.id not in self.settled
        now_ms = time.time_ns() // 1_000_000
        self.settled[delivery.id] = ("parked" if parked else "later", str(cls), due_ms - now_ms)


def _step(policy: dict[str, object]) -> Step:
    head = payload.head("POST", "/hook", "x", [], Credentials())
    return dataclasses.replace(step(in_process=(), **policy), head=head)
