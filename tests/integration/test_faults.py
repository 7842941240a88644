"""Faults on a real Kafka: what breaks is survived or named; nothing is lost or dead-lettered for our trouble."""

from __future__ import annotations

import asyncio
import json
import os
import signal

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from pipeline.testing.receiver import Behaviour
from pipeline.testing.registry import FakeRegistry
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import SCHEMA, System, encode, event


async def test_a_receiver_down_at_start_gets_everything_once_it_is_up(system, receiver) -> None:
    await receiver.down()
    system.destination("crm", receiver.url, breaker={"open": "1s", "open_max": "2s"})
    system.prepare()
    system.worker()
    system.feed([event(n) for n in range(50)])
    await eventually(lambda: len({row.delivery_id for row in system.outcomes()}) == 50)
    assert system.dead() == []
    await receiver.up()
    await eventually(lambda: receiver.accepted() == 50, timeout_s=60)
    await eventually(system.settled)
    account = system.account()
    assert account["balanced"] is True
    assert {row.outcome for row in system.final().values()} == {"delivered"}


async def test_401_on_everything_opens_the_breaker_and_dead_letters_nothing(system, receiver) -> None:
    receiver.behaviour = Behaviour(unauthorised=True)
    system.destination("crm", receiver.url, breaker={"open": "1s", "open_max": "2s"})
    system.prepare()
    worker = system.worker()
    system.feed([event(n) for n in range(100)])
    await eventually(lambda: len({row.delivery_id for row in system.outcomes()}) == 100)
    assert system.dead() == []
    assert {(row.outcome, row.reason, row.attempts) for row in system.outcomes()} == {("retrying", "auth", 0)}
    assert "breaker_open" in worker.log.read_text()
    requests = receiver.snapshot()["requests"]
    assert requests < 100, "an open breaker must stop asking"
    receiver.behaviour = Behaviour()
    await eventually(lambda: receiver.accepted() == 100, timeout_s=60)
    await eventually(system.settled)
    assert system.dead() == []
    assert system.account()["balanced"] is True


async def test_a_registry_that_is_down_holds_and_dead_letters_nothing(system, receiver) -> None:
    registry = FakeRegistry()
    async with registry.serve() as url:
        client = SchemaRegistryClient({"url": url})
        schema_id = await asyncio.to_thread(client.register_schema, "events", Schema(json.dumps(SCHEMA), "AVRO"))
        client.close()
        framed = b"\x00" + schema_id.to_bytes(4, "big")
        system.destination("crm", receiver.url)
        system.hookline = {"registry": {"url": url}}
        registry.trouble = "error"
        system.prepare()
        worker = system.worker()
        single_object_head = 10
        system.feed([Outgoing(framed + encode(event(n))[single_object_head:], b"k") for n in range(20)])
        await eventually(lambda: "registry_unreachable" in worker.log.read_text())
        assert system.dead() == []
        assert receiver.deliveries() == 0
        registry.trouble = ""
        await eventually(lambda: receiver.accepted() == 20, timeout_s=40)
        await eventually(system.settled)
        assert system.dead() == []
        assert system.account()["balanced"] is True


async def test_kill_9_of_one_of_two_workers_loses_nothing(system, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=5)
    system.destination("crm", receiver.url)
    system.prepare()
    first, _second = system.worker(), system.worker()
    log = first.log
    system.feed([event(n) for n in range(2_000)])
    await eventually(lambda: receiver.accepted() > 300)
    first.send(signal.SIGKILL)
    assert log.exists()
    await eventually(lambda: receiver.accepted() == 2_000, timeout_s=90)
    await eventually(system.settled, timeout_s=60)
    account = system.account()
    assert account["balanced"] is True
    snapshot = receiver.snapshot()
    print(f"repeated after kill -9: {snapshot['requests'] - 2_000} of 2000")  # noqa: T201


async def test_the_supervisor_starts_a_killed_worker_again(system, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=5)
    system.destination("crm", receiver.url)
    system.prepare()
    fleet = system.worker("--workers", "2")
    await eventually(lambda: fleet.log.read_text().count("worker_started") == 2, timeout_s=40)
    pids = [line.split("pid ")[1] for line in fleet.log.read_text().splitlines() if line.startswith("worker ")]
    system.feed([event(n) for n in range(1_000)])
    await eventually(lambda: receiver.accepted() > 100)
    os.kill(int(pids[0]), signal.SIGKILL)
    await eventually(lambda: receiver.accepted() == 1_000, timeout_s=90)
    await eventually(lambda: fleet.log.read_text().count("worker_started") == 3, timeout_s=40)
    fleet.send(signal.SIGTERM)
    assert fleet.wait(60) == 0
    assert system.account()["balanced"] is True


async def test_a_broker_restart_in_the_middle_loses_nothing(tmp_path, kafka_private, unique, receiver) -> None:
    receiver.behaviour = Behaviour(latency_ms=10)
    system = System(tmp_path / "config", kafka_private, unique)
    system.destination("crm", receiver.url)
    try:
        system.prepare()
        worker = system.worker()
        system.feed([event(n) for n in range(1_500)])
        await eventually(lambda: receiver.accepted() > 200)
        kafka_private.kill()
        kafka_private.start()
        await eventually(lambda: receiver.accepted() == 1_500, timeout_s=90)
        await eventually(system.settled, timeout_s=60)
        assert worker.returncode is None
        assert system.account()["balanced"] is True
    finally:
        system.stop()


async def test_missing_topics_are_named_with_the_command_that_makes_them(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.write()
    started = system.run("run")
    assert started.returncode == 2
    assert system.topic in started.stderr
    assert f"{system.group}.outcomes" in started.stderr
    assert "hookline topics create" in started.stderr
    assert "Traceback" not in started.stderr


async def test_a_bad_configuration_is_refused_with_file_line_and_field(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.write()
    (system.folder / "journeys" / "welcome.yaml").write_text("journey: welcome\nstatus: on\nbasis: NO\ncategory: x\n")
    started = system.run("run")
    assert started.returncode == 2
    assert "journeys/welcome.yaml:2" in started.stderr
    assert "status" in started.stderr
    assert "live" in started.stderr
    assert "Traceback" not in started.stderr
