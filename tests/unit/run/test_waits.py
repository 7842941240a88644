"""run/waits: runs go when they are due, or before where that is allowed, never twice."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from math import inf

from pipeline.core import runstate
from pipeline.core.switches import DROP, RELEASE, Order
from pipeline.model import Record
from pipeline.run.orders import QUEUED, SLOW_START_PER_S
from pipeline.run.waits import Waits
from pipeline.testing.fakes import FakeClock
from tests.support.logs import CALLS, state


@dataclass
class Run:
    record: Record


class Lane:
    def __init__(self, room: int = 0, *, well: bool = True) -> None:
        self.room, self.well = room, well

    def spare(self) -> int:
        return self.room

    def steady(self) -> bool:
        return self.well

    def takes(self) -> bool:
        return self.well

    def holding(self) -> bool:
        return False


def run(clock: FakeClock, number: int = 0, **more) -> Run:
    headers = ((runstate.STATE_HEADER, state(number, **more)),)
    return Run(Record("log", 0, number, None, b"v", headers, clock() // 1_000_000))


def test_each_goes_when_it_is_due_and_once() -> None:
    clock = FakeClock(1_000)
    waits: Waits[Run] = Waits(clock, {}, CALLS)
    assert waits.next_ms() == inf
    runs = [run(clock, number) for number in range(3)]
    for each, due_ms in zip(runs, (3_000, 2_000, 2_000), strict=True):
        waits.add(each, due_ms, 0.0)
    assert waits.over(10, 0.0) == []
    clock.advance(1_000)
    assert waits.over(0, 0.0) == [runs[1], runs[2]]  # what is due waits no longer, whatever room there is
    assert waits.next_ms() == 3_000
    clock.advance(5_000)
    assert waits.over(10, 0.0) == [runs[0]]
    assert waits.over(10, 0.0) == []


def test_what_was_given_up_does_not_go() -> None:
    clock = FakeClock(1_000)
    waits: Waits[Run] = Waits(clock, {"crm": Lane(5)}, CALLS)
    waits.end(waits.add(run(clock, parks=1), 2_000, 0.0))
    clock.advance(5_000)
    assert (waits.over(10, 0.0), waits.next_ms(), waits.early()) == ([], inf, False)


def test_what_is_over_is_let_go_of_whoever_waits_before_it() -> None:
    clock = FakeClock(1_000)
    waits: Waits[Run] = Waits(clock, {"crm": (lane := Lane(well=False))}, CALLS)
    waits.follow([Order(RELEASE, "crm", "ada", "because", 900_000_000)], lambda: 1.0, 0.0)
    waits.add(first := run(clock), 10_000, 0.0)
    for number in range(3 * QUEUED):
        given_up = run(clock, number)
        waits.end(waits.add(given_up, 900_000, 0.0))
        gone = weakref.ref(given_up)
        del given_up
        assert gone() is None
    waits.follow([], lambda: 1.0, 0.0)
    lane.room = 1
    for number in range(3 * QUEUED):
        waits.add(parked := run(clock, number, parks=1), 900_000, 0.0)
        assert waits.over(1, 0.0) == [parked]
    assert len(waits._due) <= QUEUED + 1
    clock.advance(9_000)
    assert waits.over(10, 0.0) == [first]


def test_parked_ones_go_as_far_as_their_destination_has_room_those_that_wait_longest_first() -> None:
    clock, lane = FakeClock(1_000), Lane(2)
    waits: Waits[Run] = Waits(clock, {"crm": lane}, CALLS)
    runs = [run(clock, number, parks=1) for number in range(4)]
    for each in runs:
        waits.add(each, 900_000, 0.0)
    waits.add(run(clock, 9, due_ms=500_000, parks=1), 900_000, 0.0)  # it waits for its time, too
    assert waits.early()
    assert waits.over(10, 0.0) == runs[:2]
    assert waits.over(1, 0.0) == [runs[2]]
    lane.room = 0
    assert waits.over(10, 0.0) == []


def test_what_was_parked_more_than_once_waits_for_a_destination_that_stays_well() -> None:
    clock, lane = FakeClock(1_000), Lane(5, well=False)
    waits: Waits[Run] = Waits(clock, {"crm": lane}, CALLS)
    waits.add(again := run(clock, parks=2), 900_000, 0.0)
    assert waits.over(10, 0.0) == []
    lane.well = True
    assert waits.over(10, 0.0) == [again]


def test_orders_let_go_what_they_mean_at_their_speed() -> None:
    clock, lane = FakeClock(1_000), Lane(well=False)
    waits: Waits[Run] = Waits(clock, {"crm": lane}, CALLS)
    early = [run(clock, number) for number in range(2)]
    for each in early:
        waits.add(each, 900_000, 0.0)
    waits.follow([Order(RELEASE, "crm", "ada", "because", 2_000)], lambda: 1.0, 0.0)
    assert waits.over(10, 1.0) == []  # the destination takes nothing
    lane.well = True
    went = waits.over(10, 1.1) + waits.over(10, 9.0)
    assert went == early
    clock.advance(5_000)
    waits.add(run(clock, 3), 900_000, 9.0)  # it began to wait after the order
    assert waits.over(10, 99.0) == []


def test_a_drop_asks_no_destination() -> None:
    clock = FakeClock(1_000)
    waits: Waits[Run] = Waits(clock, {}, CALLS)
    waits.add(dropped := run(clock), 900_000, 0.0)
    waits.follow([Order(DROP, "crm", "ada", "because", 2_000, before_ms=5_000)], lambda: 1.0, 0.0)
    assert waits.over(10, 0.0) == [dropped]


def test_an_order_that_was_there_goes_on_at_its_speed() -> None:
    clock, lane = FakeClock(1_000), Lane()
    waits: Waits[Run] = Waits(clock, {"crm": lane}, CALLS)
    for number in range(1_000):
        waits.add(run(clock, number), 900_000, 0.0)
    order = Order(RELEASE, "crm", "ada", "because", 2_000)
    waits.follow([order], lambda: 1.0, 0.0)
    for tenth in range(30):
        waits.over(1_000, tenth / 10)
    waits.follow([order, Order(RELEASE, "mail", "ada", "because", 2_000)], lambda: 1.0, 3.0)
    assert len(waits.over(1_000, 3.1)) > SLOW_START_PER_S / 10 * 2**2


def test_what_waits_again_and_again_is_not_kept_for_an_order_that_waits() -> None:
    clock, lane = FakeClock(1_000), Lane(well=False)
    waits: Waits[Run] = Waits(clock, {"crm": lane}, CALLS)
    waits.follow([Order(RELEASE, "crm", "ada", "because", 900_000_000)], lambda: 1.0, 0.0)
    one = run(clock)
    for number in range(3 * QUEUED):
        waits.add(one, clock() // 1_000_000 + 1, 0.0)
        assert waits.early(), "the order means it"
        clock.advance(1)
        assert waits.over(10, number / 1_000) == [one]
    (queue,) = waits._orders._queues.values()
    assert len(queue.entries) <= QUEUED + 1
