"""app/retention on a real Kafka: what is settled goes, what still waits stays; a cleaner that dies is noticed."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from pipeline.adapters.kafka.admin import Admin
from pipeline.app import worker as worker_module
from pipeline.app.retention import delete_settled
from pipeline.config.load import load
from pipeline.core.offsets import Tracker
from tests.support.conditions import eventually


class Owner:
    """Stands for an intake: a role and the trackers it owns."""

    def __init__(self, role: str, *trackers: Tracker) -> None:
        self.source = self
        self.role = role
        self.trackers = {(each.topic, each.partition): each for each in trackers}


async def test_settled_retry_records_are_deleted_and_waiting_ones_kept(kafka, topic_factory) -> None:
    retry, other = topic_factory("retry.1s"), topic_factory("events")
    kafka.produce(retry, [b"settled", b"settled", b"waits"])
    kafka.produce(other, [b"input"])
    tracker, foreign = Tracker(retry, 0, 0), Tracker(other, 0, 0)
    tracker.acked, foreign.acked = 2, 1
    told: list[object] = []
    admin = Admin({"bootstrap.servers": kafka.bootstrap})
    work = asyncio.create_task(
        delete_settled([Owner("retry", tracker), Owner("input", foreign)], admin.delete_before, told.append, 0.01)
    )
    await eventually(lambda: kafka.ends(retry) == {0: (2, 3)})
    work.cancel()
    assert [record.value for record in kafka.records(retry)] == [b"waits"]
    assert [record.value for record in kafka.records(other)] == [b"input"]
    assert told == []


async def test_a_cleaner_that_dies_stops_the_worker_uncommitted(system, monkeypatch) -> None:
    class Dies(Admin):
        def delete_before(self, _positions) -> None:
            raise ZeroDivisionError

    monkeypatch.setattr(worker_module, "Admin", Dies)
    monkeypatch.setattr(worker_module, "delete_settled", partial(delete_settled, every_s=0.01))
    for name, content in system.environ.items():
        monkeypatch.setenv(name, content)
    system.destination("crm", "http://127.0.0.1:9")
    system.prepare()
    worker = worker_module.Worker(load(system.folder, "test"), worker_id="w")
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(worker.run(), 30)
    assert all(intake._halted for intake in worker.intakes)
    for intake in worker.intakes:  # in a worker they end with its process
        await intake.source.stop()
