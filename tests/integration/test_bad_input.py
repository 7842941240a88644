"""Bad input on a real Kafka: each position ends where it can be found, and the events around it go on."""

from __future__ import annotations

import json
import signal
import struct

import pytest

from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import encode, event, step

DAY_MS = 86_400_000


@pytest.fixture
async def running(system, receiver):
    """A worker in the middle of good events."""
    system.destination("crm", receiver.url)
    system.prepare()
    system.worker()
    return system


async def through(system, receiver, *bad) -> None:
    """Feed bad input between two good events, and wait until the good ones are through and all is committed."""
    before = receiver.accepted()
    system.feed([event(1), *bad, event(2)])
    await eventually(lambda: receiver.accepted() >= before + 2)
    await eventually(system.settled)
    assert system.account()["balanced"] is True


@pytest.mark.parametrize(
    "value",
    [
        b"", b"\x00", b"hello, no Avro", b"\xc3\x01" + bytes(8) + b"unknown fingerprint", encode(event())[:-3],
        encode(event()) + b"trailing", b"\x00\x00\x00\x00\x2aunknown schema ID", bytes(50),
    ],
    ids=["empty", "one-byte", "text", "fingerprint", "truncated", "trailing", "schema-id", "zeros"],
)  # fmt: skip
async def test_undecodable_bytes_are_dead_lettered_with_their_bytes(running, receiver, value) -> None:
    await through(running, receiver, value)
    (letter,) = running.dead()
    assert (letter.value or b"") == value
    assert letter.header("hookline-class") == "undecodable"
    assert letter.header("hookline-source-topic") == running.topic
    assert running.ledger() == {"undecodable": 1}


async def test_a_tombstone_is_in_the_ledger(running, receiver) -> None:
    await through(running, receiver, None)
    assert running.ledger() == {"tombstone": 1}
    assert running.dead() == []


async def test_an_unknown_event_type_is_in_the_ledger(running, receiver) -> None:
    await through(running, receiver, event(type="nobody.asked"))
    assert running.ledger() == {"no_journey": 1}


async def test_what_a_misspelt_name_brings_about_is_told_everywhere_without_values(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), step("pro", "crm.upsert", when='event.properties.paln == "x"'))
    system.prepare()
    worker = system.worker()
    misspelt = [event(n, type="signup.complete") for n in range(3)]
    system.feed([event(1), *misspelt, event(2)])
    await eventually(lambda: receiver.accepted() == 2)
    await eventually(system.settled)
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    told = {line["event"]: line for line in lines}
    assert (told["condition_failed"]["journey"], told["condition_failed"]["place"]) == ("welcome", "steps.pro.when")
    assert told["event_type_misspelt"]["like"] == "signup.completed"
    assert told["event_type_misspelt"]["event_id"] in {each["id"] for each in misspelt}
    assert [line["event"] for line in lines].count("event_type_misspelt") == 1
    assert 'signup.complete"' not in worker.log.read_text()
    assert "example.org" not in worker.log.read_text()
    account = system.run("account").stdout
    assert "2 deliveries were skipped because a condition failed" in _joined(account)
    assert "3 events have a type no journey asks for" in _joined(account)
    await eventually(lambda: "steps.pro.when failed 2 times" in _joined(system.run("status").stdout))
    assert "almost signup.completed 3 times" in _joined(system.run("status").stdout)
    worker.send(signal.SIGTERM)
    await eventually(lambda: worker.returncode == 0, timeout_s=30)
    assert '"event":"events_came_to_nothing"' in worker.log.read_text()


@pytest.mark.parametrize(
    ("over", "detail"),
    [
        ({"id": "no-uuid"}, "id"), ({"id": ""}, "id"), ({"type": ""}, "type"),
        ({"customer": {"id": "", "email": None, "phone": None, "timezone": None, "ids": {}}}, "customer"),
        ({"time": 9_999_999_999_999}, "time"), ({"time": -5}, "time"), ({"time": 2**62}, "time"),
    ],
    ids=["uuid", "no-id", "no-type", "no-customer", "far-future", "before-1970", "impossible"],
)  # fmt: skip
async def test_an_event_without_what_every_event_has_is_dead_lettered(running, receiver, over, detail) -> None:
    await through(running, receiver, event(**over))
    (letter,) = running.dead()
    assert letter.header("hookline-class") == "undecodable"
    assert detail in (letter.header("hookline-detail") or "")


async def test_an_event_older_than_the_journey_takes_is_skipped(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journeys["welcome"]["trigger"]["max_age"] = "2h"
    system.prepare()
    system.worker()
    await through(system, receiver, event(3, time=1))
    assert [(row.outcome, row.reason) for row in system.outcomes() if row.outcome != "delivered"] == [
        ("skipped", "stale")
    ]


async def test_a_missing_required_field_is_dead_for_that_delivery_alone(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journeys["welcome"]["steps"][0]["payload"]["plan"] = "${event.properties.plan}"
    system.prepare()
    system.worker()
    await through(system, receiver, event(3, properties={}))
    (letter,) = system.dead()
    assert letter.header("hookline-class") == "missing_field"
    assert letter.header("hookline-detail") == "plan"
    assert "pro" not in str(letter.headers)


async def test_a_megabyte_is_delivered_and_retried_like_any_other(running, receiver) -> None:
    large = event(3, source={"page": "x" * 1_000_000})
    await through(running, receiver, large)
    receiver.behaviour = Behaviour(status=422)
    running.feed([event(4, source={"page": "x" * 1_000_000})])  # another one: a known event ID starts nothing
    await eventually(lambda: len(running.dead()) == 1)
    assert len(running.dead()[0].value) > 1_000_000


async def test_what_is_too_large_to_forward_is_dead_by_reference(system, receiver) -> None:
    receiver.behaviour = Behaviour(status=422)
    system.destination("crm", receiver.url)
    system.prepare()
    system.broker.alter_topic(f"{system.group}.dead", max_message_bytes="100000")
    system.worker()
    ((partition, offset),) = system.feed([event(3, source={"page": "x" * 500_000})])
    await eventually(lambda: len(system.dead()) == 1)
    (letter,) = system.dead()
    assert letter.value is None
    assert int(letter.header("hookline-oversize")) > 500_000
    assert (letter.header("hookline-source-partition"), letter.header("hookline-source-offset")) == (
        str(partition), str(offset),
    )  # fmt: skip
    await eventually(system.settled)
    assert system.account()["balanced"] is True


async def test_a_record_that_claims_a_schema_twice_is_read_by_its_header(running, receiver) -> None:
    guid = Outgoing(encode(event(3)), b"k", (("__value_schema_id", b"\x01" + struct.pack(">QQ", 1, 2)),))
    await through(running, receiver, guid)
    assert running.ledger() == {"undecodable": 1}


def _joined(text: str) -> str:
    """What was printed, whatever the width of the screen."""
    return " ".join(text.split())
