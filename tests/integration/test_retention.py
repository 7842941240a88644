"""app/retention on a real Kafka: what is settled goes, what still waits stays."""

from __future__ import annotations

import asyncio

from pipeline.adapters.kafka.admin import Admin
from pipeline.app.retention import delete_settled
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
