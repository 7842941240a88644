"""Workers that gather, send and halve batches are killed and stopped: nothing is lost, repeats are counted."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import SECRET, event, step

EVENTS = 400
BULK = {
    "path": "/bulk", "metadata": "headers_and_body",
    "batch": {
        "max_events": 20, "max_bytes": "64KiB", "max_wait": "300ms",
        "results": {"at": "/results", "status": "/code", "id": "/id"},
    },
}  # fmt: skip
DISLIKED = 31
FLAWED = 7


class Moody(Receiver):
    """Refuses whole any batch with an item it dislikes; of some items it says 503 once, or says nothing once."""

    def __init__(self) -> None:
        super().__init__(Behaviour(latency_ms=150), keep=10_000, secrets=[SECRET])
        self.times: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()

    def _status(self, request, delivery_id, body, chance) -> int:
        status = super()._status(request, delivery_id, body, chance)
        items = json.loads(body)
        if status == 400 or any(each["n"] % 97 == DISLIKED for each in items):
            return status if status == 400 else 422
        results = []
        for each in items:
            name = each["hookline"]["delivery_id"]
            self.times[name] += 1
            flawed = each["n"] % 50 == FLAWED and self.times[name] == 1
            if not flawed:
                self.taken[name] += 1
            if not (flawed and each["n"] % 100 == FLAWED):
                results.append({"id": name, "code": 503 if flawed else 200})
        results += [{"id": "nobody's", "code": 500}, {"code": 200}, "nonsense", *results[:2]]
        self.behaviour.answers["/bulk"] = (207, json.dumps({"results": results}).encode())
        return 207


@pytest.fixture
async def warehouse(system):
    receiver = Moody()
    await receiver.start()
    system.destination("crm", receiver.url, operations={"bulk": BULK}, limits={"concurrency": 4})
    payload = {"customer": "${event.customer.id}", "n": "${event.properties.n}"}
    system.journey("welcome", step("bulk", "crm.bulk", payload=payload))
    system.hookline["classes"] = {"properties.n": "public"}
    system.receiver = receiver
    yield system
    await receiver.stop()


def worker(system, name):
    system.environ["CRM_TOKEN"] = name
    return system.worker()


async def test_a_worker_that_dies_or_stops_amid_batches_loses_none(warehouse) -> None:
    receiver = warehouse.receiver
    warehouse.prepare()
    events = [event(number) for number in range(EVENTS)]
    warehouse.feed(events[: EVENTS // 2])
    killed = worker(warehouse, "killed")
    await eventually(lambda: sum(receiver.taken.values()) > 40, timeout_s=60)
    killed.kill()
    before = sum(receiver.taken.values())
    stopped = worker(warehouse, "stopped")
    warehouse.feed(events[EVENTS // 2 :])
    await eventually(lambda: sum(receiver.taken.values()) > before + 100, timeout_s=60)
    worker(warehouse, "last")
    stopped.send(signal.SIGTERM)
    await eventually(lambda: stopped.returncode is not None, timeout_s=60)
    assert stopped.returncode == 0, stopped.tail()
    await eventually(lambda: len(warehouse.final()) == EVENTS and warehouse.settled(), timeout_s=90)

    bad = {each["id"] for each in events if each["properties"]["n"] % 97 == DISLIKED}
    ended = {row.event_id: row.outcome for row in warehouse.final().values()}
    assert {name for name, outcome in ended.items() if outcome == "rejected"} == bad
    assert set(ended.values()) == {"delivered", "rejected"}
    assert len(receiver.taken) == EVENTS - len(bad)
    repeated = {name for name, count in receiver.taken.items() if count > 1}
    sent = {
        each["hookline"]["delivery_id"]
        for seen in receiver.seen if seen.headers["Authorization"] == "Bearer killed"
        for each in json.loads(seen.body)
    }  # fmt: skip
    assert repeated <= sent, "only what the killed worker had sent may be sent again"
    account = warehouse.account()
    assert account["balanced"] is True, account
