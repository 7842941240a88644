"""Kafka takes nothing of what the worker writes: it stands still, says why, goes on; nothing is lost or repeated.

On real brokers that really refuse: by size, by an ACL, and by a disk that is full.
"""

from __future__ import annotations

import asyncio
import json
import subprocess

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from pipeline.testing.receiver import Behaviour
from tests.support.conditions import eventually
from tests.support.kafka import PASSWORD, USER, RealKafka
from tests.support.parts import PartMissingError, unavailable
from tests.support.system import System, event
from tests.support.told import lines, standing

DISK_MIB = 64


async def test_outcomes_that_their_topic_does_not_take_wait_and_so_does_what_comes(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.prepare()
    worker = system.worker()
    system.feed([event(0)])
    await eventually(lambda: receiver.accepted() == 1)
    await eventually(system.settled)
    outcomes = f"{system.group}.outcomes"
    await asyncio.to_thread(system.broker.alter_topic, outcomes, max_message_bytes="100")
    system.feed([event(n) for n in range(1, 21)])
    await eventually(lambda: bool(lines(worker, "writes_refused")))
    [said] = lines(worker, "writes_refused")
    assert (said["topic"], said["code"], said["remedy"]) == (outcomes, "MSG_SIZE_TOO_LARGE", "hookline topics check")
    await eventually(lambda: receiver.accepted() == 21)
    system.feed([event(n) for n in range(21, 71)])
    told = await standing(system, f"writing to {outcomes}")
    assert "Kafka refuses it: MSG_SIZE_TOO_LARGE; tried again" in told
    assert receiver.accepted() == 21, "nothing more is taken up"
    assert not system.settled()
    await asyncio.to_thread(system.broker.alter_topic, outcomes, max_message_bytes="1048588")
    await eventually(lambda: receiver.accepted() == 71, timeout_s=60)
    await eventually(system.settled, timeout_s=60)
    assert receiver.snapshot()["requests"] == 71
    assert worker.returncode is None
    assert [each["topic"] for each in lines(worker, "writes_resumed")] == [outcomes]
    assert (await asyncio.to_thread(system.account))["balanced"] is True


async def test_what_is_kept_of_hand_overs_and_dead_letters_has_its_headers(system, receiver) -> None:
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    system.prepare()
    own = [f"{system.group}.dead", *(f"{system.group}.retry.{tier}" for tier in system.tiers)]
    worker = system.worker()
    await eventually(lambda: bool(lines(worker, "partitions_assigned")))
    for topic in own:
        await asyncio.to_thread(system.broker.alter_topic, topic, max_message_bytes="100")
    sent = [event(1), event(2)]
    system.feed(sent)
    await eventually(lambda: bool(lines(worker, "writes_refused")), timeout_s=40)
    await eventually(lambda: [row.outcome for row in system.outcomes()] == ["retrying"] * 2, timeout_s=40)
    assert lines(worker, "writes_refused")[0]["topic"] in own
    receiver.behaviour = Behaviour(status=422)
    for topic in own:
        await asyncio.to_thread(system.broker.alter_topic, topic, max_message_bytes="1048588")
    await eventually(lambda: len(system.dead()) == 2, timeout_s=60)
    await eventually(system.settled, timeout_s=60)
    assert {letter.header("hookline-event-id") for letter in system.dead()} == {each["id"] for each in sent}
    assert {row.outcome for row in system.final().values()} == {"rejected"}
    assert all(row.hop >= 1 for row in system.final().values())
    assert (await asyncio.to_thread(system.account))["balanced"] is True


@pytest.fixture
def secured(tmp_path, kafka_secured, unique, receiver):
    """A system that comes in by a name, which an ACL may concern."""
    made = System(tmp_path / "config", kafka_secured, unique)
    given = kafka_secured.security.plain
    made.hookline["kafka"] = {
        "bootstrap": given["bootstrap.servers"], "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN",
        "sasl.username": "env:KAFKA_USER", "sasl.password": "env:KAFKA_PASSWORD",
    }  # fmt: skip
    made.environ |= {"KAFKA_USER": USER, "KAFKA_PASSWORD": PASSWORD}
    made.destination("crm", receiver.url)
    yield made
    made.stop()


async def test_a_right_that_is_taken_away_pauses_the_worker_until_it_is_given_back(secured, receiver) -> None:
    secured.prepare()
    outcomes = f"{secured.group}.outcomes"
    worker = secured.worker()
    secured.feed([event(0)])
    await eventually(lambda: receiver.accepted() == 1)
    await eventually(secured.settled)
    admin = AdminClient(dict(secured.broker.settings))
    about = (ResourceType.TOPIC, outcomes, ResourcePatternType.LITERAL, f"User:{USER}", "*", AclOperation.WRITE)
    denied = AclBinding(*about, AclPermissionType.DENY)
    await asyncio.to_thread(lambda: [each.result(20) for each in admin.create_acls([denied]).values()])
    secured.feed([event(n) for n in range(1, 11)])
    told = await standing(secured, f"writing to {outcomes}")
    assert "Kafka refuses it: TOPIC_AUTHORIZATION_FAILED" in told
    assert worker.returncode is None
    filter_ = AclBindingFilter(*about, AclPermissionType.DENY)
    await asyncio.to_thread(lambda: [each.result(20) for each in admin.delete_acls([filter_]).values()])
    await eventually(lambda: receiver.accepted() == 11, timeout_s=60)
    await eventually(secured.settled, timeout_s=60)
    assert receiver.snapshot()["requests"] == 11
    assert (await asyncio.to_thread(secured.account))["balanced"] is True


@pytest.fixture
def small_disk(tmp_path_factory):
    """A folder on a file system of its own, of DISK_MIB."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "hookline-test", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        unavailable("a small disk", "mounting a file system takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_broker_whose_disk_is_full_is_waited_for(tmp_path, small_disk, unique, receiver) -> None:
    try:
        broker = await asyncio.to_thread(RealKafka, small_disk)
    except PartMissingError as error:
        unavailable("Kafka", str(error))
    system = System(tmp_path / "config", broker, unique)
    system.destination("crm", receiver.url)
    filler = small_disk / "filler"
    try:
        await asyncio.to_thread(system.prepare)
        worker = system.worker()
        system.feed([event(0)])
        await eventually(lambda: receiver.accepted() == 1)
        await eventually(system.settled)
        # Records are in, and what becomes of them does not fit any more: answers wait until the disk is full.
        receiver.behaviour = Behaviour(latency_ms=1_500)
        system.feed([event(n) for n in range(1, 201)])
        await eventually(lambda: receiver.snapshot()["requests"] > 1)
        await asyncio.to_thread(fill, filler)
        await eventually(lambda: bool(lines(worker, "writes_unacknowledged")), timeout_s=90)
        assert worker.returncode is None
        filler.unlink()
        broker.kill()
        await asyncio.to_thread(broker.start)
        receiver.behaviour = Behaviour()
        await eventually(lambda: receiver.deliveries() == 201, timeout_s=90)
        await eventually(system.settled, timeout_s=90)
        assert worker.returncode is None
        assert lines(worker, "writes_acknowledged")
        account = await asyncio.to_thread(system.account)
        assert account["balanced"] is True
        assert json.dumps(account)
    finally:
        system.stop()
        broker.stop()


def fill(path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65_536))
        except OSError:
            pass
