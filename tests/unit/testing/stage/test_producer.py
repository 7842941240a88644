"""What a producer on the stage queues is appended and acknowledged in the order of its partition, however slowly."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.producer import StageProducer
from pipeline.testing.virtual import VirtualLoop


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def test_what_is_produced_is_there_before_it_is_acknowledged(loop):
    async def play():
        broker = StageBroker(loop.wall_ns, {"out": 4})
        producer = StageProducer(broker)
        there: list[int] = []
        producer.produce("out", b"k", b"v", [], lambda *_: there.append(len(broker.of("out"))), 3)
        assert broker.of("out") == []
        await asyncio.sleep(1)
        assert there == [1]
        assert broker.of("out")[0].partition == 3

    loop.run_until_complete(play())


def test_what_waits_behind_a_slow_append_or_ack_keeps_its_order(loop):
    async def play():
        broker = StageBroker(loop.wall_ns)
        producer = StageProducer(broker)
        acked: list[int] = []
        waits = iter([3.0, *[0.002] * 29])
        late = iter([2.0, *[0.0] * 29])
        producer.append_s = lambda: next(waits)
        producer.ack_s = lambda: next(late)
        for number in range(30):
            producer.produce("out", None, b"%d" % number, [], lambda *_, number=number: acked.append(number))
        await asyncio.sleep(10)
        assert [int(each.value) for each in broker.of("out")] == list(range(30))
        assert acked == list(range(30))

    loop.run_until_complete(play())


def test_what_is_refused_is_kept_and_written_again_before_what_came_later(loop):
    async def play():
        broker = StageBroker(loop.wall_ns)
        producer = StageProducer(broker)
        acked: list[str] = []
        refusing = {"out"}
        producer.refuses = lambda topic: "no right" if topic in refusing else None

        def answer(name, why, record):
            if why is None:
                acked.append(name)
            else:
                producer.refused(why, record, partial(answer, name))

        producer.produce("out", None, b"a", [], partial(answer, "a"))
        await asyncio.sleep(0.5)
        assert producer.refusals == ["no right"]
        assert producer.full()
        producer.produce("out", None, b"b", [], partial(answer, "b"))
        producer.produce("other", None, b"c", [], partial(answer, "c"))
        await asyncio.sleep(5)
        assert acked == ["c"]
        refusing.clear()
        await asyncio.sleep(2)
        assert [each.value for each in broker.of("out")] == [b"a", b"b"]
        assert acked == ["c", "a", "b"]
        assert not producer.full()
        assert await producer.flush(1.0) == 0

    loop.run_until_complete(play())


def test_the_dead_hear_of_nothing(loop):
    async def play():
        broker = StageBroker(loop.wall_ns)
        producer = StageProducer(broker)
        acked: list[object] = []
        producer.produce("out", None, b"v", [], lambda *_: acked.append(1))
        producer.dead = lambda: True
        await asyncio.sleep(1)
        assert len(broker.of("out")) == 1
        assert acked == []

    loop.run_until_complete(play())
