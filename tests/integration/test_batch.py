"""Batches through a whole worker: shared requests, items that fail alone, and an account that balances."""

from __future__ import annotations

import json

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import SECRET, event, step

EVENTS = 60
BULK = {
    "path": "/bulk", "metadata": "headers_and_body",
    "batch": {"max_events": 10, "max_bytes": "64KiB", "max_wait": "200ms"},
}  # fmt: skip
LINES = {**BULK, "path": "/lines", "body": "ndjson"}


class Choosy(Receiver):
    """Refuses every request that holds an item it does not like, as one that knows no single items does."""

    def __init__(self, disliked: int) -> None:
        super().__init__(Behaviour(), keep=10_000, secrets=[SECRET])
        self.disliked = disliked

    def _status(self, request, delivery_id, body, chance) -> int:
        status = super()._status(request, delivery_id, body, chance)
        liked = request.path != "/bulk" or all(each["n"] != self.disliked for each in json.loads(body))
        return status if liked or status == 400 else 422


@pytest.fixture
async def warehouse(system):
    receiver = Choosy(disliked=7)
    await receiver.start()
    system.destination("crm", receiver.url, operations={"bulk": BULK, "lines": LINES})
    payload = {"customer": "${event.customer.id}", "n": "${event.properties.n}"}
    system.journey("welcome", step("bulk", "crm.bulk", payload=payload), step("line", "crm.lines", payload=payload))
    system.hookline["classes"] = {"properties.n": "public"}
    system.receiver = receiver
    yield system
    await receiver.stop()


async def test_deliveries_share_requests_and_the_item_at_fault_is_rejected_alone(warehouse) -> None:
    warehouse.prepare()
    events = [event(number) for number in range(EVENTS)]
    warehouse.feed(events)
    warehouse.worker()
    await eventually(lambda: len(warehouse.final()) == 2 * EVENTS and warehouse.settled(), timeout_s=60)

    ended = {(row.step, row.event_id): row.outcome for row in warehouse.final().values()}
    assert {key for key, outcome in ended.items() if outcome == "rejected"} == {("bulk", events[7]["id"])}
    assert set(ended.values()) == {"delivered", "rejected"}

    bulk = [seen for seen in warehouse.receiver.seen if seen.path == "/bulk"]
    lines = [seen for seen in warehouse.receiver.seen if seen.path == "/lines"]
    items = [json.loads(text) for seen in lines for text in seen.body.splitlines()]
    assert len(items) == EVENTS
    assert {item["hookline"]["delivery_id"] for item in items} == {
        row.delivery_id for row in warehouse.final().values() if row.step == "line"
    }
    assert len(lines) < EVENTS / 2, "deliveries did not share requests"
    assert max(len(json.loads(seen.body)) for seen in bulk) == 10
    taken = [item["n"] for seen in bulk for item in json.loads(seen.body) if item["n"] != 7]
    assert set(taken) == set(range(EVENTS)) - {7}
    assert warehouse.receiver.snapshot()["bad_signatures"] == 0
    assert warehouse.account()["balanced"] is True
