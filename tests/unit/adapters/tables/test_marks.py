"""When a mark is done: Kafka has it and so has the file; a file that falls behind does not keep it for ever."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from pipeline.adapters.tables import marks
from pipeline.model import NOTHING, ConsentSaid, Suppress, Unsuppress
from pipeline.testing.fakes import FakeProducer, FakeTables
from pipeline.testing.virtual import VirtualLoop

TOPICS = ("g.consent", "g.suppressions")
GRANT = ConsentSaid("email", True, 5)


class Broker(FakeProducer):
    """Acks with a place, as a real one does."""

    def ack(self) -> None:
        unacked, self._unacked = self._unacked, []
        for offset, acked in enumerate(unacked):
            acked(None, SimpleNamespace(partition=lambda: 0, offset=lambda offset=offset: offset))


class File(FakeTables):
    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def has(self, _topic: str, _partition: int, offset: int) -> bool:
        return offset < self.read


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def test_a_mark_is_done_once_the_file_has_it(loop):
    async def scene() -> None:
        broker, file, done = Broker(), File(), []
        made = marks.KafkaMarks(broker, TOPICS, file)
        for number in range(3):
            assert made.write(f"c-{number}", GRANT, 9, lambda refused, _, number=number: done.append((number, refused)))
        await asyncio.sleep(1)
        assert (len(broker.of("g.consent")), done) == (3, [])
        file.read = 2
        await asyncio.sleep(marks.AGAIN_S * 2)
        assert done == [(0, None), (1, None)]
        await asyncio.sleep(marks.SEEN_S)
        assert done == [(0, None), (1, None), (2, None)], "tables that do not move hold by themselves"
        made.close()

    loop.run_until_complete(scene())


def test_each_mark_goes_to_its_topic(loop):
    async def scene() -> None:
        broker, file = Broker(), File()
        made = marks.KafkaMarks(broker, TOPICS, file)
        for mark in (GRANT, Suppress("x", "channel", "email", "", "", 0), Unsuppress("x")):
            assert made.write("c-1", mark, 9, lambda *_: None)
        assert [record.key for record in broker.of("g.consent")] == [b"c-1\0hookline:email"]
        assert [(record.key, record.value is None) for record in broker.of("g.suppressions")] == [
            (b"c-1\0x", False), (b"c-1\0x", True),
        ]  # fmt: skip
        made.close()

    loop.run_until_complete(scene())


def test_a_word_older_than_what_is_known_is_not_written(loop):
    async def scene() -> None:
        broker, file, done = Broker(), File(), []
        file.of["c-1"] = type(NOTHING)({"email": ConsentSaid("email", False, 6)})
        made = marks.KafkaMarks(broker, TOPICS, file)
        assert made.write("c-1", GRANT, 9, lambda refused, _: done.append(refused))
        assert done == []
        await asyncio.sleep(0)
        assert (done, broker.records) == ([None], [])
        made.close()

    loop.run_until_complete(scene())


def test_what_the_broker_refuses_is_written_again_and_then_seen_like_any_other(loop):
    async def scene() -> None:
        broker, file, done = Broker(), File(), []
        broker.holding = True
        made = marks.KafkaMarks(broker, TOPICS, file)
        assert made.write("c-1", GRANT, 9, lambda refused, _: done.append(refused))
        broker.refuse("no")
        assert (done, broker.refusals) == ([], ["no"])
        broker.take()
        assert done == [None]
        made.close()

    loop.run_until_complete(scene())
