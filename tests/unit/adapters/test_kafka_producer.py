"""adapters/kafka/producer without a broker: what is unacked stops consumption, by its bytes as by its number."""

from __future__ import annotations

import pytest

from pipeline.adapters.kafka.producer import FULL_BYTES, SMALL_BYTES, KafkaProducer
from tests.support.ports import free_port

LARGE = 1_048_576
TOPIC = "out"


@pytest.fixture
async def producer():
    errors: list[BaseException] = []
    unreachable = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": "0"}  # so nothing is acked
    made = KafkaProducer(unreachable, errors.append, lambda *_, **__: None, {TOPIC: 2 * LARGE})
    yield made
    made.close()
    assert errors == []


def _nothing(*_: object) -> None:
    """Answer an ack nobody looks at."""


async def test_few_large_records_are_full_long_before_their_number_is(producer) -> None:
    fitting = FULL_BYTES // (LARGE + SMALL_BYTES)
    for _ in range(fitting):
        assert producer.produce(TOPIC, b"k", bytes(LARGE), [], _nothing)
    assert not producer.full()
    for _ in range(2):
        assert producer.produce(TOPIC, b"k", bytes(LARGE), [], _nothing)
    assert producer.full()


async def test_headers_count_too(producer) -> None:
    for _ in range(FULL_BYTES // LARGE + 1):
        assert producer.produce(TOPIC, b"k", None, [("h", bytes(LARGE))], _nothing)
    assert producer.full()


async def test_what_was_refused_or_settled_takes_no_room(producer) -> None:
    told: list[object] = []
    for _ in range(FULL_BYTES // LARGE + 1):
        assert not producer.produce(TOPIC, b"k", bytes(3 * LARGE), [], told.append)
    assert not producer.full()
    for _ in range(FULL_BYTES // LARGE + 1):
        producer.produce(TOPIC, b"k", bytes(LARGE), [], lambda refused, _record: told.append(refused))
    assert producer.full()
    producer.close()  # given up: every record is answered for
    await producer.flush(5.0)
    assert len(told) == FULL_BYTES // LARGE + 1
    assert not producer.full()
