"""Partitions have one member each, and move without two of them having one at once unless one is silent."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.ports import Assigned, Revoked
from pipeline.testing.stage.broker import StageBroker, StageSource
from pipeline.testing.stage.group import LET_GO_S, StageGroup
from pipeline.testing.virtual import VirtualLoop


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


class Member:
    """A source whose worker lets go at once, unless it is stubborn."""

    def __init__(self, broker: StageBroker, group: StageGroup, *, stubborn: bool = False) -> None:
        self.source = StageSource(broker, "g", "input", ("in",), group)
        self.stubborn = stubborn
        self.lost: list[tuple[str, int]] = []
        self.source.start(self.noticed)

    def noticed(self, notice: object) -> None:
        if isinstance(notice, Revoked):
            self.lost += notice.partitions if notice.lost else ()
            if not self.stubborn:
                notice.done()
        else:
            assert isinstance(notice, (Assigned, list))

    def owned(self) -> list[int]:
        return sorted(partition for _, partition in self.source.positions)


def test_members_come_and_go(loop):
    async def play():
        broker = StageBroker(loop.wall_ns, {"in": 4})
        group = StageGroup(broker, {"in": 4})
        first = Member(broker, group)
        assert first.owned() == [0, 1, 2, 3]
        second = Member(broker, group)
        assert sorted(first.owned() + second.owned()) == [0, 1, 2, 3]
        assert len(second.owned()) == 2
        await second.source.stop()
        assert first.owned() == [0, 1, 2, 3]
        assert group.settled()

    loop.run_until_complete(play())


def test_who_does_not_let_go_is_found_out(loop):
    async def play():
        broker = StageBroker(loop.wall_ns, {"in": 2})
        group = StageGroup(broker, {"in": 2})
        Member(broker, group, stubborn=True)
        second = Member(broker, group)
        assert second.owned() == []
        assert not group.settled()
        await asyncio.sleep(LET_GO_S + 1)
        assert len(group.late) == 1

    loop.run_until_complete(play())


def test_a_silent_member_hears_last_and_can_commit_nothing_more(loop):
    async def play():
        broker = StageBroker(loop.wall_ns, {"in": 2})
        group = StageGroup(broker, {"in": 2})
        first, second = Member(broker, group), Member(broker, group)
        (mine,) = first.owned()
        group.expel(first.source)
        assert first.lost == [("in", mine)]
        assert second.owned() == [0, 1]
        first.source.commit([("in", mine, 5, "")])
        assert first.source.refused == [("in", mine)]
        assert ("g", "in", mine) not in broker.committed

    loop.run_until_complete(play())
