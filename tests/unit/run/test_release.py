"""run/release: first in, first out per partition, never early, pausing only when much is held."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.core import runstate
from pipeline.core.switches import DROP, RELEASE, Order
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
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000, {}, {})
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
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000, {}, {})
    release.hold([record("r.10s", 0, 900_000)])
    assert passed == []
    await until(lambda: len(passed) == 1)
    release.close()


async def test_a_partition_pauses_when_much_is_held_and_resumes_when_half_is_gone() -> None:
    clock, source, passed = FakeClock(1_000_000), FakeSource("retry"), []
    release = Release(TIERS, source, clock, passed.extend, lambda: 1_000, {}, {})
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


async def test_a_full_partition_that_somebody_else_resumed_is_paused_again() -> None:
    clock, source = FakeClock(1_000_000), FakeSource("retry")
    release = Release(TIERS, source, clock, [].extend, lambda: 1_000, {}, {})
    bound = release_module.HELD_RECORDS
    release.hold([record("r.1m", offset, 1_000_000) for offset in range(bound)])
    source.resume("r.1m", 0)  # as run/consume does once a schema was found
    release.hold([record("r.1m", bound, 1_000_000)])
    assert source.paused == {("r.1m", 0)}
    release.close()


async def test_bytes_are_bounded_for_each_partition_by_itself() -> None:
    clock, source = FakeClock(1_000_000), FakeSource("retry")
    release = Release(TIERS, source, clock, [].extend, lambda: 1_000, {}, {})
    big = bytes(release_module.HELD_BYTES // 2)
    release.hold([Record("r.1m", 0, offset, None, big, (), 1_000_000) for offset in range(2)])
    release.hold([Record("r.10s", 0, 0, None, big, (), 1_000_000)])
    assert source.paused == {("r.1m", 0)}  # what waits long does not stop what waits briefly
    release.hold([Record("r.10s", 1, 0, None, big, (("large", big),), 1_000_000)])
    assert source.paused == {("r.1m", 0), ("r.10s", 1)}, "a header is held, too"
    release.forget(("r.1m", 0))
    release.hold([Record("r.1m", 0, 0, None, big, (), 1_000_000)])
    assert release.count(("r.1m", 0)) == 1
    release.close()


async def test_what_is_due_stays_until_there_is_room_and_each_partition_has_its_turn() -> None:
    clock, source, passed, room = FakeClock(1_000_000), FakeSource("retry"), [], [0]
    release = Release(TIERS, source, clock, passed.extend, lambda: room[0], {}, {})
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
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000, {}, {})
    release.hold([record("r.10s", 0, 9_000_000)])
    clock.advance(10_000)
    release._fire()
    assert len(passed) == 1
    release.close()


async def test_a_forgotten_partition_releases_nothing() -> None:
    clock, passed = FakeClock(1_000_000), []
    release = Release(TIERS, FakeSource("retry"), clock, passed.extend, lambda: 1_000, {}, {})
    release.hold([record("r.10s", 0, 0), record("r.10s", 0, 0, partition=1)])
    release.forget(("r.10s", 0))
    release._fire()
    assert [each.partition for each in passed] == [1]
    await asyncio.sleep(0)
    release.close()


class FakeLane:
    def __init__(self) -> None:
        self.room = 0
        self.well = False
        self.taking = True
        self.held = False

    def holding(self) -> bool:
        return self.held

    def spare(self) -> int:
        return self.room

    def steady(self) -> bool:
        return self.well

    def takes(self) -> bool:
        return self.taking


def parked(offset: int, stamp_ms: int, parks: int = 1, due_ms: int = 0, cls: str = "", **calls: str) -> Record:
    state = runstate.RunState(
        journey="j", hash="h", event_id="e", source=("in", 0, offset, 0), deliveries=1, started_ms=0, hop=1,
        parks=parks, due_ms=0, trace_id="", sampled=False, link="",
        steps={name: runstate.StepState(0, due_ms, 0, cls, 0) for name in calls or {"crm": ""}},
    )  # fmt: skip
    headers = ((runstate.STATE_HEADER, runstate.encode(state)),)
    return Record("r.1m", 0, offset, None, b"v", headers, stamp_ms)


@pytest.fixture
async def early():
    """A release whose clock stands at 1,000,000 ms, with the lanes `crm` and `mail`."""

    class Early:
        clock = FakeClock(1_000_000)
        source = FakeSource("retry")

        def __init__(self) -> None:
            self.passed: list[Record] = []
            self.room = 1_000
            self.lanes = {"crm": FakeLane(), "mail": FakeLane()}
            calls = {("j", name): name for name in ("crm", "mail", "gone")}
            self.release = Release(
                TIERS, self.source, self.clock, self.passed.extend, lambda: self.room, self.lanes, calls
            )

        def fired(self) -> list[int]:
            before = len(self.passed)
            self.release._fire()
            return [each.offset for each in self.passed[before:]]

    made = Early()
    yield made
    made.release.close()


async def test_parked_runs_go_as_soon_as_their_lane_has_room_and_no_more_than_that(early) -> None:
    early.release.hold([parked(offset, 999_000) for offset in range(10)])
    assert early.fired() == []
    early.lanes["crm"].room = 3
    assert early.fired() == [0, 1, 2]
    early.room = 2
    assert early.fired() == [3, 4]
    assert early.release.count(("r.1m", 0)) == 5


async def test_what_was_parked_twice_waits_until_the_lane_has_been_well_for_a_while(early) -> None:
    early.release.hold([parked(0, 999_000, parks=2), parked(1, 999_000)])
    early.lanes["crm"].room = 10
    assert early.fired() == [1]
    early.lanes["crm"].well = True
    assert early.fired() == [0]


async def test_a_run_goes_early_only_when_all_it_waits_for_is_well(early) -> None:
    early.release.hold([parked(0, 999_000, crm="", mail=""), parked(1, 999_000, mail="")])
    early.lanes["crm"].room = 10
    assert early.fired() == []
    early.lanes["mail"].room = 1
    assert early.fired() == [0]
    early.lanes["mail"].room = 1
    assert early.fired() == [1]


async def test_retries_that_are_not_due_and_steps_no_lane_is_for_are_not_early(early) -> None:
    for lane in early.lanes.values():
        lane.room, lane.well = 10, True
    early.release.hold([parked(0, 999_000, parks=0), parked(1, 999_000, due_ms=1_000_001), parked(2, 999_000, gone="")])
    assert early.fired() == []
    early.clock.advance(60_000)
    assert early.fired() == [0, 1, 2]


async def test_a_partition_that_was_full_of_parked_runs_is_fetched_again_once_they_went(early) -> None:
    early.release.hold([parked(offset, 999_000) for offset in range(release_module.HELD_RECORDS)])
    assert early.source.paused == {("r.1m", 0)}
    early.lanes["crm"].room = release_module.HELD_RECORDS
    early.fired()
    assert early.source.paused == set()
    assert early.release._parked == {}


async def test_a_partition_that_is_gone_takes_its_parked_runs_along(early) -> None:
    early.release.hold([parked(0, 999_000)])
    early.release.forget(("r.1m", 0))
    early.lanes["crm"].room = 10
    assert early.fired() == []
    assert early.release._parked == {}


def ordered(verb: str, destination: str = "crm", **more) -> Order:
    return Order(verb, destination, "ada", "because", 1_000_000, **more)


async def test_a_drop_lets_go_at_once_what_it_means_and_leaves_the_rest_in_order(early) -> None:
    early.release.hold([parked(0, 999_000), parked(1, 999_000, mail=""), parked(2, 999_000)])
    early.release.follow([ordered(DROP)], lambda: 1.0)
    assert sorted(early.fired()) == [0, 2]
    early.release.hold([parked(3, 999_000)])  # what comes later, from before the order, is meant as well
    assert early.fired() == [3]
    assert early.release.count(("r.1m", 0)) == 1
    early.clock.advance(60_000)
    assert early.fired() == [1]


async def test_a_release_waits_for_its_destination_but_no_longer_than_the_tier(early) -> None:
    early.release.hold([parked(offset, 999_000) for offset in range(3)])
    early.release.follow([ordered(RELEASE)], lambda: 1.0)
    early.lanes["crm"].taking = False
    assert early.fired() == []
    early.lanes["crm"].taking = True
    assert early.fired() == [0]  # slowly at first
    early.lanes["crm"].taking = False
    early.clock.advance(60_000)
    assert early.fired() == [1, 2]


async def test_what_a_release_means_goes_at_its_rate_even_where_the_lane_has_room(early) -> None:
    early.release.hold([parked(offset, 999_000) for offset in range(9)])
    early.release.follow([ordered(RELEASE, rate_per_s=1.0)], lambda: 1.0)
    early.lanes["crm"].room = 9
    assert len(early.fired()) <= 2
    early.release.follow([], lambda: 1.0)
    assert len(early.fired()) >= 7


@pytest.mark.parametrize("cls", ["paused", "disabled", "timeout"])
async def test_what_was_held_back_just_after_a_release_goes_once_nothing_is_held_back_any_more(early, cls) -> None:
    early.lanes["crm"].held = True
    early.release.hold([parked(0, 1_000_000, cls=cls)])
    given = Order(RELEASE, "crm", "ada", "because", 999_000)
    early.release.follow([given], lambda: 1.0)
    assert early.fired() == []  # it would be held back again at once
    early.lanes["crm"].held = False
    early.release.follow([given], lambda: 1.0)
    assert early.fired() == ([] if cls == "timeout" else [0])  # after a failure it has a wait of its own


async def test_what_goes_early_lets_fetching_go_on_and_is_not_kept(early) -> None:
    bound = release_module.HELD_RECORDS
    early.room = 10 * bound
    early.release.follow([ordered(DROP)], lambda: 1.0)
    early.release.hold([parked(0, 999_000, mail="")])
    for first in range(1, 4 * bound, bound - 1):
        early.release.hold([parked(offset, 999_000) for offset in range(first, first + bound - 1)])
        assert early.source.paused == {("r.1m", 0)}
        early.release._fire()
        assert early.source.paused == set()
    assert early.release.count(("r.1m", 0)) == 1
    (held,) = early.release._held.values()
    assert len(held.entries) <= 2 * bound + 2


async def test_what_went_when_it_was_due_is_not_kept_for_an_order_that_waits(early) -> None:
    bound = release_module.HELD_RECORDS
    early.room = 10 * bound
    early.lanes["crm"].taking = False
    early.release.follow([ordered(RELEASE)], lambda: 1.0)
    early.clock.advance(60_000)
    for first in range(0, 4 * bound, bound - 1):
        early.release.hold([parked(offset, 999_000) for offset in range(first, first + bound - 1)])
        early.release._fire()
    assert early.release.count(("r.1m", 0)) == 0
    (order,) = early.release._orders._queues.values()
    assert len(order.entries) <= 2 * bound
