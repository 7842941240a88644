"""Runs with steps after others: how a test writes such steps, and a worker that works on them over fakes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from datetime import UTC, datetime

from pipeline.core import runstate
from pipeline.model import RESULTS, Answer, Edge, GatePolicy, Kind, Outcome, Refused
from pipeline.run.asking import Asking
from pipeline.run.process import Process
from pipeline.testing.fakes import FakeEndpoint
from pipeline.testing.virtual import VirtualLoop
from tests.unit.run.conftest import DAY, REF, Plans, World, step, take, until

ENDED = frozenset({Outcome.DELIVERED, Outcome.DEFAULTED})
AT = datetime(2026, 11, 27, 6, 30, tzinfo=UTC)


def after(name: str, *parents: str | tuple[str, ...], any_parent=False, **over):
    """A step after others; a parent is its name, or name and outcomes."""
    edges = [Edge(each, ENDED) if isinstance(each, str) else Edge(each[0], frozenset(map(Outcome, each[1:])))
             for each in parents]  # fmt: skip
    kind = over.pop("kind", Kind.UPDATE)
    in_process = over.pop("in_process", ())
    made = step(name, kind=kind, in_process=in_process)
    return dataclasses.replace(made, after=tuple(edges), any_parent=any_parent, **over)


class Worker:
    """A world with a process and an endpoint that answers by the step a request is of: 204 unless told."""

    def __init__(self, *steps, clock=None, marks=None, **limits) -> None:
        self.world = World(clock)
        self.answers: dict[str, Answer | None] = {}
        self.sent: list[str] = []
        self.seen: dict[str, dict] = {}
        self.endpoint = FakeEndpoint(self._answer)
        self.lane = self.world.lane(self.endpoint, **limits)
        named = [dataclasses.replace(each, render=self._render(each.name, each.render)) for each in steps]
        plans = Plans(self.world, *named)
        plans._read = lambda value, start: {"text": value[start:].decode()}
        self.process = Process(
            plans, self.world.lanes, self.world.settlement, self.world.telemetry, Asking(GatePolicy(DAY)), marks
        )
        self.process.learn("in", REF, "known")

    def _render(self, name, original):
        def render(datum, now_ms):
            self.seen[name] = dict(datum.get(RESULTS) or {})
            body = original(datum, now_ms)
            return body if isinstance(body, Refused) else name.encode()

        return render

    def _answer(self, _head, body):
        name = body.decode()
        self.sent.append(name)
        return self.answers.get(name, Answer(204))

    def take(self) -> None:
        assert take(self.world, self.process, "hello") is None

    def resume(self, record) -> None:
        """Take a record that another worker handed over, once it is due."""
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        due_ms = max([state.due_ms, *(each.due_ms for each in state.steps.values())])
        self.world.clock.advance(max(due_ms - self.world.clock() // 1_000_000, 0))
        offset = self.world.tracker.next
        self.world.tracker.received(offset)
        record = dataclasses.replace(record, offset=offset, timestamp_ms=self.world.clock() // 1_000_000)
        assert self.process.retry(record, self.world.tracker, self.world.clock()) is None

    def handed_over(self):
        return [each for each in self.world.producer.records if each.topic.startswith("g.retry")]

    def states(self) -> list[runstate.RunState]:
        return [runstate.decode(each.header(runstate.STATE_HEADER)) for each in self.handed_over()]

    async def settled(self, number: int = 1) -> None:
        await until(lambda: self.world.tracker.watermark() == number)
        assert self.world.settlement.unsettled() == 0
        assert self.world.settlement.unsettled_bytes == 0

    def ended(self) -> dict[str, str]:
        """How each step ended here; each at most once."""
        rows = [(row.step, str(row.outcome), row.reason) for row in self.world.outcomes()]
        assert len({each[0] for each in rows}) == len(rows), rows
        return {name: f"{outcome}({reason})" if reason else outcome for name, outcome, reason in rows}


def answering(name: str, **fields):
    """A step whose response has these fields."""
    return dataclasses.replace(step(name), response=lambda _answer: fields, keep_bytes=100)


def decide(name: str, *parents, budget_ms=800, **over):
    """A step with a budget, after others if any; its response and default have `code`."""
    made = dataclasses.replace(
        after(name, *parents, kind=Kind.DECIDE, in_process=(250, 1_000)), budget_ms=budget_ms, keep_bytes=100,
        response=lambda answer: {"code": answer.body.decode()}, default=lambda *_: {"code": "default"},
    )  # fmt: skip
    return dataclasses.replace(made, **over)


def on_virtual_time(scene, *steps, **limits) -> Worker:
    """Let `scene(worker)` set an endpoint up, take one event, and let ten seconds pass."""

    async def main() -> Worker:
        loop = asyncio.get_running_loop()
        worker = Worker(*steps, clock=loop.wall_ns, **limits)
        scene(worker)
        worker.take()
        await asyncio.sleep(10)
        await worker.settled()
        with contextlib.suppress(asyncio.CancelledError):
            await worker.lane.close()
        assert worker.world.errors == []
        return worker

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def waits(worker: Worker, *names: str) -> None:
    """Let these steps be answered so that they wait on a retry tier."""
    worker.answers |= {name: Answer(503) for name in names}
