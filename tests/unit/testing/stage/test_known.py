"""Marks change what a stage's tables say, as a follower of the real topics would see it."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.model import NOTHING, ConsentSaid, Record, Suppress, Unsuppress
from pipeline.testing.fakes import FakeTables
from pipeline.testing.stage.broker import StageBroker
from pipeline.testing.stage.known import StageFollower, StageTables, marked
from pipeline.testing.virtual import VirtualLoop

GRANT = ConsentSaid("email", granted=True, at_ms=5)
DENY = ConsentSaid("email", granted=False, at_ms=7)
TICKET = Suppress("ticket:1", "category", "promotional", "ticket.closed", "", 0, 0)


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def test_the_newer_word_on_consent_counts():
    assert marked(marked(NOTHING, GRANT, 9), DENY, 9).consent == {"email": DENY}
    assert marked(marked(NOTHING, DENY, 9), GRANT, 9).consent == {"email": DENY}


def test_a_suppression_begins_when_it_was_marked_and_ends_by_its_name():
    (suppress,) = marked(NOTHING, TICKET, 9).suppressions
    assert suppress.at_ms == 9
    again = marked(marked(NOTHING, TICKET, 9), TICKET, 11)
    assert len(again.suppressions) == 1
    assert marked(again, Unsuppress("ticket:2"), 12) == again
    assert marked(again, Unsuppress("ticket:1"), 12).suppressions == ()


def test_a_mark_is_known_once_it_is_acknowledged_and_lies_over_what_was_known(loop):
    async def play():
        below = FakeTables()
        below.of["ann"] = marked(NOTHING, GRANT, 1)
        tables = StageTables(StageBroker(loop.wall_ns), below)
        acked: list[object] = []
        assert tables.write("ann", TICKET, 9, lambda *_: acked.append(tables.known("ann").suppressions))
        assert tables.known("ann").suppressions == ()
        await asyncio.sleep(1)
        assert len(acked[0]) == 1
        assert tables.known("ann").consent == {"email": GRANT}
        assert below.of["ann"].suppressions == ()
        assert tables.known("bob").consent == {}

    loop.run_until_complete(play())


def test_a_follower_reads_what_is_there_and_then_what_comes(loop):
    async def play():
        broker, seen, whole = StageBroker(loop.wall_ns), [], []
        follower = StageFollower(broker, "memory", loop.wall_ns)
        follower.start(seen.extend, lambda partition, at_ns: whole.append((partition, at_ns <= loop.wall_ns())))
        broker.append("memory", 0, b"a", b"1", ())
        for _ in range(2):
            follower.follow(0)
            await asyncio.sleep(1)
            broker.append("memory", 0, b"a", b"2", ())
        assert [each.value for each in seen] == [b"1", b"2"]
        assert whole == [(0, True), (0, True)]
        assert isinstance(seen[0], Record)
        follower.follow(1)
        follower.leave(1)
        await asyncio.sleep(1)
        assert len(whole) == 2
        await follower.stop()

    loop.run_until_complete(play())
