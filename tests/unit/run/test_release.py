"""run/release: first in, first out per partition, never early, pausing only when much is held."""

from __future__ import annotations

import asyncio

from pipeline.model import Record
from pipeline.run import release as release_module
from pipeline.run.release import Release
from pipeline.testing.fakes import FakeClock, FakeSource
from tests.unit.run.conftest import until

TIERS = {"r.10s": 10_000, "r.1m": 60_000}


def record(topic: str, offset: int, stamp_ms: int, partition: int = 0) -> Record:
    return Record(topic, partition, offset, None, b"v", (), stamp_ms)


async def test_nothing_is_released_before_record_time_plus_delay() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000)
    release.hold([record("r.10s", 0, 995_000), record("r.10s", 1, 996_000), record("r.1m", 0, 995_000)])
    release._fire()
    assert passed == []
    clock.advance(4_999)
    release._fire()
    assert passed == []
    clock.advance(1)
    release._fire()
    assert [(each.topic, each.offset) for each in passed] == [("r.10s", 0)]
    clock.advance(50_000)
    release._fire()
    assert [(each.topic, each.offset) for each in passed[1:]] == [("r.1m", 0), ("r.10s", 1)]
    release.close()


async def test_what_is_due_is_passed_on_by_itself() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000)
    release.hold([record("r.10s", 0, 900_000)])
    assert passed == []
    await until(lambda: len(passed) == 1)
    release.close()


async def test_a_partition_pauses_when_much_is_held_and_resumes_when_half_is_gone() -> None:
    clock, source, passed = FakeClock(1_000_000), FakeSource("retry"), []
    release = Release(TIERS, source, clock, passed.extend, lambda: 1_000)
    bound = release_module.HELD_RECORDS
    release.hold([record("r.10s", offset, 1_000_000 - bound + offset) for offset in range(bound)])
    assert source.paused == {("r.10s", 0)}
    clock.advance(10_000 - bound // 2 - 2)
    release._fire()
    assert source.paused == {("r.10s", 0)}
    clock.advance(1)
    release._fire()
    assert source.paused == set()
    assert release.count(("r.10s", 0)) == bound // 2
    release.close()


async def test_bytes_are_bounded_for_each_partition_by_itself() -> None:
    clock, source = FakeClock(1_000_000), FakeSource("retry")
    release = Release(TIERS, source, clock, [].extend, lambda: 1_000)
    big = bytes(release_module.HELD_BYTES // 2)
    release.hold([Record("r.1m", 0, offset, None, big, (), 1_000_000) for offset in range(2)])
    release.hold([Record("r.10s", 0, 0, None, big, (), 1_000_000)])
    assert source.paused == {("r.1m", 0)}  # what waits long does not stop what waits briefly
    release.forget(("r.1m", 0))
    release.hold([Record("r.1m", 0, 0, None, big, (), 1_000_000)])
    assert release.count(("r.1m", 0)) == 1
    release.close()


async def test_what_is_due_stays_until_there_is_room_and_each_partition_has_its_turn() -> None:
    clock, source, passed, room = FakeClock(1_000_000), FakeSource("retry"), [], [0]
    release = Release(TIERS, source, clock, passed.extend, lambda: room[0])
    bound = release_module.HELD_RECORDS
    for partition in range(3):
        release.hold([record("r.10s", offset, 0, partition) for offset in range(bound)])
    for _ in range(5):
        release._fire()
    assert passed == []
    assert len(source.paused) == 3
    room[0] = 1
    for _ in range(3):
        release._fire()
    assert sorted(each.partition for each in passed) == [0, 1, 2]
    room[0] = bound
    await until(lambda: len(passed) == 3 * bound)
    assert source.paused == set()
    release.close()


async def test_a_broker_whose_clock_runs_ahead_does_not_lengthen_the_delay() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000)
    release.hold([record("r.10s", 0, 9_000_000)])
    clock.advance(10_000)
    release._fire()
    assert len(passed) == 1
    release.close()


async def test_a_forgotten_partition_releases_nothing() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000)
    release.hold([record("r.10s", 0, 0), record("r.10s", 0, 0, partition=1)])
    release.forget(("r.10s", 0))
    release._fire()
    assert [each.partition for each in passed] == [1]
    await asyncio.sleep(0)
    release.close()
