"""A fleet whose journey keeps order, on a stage: workers one after the other over a broker in memory."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config.load import load
from pipeline.core import runstate
from pipeline.model import Answer
from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.endpoints import Reply
from pipeline.testing.stage.perform import Events
from pipeline.testing.virtual import VirtualLoop

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Coroutine

    from pipeline.testing.stage.endpoints import Request
    from pipeline.testing.stage.worker import StageWorker

LOG = "shop.ordered.stage"
NOW_MS = 1_795_428_000_000
PARTITIONS = 4
FILES = {
    "hookline.yaml": {
        "group": "shop", "kafka": {"bootstrap": "env:KAFKA_BOOTSTRAP"}, "retry_tiers": ["10s"],
        "events": [{"topic": "shop.events", "record": "hookline.LifecycleEvent"}],
    },
    "destinations/crm.yaml": {
        "destination": "crm", "owner": "crm@shop.example", "base_url": "https://crm.example",
        "receives": ["identifier"],
        "idempotency": "delivery_id", "retry": {"max_attempts": 50},
        "operations": {"open": {"path": "/open"}, "note": {"path": "/note"}},
    },
    "journeys/stage.yaml": {
        "journey": "stage", "owner": "crm@shop.example", "goal": "Keep the stage", "category": "operational",
        "basis": "contract", "status": "live", "ordering": "key",
        "trigger": {"events": ["signup"], "max_age": "1d"},
        "steps": [
            {"step": "one", "call": "crm.open", "kind": "update", "payload": {"id": "${event.id}"}},
            {"step": "two", "call": "crm.note", "kind": "update", "after": "one", "payload": {"id": "${event.id}"}},
        ],
    },
}  # fmt: skip


class Fleet:
    """A broker, and workers over it one after the other."""

    def __init__(self, folder: pathlib.Path, loop: VirtualLoop) -> None:
        for name, content in FILES.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(content))
        self.events = Events(load(folder, None), dict(Folders((packaged(),)).readers), None)
        self.performer = self.events.performer()
        self.loop = loop
        self.broker = StageBroker(loop.wall_ns, {LOG: PARTITIONS})
        self.status: Callable[[Request], int] = lambda _request: 204

    def worker(self) -> StageWorker:
        made = self.performer.worker(
            self.loop, self.broker, lambda request: Reply(Answer(self.status(request)), 0.01),
        )  # fmt: skip
        made.start()
        return made

    def publish(self, number: int, customer: str = "ann") -> None:
        now_ms = self.loop.wall_ns() // 1_000_000
        sent = self.events.record({
            "id": str(uuid.UUID(int=number)), "type": "signup", "time": now_ms, "customer": {"id": customer},
        })  # fmt: skip
        self.broker.append(sent.topic, 0, sent.key, sent.content, sent.headers)

    def later_release(self, offset: int) -> None:
        """Let a note be one that a later release wrote."""
        records = self.broker.logs[LOG, partition_of("ann")].records
        note = records[offset]
        state = note.header(runstate.STATE_HEADER)
        headers = [(name, content) for name, content in note.headers if name != runstate.STATE_HEADER]
        headers.append((runstate.STATE_HEADER, bytes((runstate.STATE_VERSION + 1,)) + state[1:]))
        records[offset] = replace(note, headers=tuple(headers))

    def notes(self) -> list[int]:
        """The versions of the states that were noted."""
        states = [each.header(runstate.STATE_HEADER) for each in self.broker.of(LOG) if each.value is None]
        return [each[0] for each in states if each is not None]


def partition_of(customer: str) -> int:
    """The partition of the log a customer's events are in."""
    return runstate.log_partition(customer, PARTITIONS)


def number_of(request: Request) -> int:
    """The number of the event a request is for."""
    return uuid.UUID(json.loads(request.body)["id"]).int


def on_stage(main: Callable[[VirtualLoop], Coroutine[None, None, None]]) -> None:
    """Run on a clock that leaps."""
    loop = VirtualLoop(NOW_MS * 1_000_000)
    try:
        loop.run_until_complete(main(loop))
    finally:
        loop.close()
