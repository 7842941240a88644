"""A journey that keeps order, with real workers on a real Kafka: whatever fails, dies or moves, nobody is overtaken."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from pipeline.adapters.kafka.logs import Logs
from pipeline.core.runstate import log_partition
from pipeline.errors import BrokerError
from pipeline.run.holder import HELD_RECORDS
from tests.support.conditions import eventually
from tests.support.system import event, step

if TYPE_CHECKING:
    from collections.abc import Callable

READY_S = 60.0
SETTLE_S = 120.0


class Endpoint:
    """Answers by customer and number of the event, and notes what came, in the order it came."""

    def __init__(self) -> None:
        self.answer: Callable[[str, int, int], int] = lambda *_: 204
        """Status by customer, number of the event, and how often that was tried."""
        self.came: dict[str, list[tuple[int, int]]] = defaultdict(list)  # by path and customer: number, status
        self.tries: dict[tuple[str, str, int], int] = defaultdict(int)

    async def start(self) -> str:
        app = web.Application()
        app.router.add_post("/{path}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.json()
        path, customer, number = request.match_info["path"], body["customer_id"], body["n"]
        self.tries[path, customer, number] += 1
        status = self.answer(customer, number, self.tries[path, customer, number])
        self.came[f"{path} {customer}"].append((number, status))
        return web.Response(status=status)

    def taken(self, path: str = "upsert") -> int:
        """How many different events were taken."""
        return sum(
            len({number for number, status in each if status < 300})
            for name, each in self.came.items()
            if name.startswith(f"{path} ")
        )

    def overtaken(self) -> dict[str, list[tuple[int, int]]]:
        """What came after something later of its customer; repeats of the latest are no such thing."""
        found = {}
        for name, each in self.came.items():
            numbers = [number for number, _ in each]
            if numbers != sorted(numbers):
                found[name] = each
        return found

    async def stop(self) -> None:
        await self._runner.cleanup()


@pytest.fixture
async def endpoint():
    made = Endpoint()
    yield made
    await made.stop()


def numbered(name: str, call: str, **over):
    payload = {"customer_id": "${event.customer.id}", "n": "${event.properties.n}"}
    return step(name, call, payload=payload, **over)


@pytest.fixture
async def ordered(system, endpoint):
    """A system whose journey keeps order; nothing runs yet."""
    url = await endpoint.start()
    system.destination("crm", url, retry={"max_attempts": 50}, breaker={"failures": "100%", "of": 100})
    system.journey("welcome", numbered("crm", "crm.upsert"), ordering="key")
    return system


def of(customer: str, number: int):
    made = event(0, properties={"plan": "pro", "n": number})
    made["customer"]["id"] = customer
    return made


async def running(system):
    child = system.worker()
    await eventually(lambda: "worker_started" in child.log.read_text(), READY_S, "the worker started")
    return child


def lines(child, name: str) -> list[dict]:
    parsed = (json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{"))
    return [each for each in parsed if each["event"] == name]


CUSTOMERS, EACH = 24, 20


@pytest.mark.timeout(240)
async def test_nobody_is_overtaken_over_failures_kill_9_and_rebalances(ordered, endpoint):
    dice = random.Random(7)
    endpoint.answer = lambda *_: 503 if dice.random() < 0.1 else 204
    await asyncio.to_thread(ordered.prepare)
    first = await running(ordered)
    second = await running(ordered)
    await eventually(
        lambda: all(any("ordered" in each["role"] for each in lines(child, "partitions_assigned"))
                    for child in (first, second)), READY_S, "both have partitions of the log",
    )  # fmt: skip
    for number in range(EACH):
        await asyncio.to_thread(ordered.feed, [of(f"c-{each}", number) for each in range(CUSTOMERS)])
        if number == EACH // 3:
            await eventually(lambda: endpoint.taken() > CUSTOMERS, READY_S, "some were taken")
            first.send(signal.SIGKILL)
        elif number == 2 * EACH // 3:
            third = await running(ordered)  # a rebalance while events are under way
    await eventually(lambda: endpoint.taken() == CUSTOMERS * EACH, SETTLE_S, "all were taken")
    second.send(signal.SIGTERM)  # and one more, back
    await asyncio.to_thread(second.wait, READY_S)
    await eventually(ordered.settled, SETTLE_S, "all is settled")
    assert endpoint.overtaken() == {}
    repeats = sum(status < 300 for each in endpoint.came.values() for _, status in each) - CUSTOMERS * EACH
    assert repeats <= CUSTOMERS  # each customer's one that was under way when a worker was killed
    report = await asyncio.to_thread(ordered.account)
    assert report["deliveries"] == {"delivered": CUSTOMERS * EACH}
    assert third.returncode is None


OTHERS = 1_000
STUCK, STUCK_EACH = ("stuck", "held-up"), 600
"""Each in a partition of its own: all in all more than one holds."""
WAITING = len(STUCK) * STUCK_EACH


@pytest.mark.timeout(240)
async def test_stuck_customers_hold_nobody_else_back_and_go_on_in_order(ordered, endpoint):
    assert len({log_partition(each, ordered.partitions) for each in STUCK}) == 2
    assert STUCK_EACH < HELD_RECORDS < WAITING
    mended: list[bool] = []

    def tried() -> int:
        return min(len(endpoint.came[f"upsert {each}"]) for each in STUCK)

    endpoint.answer = lambda customer, *_: 503 if customer in STUCK and not mended else 204
    await asyncio.to_thread(ordered.prepare)
    worker = await running(ordered)
    await asyncio.to_thread(ordered.feed, [of(each, number) for number in range(STUCK_EACH) for each in STUCK])
    await eventually(lambda: tried() >= 2, READY_S, "they are stuck")
    await asyncio.to_thread(ordered.feed, [of(f"c-{number % 500}", number) for number in range(OTHERS)])
    await eventually(lambda: endpoint.taken() == OTHERS, SETTLE_S, "all others were taken")
    worker.send(signal.SIGKILL)
    again = await running(ordered)
    more = tried()
    await eventually(lambda: tried() > more, SETTLE_S, "another worker goes on with them")
    assert {number for each in STUCK for number, _ in endpoint.came[f"upsert {each}"]} == {0}

    async def waiting() -> dict[str, int]:
        listed = json.loads((await asyncio.to_thread(ordered.run, "waiting", "list", "--json")).stdout)
        assert {each["tier"] for each in listed["groups"]} == {f"{ordered.group}.ordered.welcome"}
        return {each["class"]: each["count"] for each in listed["groups"]}

    async def both() -> bool:  # while an attempt is under way it is not listed
        return await waiting() == {"server_error": len(STUCK), "turn": WAITING - len(STUCK)}

    await eventually(both, READY_S, "the first ones wait for a retry and the others for their turn")
    seen = json.loads((await asyncio.to_thread(ordered.run, "status", "--json")).stdout)
    (tier,) = [each for each in seen["retry"] if "ordered" in each["topic"]]
    assert (tier["waiting"], tier["destinations"]) == (WAITING, {"crm": WAITING})
    shown = (await asyncio.to_thread(ordered.run, "status")).stdout
    assert "ordered.welcome" in shown
    report = await asyncio.to_thread(ordered.account)
    assert (report["waiting"], report["stranded_count"], report["overdue_count"]) == (WAITING, 0, 0)

    mended.append(True)
    await asyncio.to_thread(ordered.run, "waiting", "release", "--destination", "crm", "--reason", "mended")
    await eventually(lambda: endpoint.taken() == OTHERS + WAITING, SETTLE_S, "the stuck ones go on")
    assert endpoint.overtaken() == {}
    await eventually(ordered.settled, SETTLE_S, "all is settled")
    assert (await asyncio.to_thread(ordered.account))["deliveries"] == {"delivered": OTHERS + WAITING}
    again.send(signal.SIGTERM)
    assert await asyncio.to_thread(again.wait, READY_S) == 0


@pytest.mark.timeout(180)
async def test_a_stop_between_two_steps_repeats_neither_and_keeps_the_turn(ordered, endpoint):
    ordered.destinations["crm"]["operations"]["second"] = {"path": "/second"}
    ordered.journey(
        "welcome", numbered("crm", "crm.upsert"), numbered("then", "crm.second", after="crm"), ordering="key"
    )  # fmt: skip
    mended: list[bool] = []
    tries = endpoint.tries
    endpoint.answer = lambda customer, number, _: (
        503 if not mended and tries["second", customer, number] else 204
    )  # fmt: skip
    await asyncio.to_thread(ordered.prepare)
    first = await running(ordered)
    await asyncio.to_thread(ordered.feed, [of("ann", number) for number in range(3)])
    await eventually(lambda: len(endpoint.came["second ann"]) >= 4, READY_S, "the second step waits")
    first.send(signal.SIGTERM)
    assert await asyncio.to_thread(first.wait, READY_S) == 0
    mended.append(True)
    await running(ordered)
    await eventually(lambda: endpoint.taken("second") == 3, SETTLE_S, "all goes on")
    await eventually(ordered.settled, SETTLE_S, "all is settled")
    assert [number for number, _ in endpoint.came["upsert ann"]] == [0, 1, 2]  # each once
    assert endpoint.overtaken() == {}
    rows = await asyncio.to_thread(ordered.final)
    then = [row for row in rows.values() if row.step == "then"]
    assert max(row.attempts for row in then) >= 5  # those of the first worker among them
    await asyncio.to_thread(ordered.account)


@pytest.mark.timeout(180)
async def test_a_replay_would_be_out_of_order_and_says_so(ordered, endpoint):
    endpoint.answer = lambda _customer, number, tries: 422 if number == 0 and tries == 1 else 204
    await asyncio.to_thread(ordered.prepare)
    await running(ordered)
    await asyncio.to_thread(ordered.feed, [of("ann", number) for number in range(2)])
    await eventually(lambda: endpoint.taken() == 1 and ordered.settled(), SETTLE_S, "the second had its turn")
    left = await asyncio.to_thread(ordered.run, "dead", "replay")
    assert "left alone, keeps_order: 1" in left.stdout
    assert "--out-of-order" in left.stderr
    sent = json.loads((await asyncio.to_thread(
        ordered.run, "dead", "replay", "--out-of-order", "--json"
    )).stdout)  # fmt: skip
    assert sent["count"] == 1
    await eventually(lambda: endpoint.taken() == 2, SETTLE_S, "it was sent after all")
    found = await asyncio.to_thread(ordered.run, "topics", "check")
    assert found.returncode == 0, found.stdout


@pytest.mark.timeout(180)
async def test_a_pause_keeps_the_turns_and_a_trace_shows_who_waits_for_whom(ordered, endpoint):
    await asyncio.to_thread(ordered.prepare)
    await running(ordered)
    done = await asyncio.to_thread(ordered.run, "pause", "destination", "crm", "--reason", "wrong")
    assert done.returncode == 0, done.stderr
    events = [of("ann", number) for number in range(5)]
    await asyncio.to_thread(ordered.feed, events)

    async def paused() -> bool:
        rows = await asyncio.to_thread(ordered.outcomes)
        return [row.event_id for row in rows if row.reason == "paused"] == [events[0]["id"]]

    await eventually(paused, READY_S, "the first one is held back")
    shown = (await asyncio.to_thread(ordered.run, "trace", events[3]["id"])).stdout
    assert "turn" in shown
    assert endpoint.came == {}
    done = await asyncio.to_thread(ordered.run, "resume", "destination", "crm", "--reason", "right")
    assert done.returncode == 0, done.stderr
    await eventually(lambda: endpoint.taken() == 5, SETTLE_S, "all go")
    assert [number for number, _ in endpoint.came["upsert ann"]] == [0, 1, 2, 3, 4]


async def test_looking_back_reads_to_the_present_end_of_one_partition(kafka, unique):
    kafka.create_topic(unique, 2)
    kafka.produce(unique, [str(number).encode() for number in range(50)])
    logs = Logs({"bootstrap.servers": kafka.bootstrap})
    ends = kafka.ends(unique)
    for partition in (0, 1):
        first, end = ends[partition]
        read: list[int] = []
        await logs.read(unique, partition, min(first + 3, end), lambda record, read=read: read.append(record.offset))
        assert read == list(range(min(first + 3, end), end))
    with pytest.raises(BrokerError):
        await logs.read(f"{unique}.gone", 0, 0, lambda _: None)
