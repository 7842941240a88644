"""The broker in memory keeps, of a real one's contract, what `run/` relies on."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.model import Record
from pipeline.ports import Assigned
from pipeline.testing.stage.broker import FETCH_RECORDS_MAX, StageBroker, StageSource
from pipeline.testing.virtual import VirtualLoop


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def source(broker: StageBroker, **partitions: int):
    made = StageSource(broker, "g", "input", tuple(partitions) or ("in",))
    notices: list[object] = []
    made.start(notices.append)
    return made, notices


def offsets(notices: list[object]) -> list[int]:
    return [each.offset for notice in notices if isinstance(notice, list) for each in notice]


def test_records_come_in_order_and_once_with_what_was_appended(loop):
    async def play():
        broker = StageBroker(loop.wall_ns)
        _, notices = source(broker)
        for number in range(FETCH_RECORDS_MAX + 3):
            broker.append("in", 0, b"k", b"%d" % number, [("h", b"x")])
        await asyncio.sleep(1)
        assert isinstance(notices[0], Assigned)
        assert offsets(notices) == list(range(FETCH_RECORDS_MAX + 3))
        first = notices[1][0]
        stamp_ms = first.timestamp_ms
        assert first == Record("in", 0, 0, b"k", b"0", (("h", b"x"),), stamp_ms)
        assert 0 <= loop.wall_ns() // 1_000_000 - stamp_ms <= 1_000

    loop.run_until_complete(play())


def test_a_paused_partition_goes_on_after_the_last_record_posted(loop):
    async def play():
        broker = StageBroker(loop.wall_ns)
        made, notices = source(broker)
        broker.append("in", 0, None, b"a", ())
        await asyncio.sleep(1)
        made.pause("in", 0)
        broker.append("in", 0, None, b"b", ())
        await asyncio.sleep(1)
        assert offsets(notices) == [0]
        made.resume("in", 0)
        await asyncio.sleep(1)
        assert offsets(notices) == [0, 1]

    loop.run_until_complete(play())


def test_the_next_source_of_the_group_starts_where_was_committed_with_the_metadata(loop):
    async def play():
        broker = StageBroker(loop.wall_ns)
        first, _ = source(broker)
        for _ in range(3):
            broker.append("in", 0, None, b"x", ())
        first.commit([("in", 0, 2, "kept")])
        await first.stop()
        _, notices = source(broker)
        await asyncio.sleep(1)
        assert notices[0].partitions == (("in", 0, 2),)
        assert notices[0].stored["in", 0][1:] == ("kept", 3), "and where the log ends"
        assert offsets(notices) == [2]

    loop.run_until_complete(play())
