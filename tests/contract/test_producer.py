"""The contract of ports.Producer, kept by the real adapter on a real Kafka and by its fakes."""

from __future__ import annotations

import asyncio
import time

import pytest

from pipeline.adapters.kafka.producer import KafkaProducer
from pipeline.errors import TopicMissing
from pipeline.testing.fakes import FakeProducer
from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.producer import StageProducer
from tests.support.conditions import eventually

LIMIT = 20_000


def _log(*_: object, **__: object) -> None:
    """Tests look at what was stored, not at logs."""


@pytest.fixture(params=["fake", "stage", "real"])
async def made(request):
    """`(producer, topic with 3 partitions, errors)`."""
    errors: list[BaseException] = []
    if request.param == "fake":
        yield FakeProducer({"t": 3}, record_bytes_max=LIMIT), "t", errors
        return
    if request.param == "stage":
        yield StageProducer(StageBroker(time.time_ns, {"t": 3}), record_bytes_max=LIMIT), "t", errors
        return
    topic = request.getfixturevalue("topic_factory")("out", partitions=3)
    broker = request.getfixturevalue("kafka")
    settings = {"bootstrap.servers": broker.bootstrap}
    producer = KafkaProducer(settings, errors.append, _log, {topic: LIMIT})
    yield producer, topic, errors
    producer.close()


async def test_acks_come_later_and_once_each(made) -> None:
    producer, topic, errors = made
    acked: list[int] = []
    for number in range(500):
        assert producer.produce(topic, b"k", b"v", [("h", b"x")], lambda *_, number=number: acked.append(number))
    assert acked == []
    await eventually(lambda: len(acked) == 500)
    assert sorted(acked) == list(range(500))
    assert errors == []


async def test_what_is_too_large_is_refused_at_once_and_never_acked(made) -> None:
    producer, topic, errors = made
    acked: list[int] = []
    assert not producer.produce(topic, b"k", bytes(LIMIT + 1), [], lambda *_: acked.append(1))
    assert not producer.produce(topic, b"k", None, [("h", bytes(LIMIT + 1))], lambda *_: acked.append(1))
    assert producer.produce(topic, b"k", b"small", [], lambda *_: acked.append(2))
    await eventually(lambda *_: acked == [2])
    assert errors == []


async def test_a_partition_may_be_chosen_and_counted(made) -> None:
    producer, topic, _ = made
    assert producer.partitions(topic) == 3
    acked: list[int] = []
    producer.produce(topic, None, b"v", [], lambda *_: acked.append(1), 2)
    await eventually(lambda *_: acked == [1])


async def test_flush_waits_for_all(made) -> None:
    producer, topic, _ = made
    acked: list[int] = []
    for _ in range(100):
        producer.produce(topic, None, b"v", [], lambda *_: acked.append(1))
    assert not producer.full()
    assert await producer.flush(10.0) == 0
    assert len(acked) == 100


async def test_what_is_stored_is_what_was_given(kafka, topic_factory) -> None:
    topic, errors = topic_factory("out", partitions=3), []
    producer = KafkaProducer({"bootstrap.servers": kafka.bootstrap}, errors.append, _log)
    producer.produce(topic, b"key", b"value", [("a", b"1"), ("a", b"2")], lambda *_: None, 1)
    producer.produce(topic, b"gone", None, [], lambda *_: None, 1)
    assert await producer.flush(10.0) == 0
    first, second = kafka.records(topic)
    assert (first.partition, first.key, first.value) == (1, b"key", b"value")
    assert [content for name, content in first.headers if name == "a"] == [b"1", b"2"]
    assert (second.key, second.value) == (b"gone", None)
    producer.close()


async def test_an_exception_in_an_ack_is_fatal_not_swallowed(kafka, topic_factory) -> None:
    topic, errors = topic_factory("out"), []
    producer = KafkaProducer({"bootstrap.servers": kafka.bootstrap}, errors.append, _log)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    producer.produce(topic, None, b"v", [], broken)
    await eventually(lambda: bool(errors))
    assert isinstance(errors[0], ZeroDivisionError)
    producer.close()


async def test_a_missing_topic_is_named(kafka, unique) -> None:
    errors: list[BaseException] = []
    producer = KafkaProducer({"bootstrap.servers": kafka.bootstrap}, errors.append, _log)
    with pytest.raises(TopicMissing, match=unique):
        await asyncio.to_thread(producer.partitions, unique)
    producer.close()
