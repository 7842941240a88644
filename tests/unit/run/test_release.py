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
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend)
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
    assert [(each.topic, each.offset) for each in passed[1:]] == [("r.10s", 1), ("r.1m", 0)]
    release.close()


async def test_what_is_due_is_passed_on_by_itself() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend)
    release.hold([record("r.10s", 0, 900_000)])
    assert passed == []
    await until(lambda: len(passed) == 1)
    release.close()


async def test_a_partition_pauses_when_much_is_held_and_resumes_when_half_is_gone() -> None:
    clock, source, passed = FakeClock(1_000_000), FakeSource("retry"), []
    release = Release(TIERS, source, clock, passed.extend)
    bound = release_module.HELD_RECORDS
    release.hold([record("r.10s", offset, 1_000_000 + offset) for offset in range(bound)])
    assert source.paused == {("r.10s", 0)}
    clock.advance(10_000 + bound // 2 - 2)
    release._fire()
    assert source.paused == {("r.10s", 0)}
    clock.advance(1)
    release._fire()
    assert source.paused == set()
    assert release.count(("r.10s", 0)) == bound // 2
    release.close()


async def test_bytes_are_bounded_over_all_partitions() -> None:
    clock, source = FakeClock(1_000_000), FakeSource("retry")
    release = Release(TIERS, source, clock, [].extend)
    big = bytes(release_module.HELD_BYTES // 3)
    release.hold([Record("r.10s", p, 0, None, big, (), 1_000_000) for p in range(4)])
    assert ("r.10s", 3) in source.paused
    for partition in range(4):
        release.forget(("r.10s", partition))
    assert release._bytes == 0
    release.close()


async def test_a_forgotten_partition_releases_nothing() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend)
    release.hold([record("r.10s", 0, 0), record("r.10s", 0, 0, partition=1)])
    release.forget(("r.10s", 0))
    release._fire()
    assert [each.partition for each in passed] == [1]
    await asyncio.sleep(0)
    release.close()
