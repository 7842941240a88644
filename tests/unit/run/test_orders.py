"""run/orders: how fast what an order means goes."""

from __future__ import annotations

from pipeline.core.switches import DROP, RELEASE, Order
from pipeline.model import Record
from pipeline.run.orders import QUEUED, SLOW_START_PER_S, Awaited, Early


def entry(offset: int) -> Awaited:
    return Awaited(0, Record("r", 0, offset, None, b"", (), offset))


def early(verb: str = RELEASE, number: int = 1_000, **more) -> Early[Awaited]:
    made: Early[Awaited] = Early(Order(verb, "crm", "ada", "because", 0, **more), 0.0)
    made.entries.extend(entry(offset) for offset in range(number))
    return made


def test_a_release_begins_slowly_and_doubles_every_second() -> None:
    made = early()
    went = [sum(len(made.take(1_000, second + part / 10, 1.0)) for part in range(10)) for second in range(4)]
    assert SLOW_START_PER_S * 0.9 < went[0] < SLOW_START_PER_S * 2
    assert went[1] > 1.8 * went[0]
    assert went[3] > 1.8 * went[2] > 3 * went[1]


def test_a_rate_is_this_workers_share_of_the_fleets() -> None:
    made = early(rate_per_s=40.0)
    went = [sum(len(made.take(1_000, second + part / 10, 0.5)) for part in range(10)) for second in range(10)]
    assert went[-1] == went[-2] == 20


def test_a_destination_that_takes_nothing_makes_it_begin_once_more() -> None:
    made = early()
    made.take(1_000, 5.0, 1.0)
    made.start_over(5.0)
    assert len(made.take(1_000, 5.0, 1.0)) == 1


def test_a_drop_is_bound_by_room_alone_and_what_has_gone_is_passed_over() -> None:
    made = early(DROP, number=10)
    made.entries[0].gone = True
    assert [each.record.offset for each in made.take(4, 0.0, 1.0)] == [1, 2, 3, 4]
    assert len(made.take(100, 0.0, 1.0)) == 5


def test_the_newest_go_first_if_so_ordered() -> None:
    made = early(DROP, number=3, newest_first=True)
    made.sort()
    assert [each.record.offset for each in made.take(9, 0.0, 1.0)] == [2, 1, 0]


def test_what_went_otherwise_is_not_kept_and_what_waits_is() -> None:
    made = early(number=0)
    waiting = [entry(offset) for offset in range(QUEUED)]
    for each in waiting:
        made.put(each)
    for offset in range(10 * QUEUED):
        gone = entry(offset)
        gone.gone = True
        made.put(gone)
        assert len(made.entries) <= 2 * QUEUED
    assert [each for each in made.entries if not each.gone] == waiting
