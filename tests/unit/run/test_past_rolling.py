"""Workers of two releases share a log: what the later one got to, the other leaves to it, and repeats nothing."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

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

    from pipeline.testing.stage.worker import StageWorker

LOG = "shop.ordered.stage"
NOW_MS = 1_795_428_000_000
FILES = {
    "hookline.yaml": {
        "group": "shop", "kafka": {"bootstrap": "env:KAFKA_BOOTSTRAP"}, "retry_tiers": ["10s"],
        "events": [{"topic": "shop.events", "record": "hookline.LifecycleEvent"}],
    },
    "destinations/crm.yaml": {
        "destination": "crm", "owner": "crm@shop.example", "base_url": "https://crm.example",
        "receives": ["identifier"],
        "idempotency": "delivery_id", "operations": {"open": {"path": "/open"}, "note": {"path": "/note"}},
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
        self.broker = StageBroker(loop.wall_ns)
        self.status = 204

    def worker(self) -> StageWorker:
        made = self.performer.worker(
            self.loop, self.broker,
            lambda request: Reply(Answer(self.status if request.step == "two" else 204), 0.01),
        )  # fmt: skip
        made.start()
        return made

    def publish(self, number: int) -> None:
        now_ms = self.loop.wall_ns() // 1_000_000
        sent = self.events.record({
            "id": str(uuid.UUID(int=number)), "type": "signup", "time": now_ms, "customer": {"id": "ann"},
        })  # fmt: skip
        self.broker.append(sent.topic, 0, sent.key, sent.content, sent.headers)

    def later_release(self, offset: int) -> None:
        """Let a note be one that a later release wrote."""
        records = self.broker.logs[LOG, 0].records
        note = records[offset]
        state = note.header(runstate.STATE_HEADER)
        headers = [(name, content) for name, content in note.headers if name != runstate.STATE_HEADER]
        headers.append((runstate.STATE_HEADER, bytes((runstate.STATE_VERSION + 1,)) + state[1:]))
        records[offset] = replace(note, headers=tuple(headers))

    def notes(self) -> list[int]:
        """The versions of the states that were noted."""
        states = [each.header(runstate.STATE_HEADER) for each in self.broker.of(LOG) if each.value is None]
        return [each[0] for each in states if each is not None]


@pytest.mark.parametrize("noted_before", [0, 1])
def test_what_a_later_release_got_to_waits_for_it_and_nothing_is_sent_again(
    tmp_path, monkeypatch, noted_before
) -> None:
    async def main() -> None:
        fleet = Fleet(tmp_path, loop)
        fleet.status = 503
        worker = fleet.worker()
        fleet.publish(1)
        fleet.publish(2)
        while len(fleet.notes()) < noted_before + 1:
            await asyncio.sleep(1.0)
        await worker.stop()
        asked = [each.step for each in worker.requests]
        assert asked[0] == "one"
        assert set(asked[1:]) == {"two"}
        fleet.later_release(2 + noted_before)  # behind the two entries
        assert fleet.notes() == [2] * noted_before + [3]

        fleet.status = 204
        worker = fleet.worker()
        await asyncio.sleep(180)
        assert worker.requests == [], "of neither: the second waits for the first"
        assert "run_state_newer" in {line[1] for line in worker.telemetry.lines}
        assert len(fleet.notes()) == noted_before + 1
        await worker.stop()

        with monkeypatch.context() as patch:
            patch.setattr(runstate, "STATE_VERSION", runstate.STATE_VERSION + 1)
            worker = fleet.worker()
            await worker.settled()
            steps = [(each.step, json.loads(each.body)["id"][-1]) for each in worker.requests]
            assert steps == [("two", "1"), ("one", "2"), ("two", "2")]
            await worker.stop()
        assert worker.errors == []

    loop = VirtualLoop(NOW_MS * 1_000_000)
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
