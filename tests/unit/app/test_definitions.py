"""Definitions are acked before the first event; what the broker does not take stops the start, later it is logged."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.app import definitions as kept
from pipeline.core.definitions import Definition, Definitions
from pipeline.errors import BrokerError
from pipeline.testing.fakes import FakeProducer

TOPIC = "hookline.control"
CONTENT = b'{"max_age_ms":1}'


def known() -> Definitions:
    return Definitions({"aa": Definition(CONTENT, 1)})


def clock() -> int:
    return 10**18


def nothing(_now_ms: int) -> tuple[bytes, ...]:
    return ()


async def test_what_is_due_is_written_and_acked():
    producer = FakeProducer()
    await kept.publish(known(), producer, TOPIC, clock, nothing)
    assert [(each.topic, each.key, each.value) for each in producer.records] == [(TOPIC, b"definition:aa", CONTENT)]


async def test_what_is_there_is_not_written_again():
    definitions, producer = known(), FakeProducer()
    definitions.note(b"definition:aa", CONTENT, 10**12)
    await kept.publish(definitions, producer, TOPIC, clock, nothing)
    assert producer.records == []


async def test_without_the_ack_no_worker_starts(monkeypatch):
    monkeypatch.setattr(kept, "ACKED_S", 0.01)
    producer = FakeProducer()
    producer.holding = True
    with pytest.raises(BrokerError, match="was not written: no ack within"):
        await kept.publish(known(), producer, TOPIC, clock, nothing)


async def test_a_topic_that_takes_too_little_is_named():
    with pytest.raises(BrokerError, match=r"hookline.control takes no definition of 16 bytes: raise its max.message"):
        await kept.publish(known(), FakeProducer(record_bytes_max=10), TOPIC, clock, nothing)


async def test_later_trouble_is_logged_and_tried_again():
    logged = []
    trouble = FakeProducer(record_bytes_max=10)
    task = asyncio.create_task(
        kept.keep(known(), trouble, TOPIC, clock, nothing, lambda *words, **_: logged.append(words), every_s=0.001)
    )
    while len(logged) < 2:
        await asyncio.sleep(0)
    task.cancel()
    assert logged[0] == ("warning", "definitions_unwritten")


async def test_orders_that_mean_nothing_any_more_are_deleted():
    producer, definitions, asked = FakeProducer(), known(), []
    definitions.note(b"definition:aa", CONTENT, 10**12)
    await kept.publish(definitions, producer, TOPIC, clock, lambda now_ms: asked.append(now_ms) or (b"drop/crm/5",))
    assert [(each.key, each.value) for each in producer.records] == [(b"drop/crm/5", None)]
    assert asked == [10**12]
