"""Events of several inputs, on a real Kafka: copied under their customers' IDs, for journeys that remember."""

from __future__ import annotations

import json
import signal
import uuid

import pytest

from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import encode, event, step

MATCH = "event.properties.n == trigger.properties.n"
ONCE = {"once": {"key": "${event.properties.plan}", "per": "30d"}}


class Shop:
    """Carts on one topic and orders on another, of other partition counts; both keyed by anything but the customer."""

    def __init__(self, system, receiver) -> None:
        self.system = system
        self.carts, self.orders = f"{system.group}.carts", f"{system.group}.orders"
        self.copies = f"{system.group}.events"
        system.topic = self.carts
        system.hookline["events"] = [
            {"topic": name, "record": "hookline.LifecycleEvent"} for name in (self.carts, self.orders)
        ]
        system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 1000}, retry={"max_attempts": 100})
        system.broker.create_topic(self.orders, 3)

    def put(self, topic: str, events) -> None:
        self.system.broker.produce(
            topic, [Outgoing(encode(each), f"cart-{number}".encode()) for number, each in enumerate(events)]
        )

    def settled(self) -> bool:
        group, lag = self.system.group, self.system.broker.lag
        inputs = lag(group, self.carts) == lag(group, self.orders) == 0
        return inputs and lag(self.copies, self.copies) == 0 and self.system.settled()

    def ledger(self) -> dict[str, int]:
        """Count what the account says had no delivery."""
        return self.system.account()["ledger"]

    def said(self) -> dict[str, tuple[str, str]]:
        return {row.event_id: (row.outcome, row.reason) for row in self.system.final().values()}


@pytest.fixture
def shop(system, receiver):
    return Shop(system, receiver)


async def test_what_comes_on_one_input_cancels_what_another_started_also_through_a_crash(shop, receiver) -> None:
    """Killed while half of the carts wait for another try, and the rest is being copied; then some are bought."""
    system = shop.system
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.tiers = ["2s", "5s"]
    system.journey("welcome", step("crm", "crm.upsert"), cancel_on=[{"event": "order.placed", "match": MATCH}])
    system.prepare()
    copies = len(system.broker.partitions(shop.copies))
    assert copies == len(system.broker.partitions(f"{system.group}.memory")) == 3
    worker = system.worker("--workers", "2")
    begun = [event(number) for number in range(60)]
    shop.put(shop.carts, begun[:30])
    await eventually(lambda: len({row.event_id for row in system.outcomes()}) == 30, timeout_s=60)
    shop.put(shop.carts, begun[30:])
    bought = [event(number, type="order.placed") for number in range(0, 60, 2)]
    other = [event(number, type="order.placed", properties={"n": 99}) for number in range(1, 60, 2)]
    shop.put(shop.orders, [*bought, *other])
    worker.kill()
    system.worker("--workers", "2")
    memory = f"{system.group}.memory"
    await eventually(lambda: len({each.key for each in system.broker.records(memory)}) == 60, timeout_s=60)
    cancelled = {each["id"]: ("skipped", "cancelled") for each in begun if not each["properties"]["n"] % 2}
    await eventually(lambda: cancelled.items() <= shop.said().items(), timeout_s=90)  # before anything can be sent
    receiver.behaviour = Behaviour()
    await eventually(lambda: sum(row.outcome != "retrying" for row in system.final().values()) >= 60, timeout_s=90)
    await eventually(shop.settled, timeout_s=60)
    said = shop.said()
    assert [said[each["id"]] for each in begun if each["properties"]["n"] % 2] == [("delivered", "")] * 30
    assert cancelled.items() <= said.items()
    account = system.account()
    assert account["balanced"] is True
    assert account["ledger"]["rekeyed"] == 120
    assert account["ledger"]["no_journey"] + account["events"] + account["ledger"].get("copied_twice", 0) == len(
        system.broker.records(shop.copies)
    )


async def test_a_copy_is_the_record_under_its_customers_id_and_retries_and_letters_are_as_ever(shop, receiver) -> None:
    system = shop.system
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, retry={"max_attempts": 2})
    system.hookline["events"][0]["id"] = "position"
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.prepare()
    system.worker()
    one = event(1)
    traceparent = f"00-{'5' * 32}-{'6' * 16}-01"
    system.broker.produce(shop.carts, [
        Outgoing(encode(one), b"cart-1", headers=[("traceparent", traceparent.encode()), ("hookline-origin", b"no")]),
        Outgoing(encode(event(2, type="nobody.asked")), b"cart-2"), Outgoing(b"no event", b"cart-3"),
        Outgoing(None, b"cart-4"),
    ])  # fmt: skip
    (copy,) = await eventually(lambda: system.broker.records(shop.copies), timeout_s=40)
    origin = next(text for name, text in copy.headers if name == "hookline-origin").decode()
    assert (copy.key, copy.value) == (b"c-1", encode(one))
    assert origin.startswith(f"{shop.carts}/")
    assert dict(copy.headers)["traceparent"] == traceparent.encode()
    name = origin.rpartition("/")[0]
    (letter,) = await eventually(
        lambda: [each for each in system.dead() if b"hookline-delivery-id" in str(each.headers).encode()],
        timeout_s=60,
    )
    assert (letter.key, letter.value) == (b"cart-1", encode(one))
    assert {row.event_id for row in system.outcomes()} == {name}, "an ID made of the position is the input's"
    await eventually(shop.settled, timeout_s=40)
    assert shop.ledger() == {"rekeyed": 1, "no_journey": 1, "undecodable": 1, "tombstone": 1}

    traced = system.run("trace", name, "--json")
    assert len(json.loads(traced.stdout)["timelines"]) == 1, traced.stdout + traced.stderr
    shown = system.run("dead", "show", name, "--json")
    assert json.loads(shown.stdout)["letters"][0]["origin"] == origin
    receiver.behaviour = Behaviour()
    done = system.run("dead", "replay")
    assert done.returncode == 0, done.stderr
    await eventually(lambda: receiver.accepted() == 1, timeout_s=40)
    await eventually(shop.settled, timeout_s=40)
    assert shop.said() == {name: ("delivered", "")}
    assert system.account()["balanced"] is True


async def test_an_input_keyed_otherwise_is_copied_if_its_entry_says_so(system, receiver) -> None:
    system.topic = f"{system.group}.in"
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    entry = {"topic": system.topic, "record": "hookline.LifecycleEvent"}
    system.hookline["events"] = [entry | {"rekey": True}]
    system.prepare()
    worker = system.worker()
    sent = [event(number % 3, id=str(uuid.uuid4())) for number in range(12)]
    system.feed([Outgoing(encode(each), partition=number % 2) for number, each in enumerate(sent)])
    await eventually(lambda: len(system.final()) == 12, timeout_s=60)
    copies = f"{system.group}.events"
    await eventually(lambda: system.settled() and system.broker.lag(copies, copies) == 0)
    assert receiver.accepted() == 3
    assert system.account()["balanced"] is True
    worker.send(signal.SIGTERM)
    assert worker.wait(40) == 0
    assert "keys_sampled" not in worker.tail()


async def test_what_was_copied_and_not_taken_up_is_taken_up_when_copying_is_over(system, receiver) -> None:
    """A configuration without re-keying still reads the copies that the one before it had made."""
    system.topic = f"{system.group}.in"
    receiver.behaviour = Behaviour(latency_ms=60_000)
    system.destination("crm", receiver.url, timeout="60s")
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.hookline["events"] = [{"topic": system.topic, "record": "hookline.LifecycleEvent", "rekey": True}]
    system.prepare()
    worker = system.worker()
    system.feed([event(number) for number in range(10)])
    await eventually(lambda: receiver.deliveries() == 10, timeout_s=60)
    await eventually(lambda: system.broker.lag(system.group, system.topic) == 0, timeout_s=40)
    worker.kill()
    receiver.behaviour = Behaviour()
    system.hookline["events"] = [{"topic": system.topic, "record": "hookline.LifecycleEvent"}]
    system.journey("welcome", step("crm", "crm.upsert"))
    system.write()
    system.worker()
    await eventually(lambda: len(system.final()) == 10, timeout_s=60)
    copies = f"{system.group}.events"
    await eventually(lambda: system.broker.lag(copies, copies) == 0, timeout_s=40)
    account = system.account()
    assert account["balanced"] is True
    assert account["ledger"] == {"rekeyed": 10}


async def test_a_worker_that_takes_a_partition_over_knows_what_was_copied_before_its_commit(system, receiver) -> None:
    """The second copy comes when the first is settled and committed, and the worker that took it up is gone."""
    system.topic = f"{system.group}.in"
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), cancel_on=[{"event": "order.placed"}])
    system.hookline["events"] = [{"topic": system.topic, "record": "hookline.LifecycleEvent", "rekey": True}]
    system.prepare()
    worker = system.worker()
    system.feed([event(number) for number in range(10)])
    copies = f"{system.group}.events"
    await eventually(lambda: len(system.final()) == 10, timeout_s=60)
    await eventually(lambda: system.broker.lag(copies, copies) == 0, timeout_s=40)
    worker.send(signal.SIGTERM)
    assert worker.wait(40) == 0
    made = system.broker.records(copies)
    assert len(made) == 10
    system.broker.produce(copies, [Outgoing(each.value, each.key, each.headers, each.partition) for each in made])
    system.worker()
    await eventually(lambda: system.broker.lag(copies, copies) == 0, timeout_s=60)
    account = system.account()
    assert (account["events"], account["ledger"]) == (10, {"copied_twice": 10, "rekeyed": 10})
    assert receiver.deliveries() == 10


async def test_order_is_kept_of_copies_through_a_crash(shop, receiver) -> None:
    """A journey that keeps order takes its events from the copies: in their order, after a crash too."""
    system = shop.system
    receiver.behaviour = Behaviour(unavailable=0.3)
    payload = {"n": "${event.properties.n}", "customer": "${event.customer.id}"}
    system.journey(
        "welcome", step("crm", "crm.upsert", ordering="key", payload=payload), cancel_on=[{"event": "order.placed"}]
    )
    system.prepare()
    worker = system.worker("--workers", "2")
    sent = [event(number % 5, properties={"plan": "pro", "n": number}) for number in range(60)]
    system.feed(sent[:30])
    await eventually(lambda: receiver.accepted() > 5, timeout_s=60)
    worker.kill()
    system.feed(sent[30:])
    system.worker("--workers", "2")
    await eventually(lambda: sum(row.outcome != "retrying" for row in system.final().values()) >= 60, timeout_s=90)
    await eventually(shop.settled, timeout_s=60)
    assert shop.said() == {each["id"]: ("delivered", "") for each in sent}
    account = system.account()
    assert account["balanced"] is True
    assert account["ledger"]["rekeyed"] == 60
    taken: dict[str, list[int]] = {}
    for seen in receiver.seen:
        if seen.status < 300:
            body = json.loads(seen.body)
            taken.setdefault(body["customer"], []).append(body["n"])
    for numbers in taken.values():
        assert list(dict.fromkeys(numbers)) == sorted(set(numbers))
