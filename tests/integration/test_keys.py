"""How an input is keyed, on a real Kafka: what is remembered by partition asks for each customer on one of them."""

from __future__ import annotations

import json

from pipeline.adapters.kafka.newest import newest
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import encode, event, step

ONCE = {"once": {"key": "${event.properties.plan}", "per": "30d"}}
BEGAN_MS = 1_700_000_000_000


def prepared(system, receiver, trigger=ONCE) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=trigger)
    system.prepare()


def orders(partition_of) -> list[Outgoing]:
    """Twelve events of three customers, a second apart."""
    made = []
    for number in range(12):
        sent = event(number % 3, time=BEGAN_MS)
        made.append(
            Outgoing(encode(sent), f"order-{number}".encode(), partition=partition_of(number),
                     timestamp_ms=BEGAN_MS + number * 1_000)
        )  # fmt: skip
    return made


async def test_an_input_keyed_by_customer_is_started_with(system, receiver) -> None:
    prepared(system, receiver)
    system.feed([event(number % 5) for number in range(40)])
    worker = system.worker()
    await eventually(lambda: "worker_started" in worker.tail(), timeout_s=40)
    await eventually(lambda: len(system.final()) == 40, timeout_s=40)
    said = [line for line in worker.tail().splitlines() if "keys_sampled" in line]
    assert len(said) == 1
    assert "40" in said[0]
    assert "c-1" not in said[0]


async def test_an_input_keyed_by_order_is_refused_with_the_remedy(system, receiver) -> None:
    prepared(system, receiver)
    system.feed(orders(lambda number: number % 2))
    worker = system.worker()
    assert worker.wait(40) == 2
    said = worker.tail()
    assert "hookline.yaml" in said
    assert f"{system.topic} is not partitioned by customer" in said
    assert "`rekey: true` in its entry of `events` has workers copy its events under their customers' IDs first" in said
    assert "key records by the customer's ID" in said
    assert not any(f"c-{number}" in said for number in range(3))
    assert "worker_started" not in said
    assert receiver.deliveries() == 0
    assert not system.rows()


async def test_partitions_that_were_added_are_no_reason_to_refuse(system, receiver) -> None:
    """Customers who were on partition 0 and are on 1 from one moment on: they moved once, all of them."""
    prepared(system, receiver)
    system.feed(orders(lambda number: int(number >= 6)))
    worker = system.worker()
    await eventually(lambda: "worker_started" in worker.tail(), timeout_s=40)


async def test_an_empty_input_is_started_with(system, receiver) -> None:
    prepared(system, receiver)
    worker = system.worker()
    await eventually(lambda: "worker_started" in worker.tail(), timeout_s=40)
    assert "keys_sampled" in worker.tail()


async def test_where_nothing_is_remembered_any_key_will_do(system, receiver) -> None:
    prepared(system, receiver, trigger=None)
    system.feed(orders(lambda number: number % 2))
    worker = system.worker()
    await eventually(lambda: "worker_started" in worker.tail(), timeout_s=40)
    assert "keys_sampled" not in worker.tail()


async def test_topics_check_says_how_the_input_is_keyed(system, receiver) -> None:
    prepared(system, receiver)
    system.feed([event(number % 5) for number in range(40)])
    good = system.run("topics", "check")
    assert good.returncode == 0, good.stdout
    assert (
        f"keys of {system.topic}: 40 of its newest records looked at, 40 events of 5 customers; nothing speaks against "
        "them" in good.stdout
    )
    system.feed(orders(lambda number: number % 2))
    bad = system.run("topics", "check")
    assert bad.returncode == 1
    assert f"{system.topic}: is not partitioned by customer" in bad.stdout
    assert "remedy: `rekey: true` in its entry of `events`" in bad.stdout
    assert "c-1" not in bad.stdout
    told = json.loads(system.run("topics", "check", "--json").stdout)
    assert [(each["topic"], each["events"], each["scattered"]) for each in told["keys"]] == [(system.topic, 52, True)]


async def test_topics_check_says_where_keys_do_not_matter(system, receiver) -> None:
    system.topic = f"{system.group}.in"
    prepared(system, receiver, trigger=None)
    assert "keys: any will do, since no journey remembers" in system.run("topics", "check").stdout
    system.hookline["events"] = [{"topic": system.topic, "record": "hookline.LifecycleEvent", "rekey": True}]
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.write()
    assert system.run("topics", "create").returncode == 0
    assert "keys: any will do, since events are copied into" in system.run("topics", "check").stdout


async def test_a_change_that_would_remember_on_an_input_keyed_otherwise_is_refused_and_the_old_one_goes_on(
    system, receiver
) -> None:
    prepared(system, receiver, trigger=None)
    system.broker.create_topic(f"{system.group}.memory", system.partitions)
    system.feed(orders(lambda number: number % 2))
    worker = system.worker()
    await eventually(lambda: receiver.accepted() == 12, timeout_s=60)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.write()
    await eventually(lambda: "configuration_refused" in worker.tail(), timeout_s=40)
    said = worker.tail()
    assert f"{system.topic} is not partitioned by customer" in said
    assert "rekey: true" in said
    system.feed(orders(lambda number: number % 2))
    await eventually(lambda: receiver.accepted() == 24, timeout_s=40)
    assert worker.returncode is None
    assert said.count("worker_started") == 1


async def test_a_change_whose_memory_does_not_fit_the_input_is_refused(system, receiver) -> None:
    prepared(system, receiver, trigger=None)
    system.broker.create_topic(f"{system.group}.memory", system.partitions + 1)
    worker = system.worker()
    await eventually(lambda: "worker_started" in worker.tail(), timeout_s=40)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.write()
    await eventually(lambda: "configuration_refused" in worker.tail(), timeout_s=40)
    assert "they belong together by their number" in worker.tail()
    assert worker.returncode is None


def test_only_the_newest_of_each_partition_are_read_and_no_more_than_the_bound(kafka, unique) -> None:
    kafka.create_topic(unique, 4)
    kafka.produce(unique, [Outgoing(str(number).encode(), partition=number % 3) for number in range(300)])
    settings = {"bootstrap.servers": kafka.bootstrap, **kafka.settings}

    def read(**bounds: int) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for batch in newest(settings, unique, within_s=30.0, **bounds):
            for record in batch:
                found.setdefault(record.partition, []).append(record.offset)
        return found

    assert read(partition_records=10, records_max=5_000) == {each: list(range(90, 100)) for each in range(3)}
    assert read(partition_records=200, records_max=20) == {each: list(range(95, 100)) for each in range(3)}
    assert read(partition_records=200, records_max=5_000) == {each: list(range(100)) for each in range(3)}
