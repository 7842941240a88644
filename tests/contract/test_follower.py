"""The contract of run/memory's Follower, kept by the real adapter on a real Kafka and by its fake."""

from __future__ import annotations

import time

import pytest

from pipeline.adapters.kafka.follower import KafkaFollower
from pipeline.model import Record
from pipeline.testing.follower import FakeFollower
from tests.support.broker import Outgoing
from tests.support.conditions import eventually


class Heard:
    """What a follower says, in order."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.whole: list[tuple[int, int, int]] = []  # partition, as of, records heard by then

    def take(self, records: list[Record]) -> None:
        self.records += records

    def complete(self, partition: int, at_ns: int) -> None:
        self.whole.append((partition, at_ns, len(self.records)))

    def keys(self, partition: int) -> list[bytes | None]:
        return [each.key for each in self.records if each.partition == partition]


class World:
    def __init__(self, follower, put) -> None:
        self.follower = follower
        self.put = put
        self.heard = Heard()
        self.errors: list[BaseException] = []


@pytest.fixture(params=["fake", "real"])
async def world(request):
    if request.param == "fake":
        fake = FakeFollower(time.time_ns)

        def put(partition, *keys) -> None:
            for key in keys:
                fake.put(Record("t", partition, 0, key, b"v", (), 0))

        made = World(fake, put)
    else:
        broker = request.getfixturevalue("kafka")
        topic = request.getfixturevalue("topic_factory")("memory", partitions=3, **{"cleanup.policy": "compact"})
        errors: list[BaseException] = []
        real = KafkaFollower({"bootstrap.servers": broker.bootstrap}, topic, lambda *_, **__: None, errors.append)

        def put(partition, *keys) -> None:
            broker.produce(topic, [Outgoing(b"v", key=key, partition=partition) for key in keys])

        made = World(real, put)
        made.errors = errors
    yield made
    await made.follower.stop()
    assert made.errors == []


async def test_what_is_there_comes_before_it_is_said_to_be_whole_and_what_is_written_later_comes_too(world) -> None:
    world.put(1, b"a", b"b", b"c")
    world.put(2, b"elsewhere")
    world.follower.start(world.heard.take, world.heard.complete)
    before_ns = time.time_ns()
    world.follower.follow(1)
    await eventually(lambda: bool(world.heard.whole))
    partition, at_ns, heard = world.heard.whole[0]
    assert (partition, heard) == (1, 3)
    assert before_ns <= at_ns <= time.time_ns()
    world.put(1, b"d")
    await eventually(lambda: world.heard.keys(1) == [b"a", b"b", b"c", b"d"])
    assert world.heard.keys(2) == []


async def test_an_empty_partition_is_whole_at_once(world) -> None:
    world.follower.start(world.heard.take, world.heard.complete)
    world.follower.follow(0)
    await eventually(lambda: [each[0] for each in world.heard.whole[:1]] == [0])
    assert world.heard.records == []


async def test_asked_again_it_says_that_it_is_whole_as_of_then_without_reading_anew(world) -> None:
    world.put(0, b"a")
    world.follower.start(world.heard.take, world.heard.complete)
    world.follower.follow(0)
    await eventually(lambda: bool(world.heard.whole))
    asked_ns = time.time_ns()
    world.follower.follow(0)
    await eventually(lambda: world.heard.whole[-1][1] >= asked_ns)
    assert world.heard.keys(0) == [b"a"]


async def test_what_was_left_is_read_no_more_and_from_its_beginning_when_followed_again(world) -> None:
    world.put(0, b"a")
    world.follower.start(world.heard.take, world.heard.complete)
    world.follower.follow(0)
    world.follower.follow(1)
    await eventually(lambda: {each[0] for each in world.heard.whole} == {0, 1})
    world.follower.leave(0)
    world.follower.follow(2)
    await eventually(lambda: 2 in {each[0] for each in world.heard.whole})
    world.put(0, b"b")
    world.put(1, b"c")
    await eventually(lambda: world.heard.keys(1) == [b"c"])
    assert world.heard.keys(0) == [b"a"]
    world.follower.follow(0)
    await eventually(lambda: world.heard.keys(0) == [b"a", b"a", b"b"])


async def test_a_partition_that_is_not_there_is_an_error_with_its_remedy(kafka, topic_factory) -> None:
    """Partitions were added to the input and not here: what is remembered of their events cannot be kept."""
    errors: list[BaseException] = []
    settings = {"bootstrap.servers": kafka.bootstrap}
    topic = topic_factory("memory", partitions=2)
    follower = KafkaFollower(settings, topic, lambda *_, **__: None, errors.append)
    heard = Heard()
    follower.start(heard.take, heard.complete)
    follower.follow(5)
    await eventually(lambda: bool(errors), timeout_s=40)
    assert "has too few partitions" in str(errors[0])
    assert "hookline topics check" in str(errors[0])
    await follower.stop()
