"""run/turns: a customer's events one after the other, others beside them, whatever waits, moves or crashes."""

from __future__ import annotations

import gc

import pytest

from pipeline.core import runstate
from pipeline.core.switches import RELEASE, Order
from pipeline.model import Record
from pipeline.run import lines
from pipeline.run import turns as turns_module
from tests.support.logs import TOPIC, Log, Owner, state
from tests.unit.run.conftest import until


class Lane:
    """A lane that says what it is told to."""

    def __init__(self, room: int = 0) -> None:
        self.room = room

    def spare(self) -> int:
        return self.room

    def steady(self) -> bool:
        return True

    def takes(self) -> bool:
        return True

    def holding(self) -> bool:
        return False


@pytest.fixture
async def log():
    return Log()


async def test_a_customers_events_have_their_turn_one_after_the_other_and_others_pass(log) -> None:
    for number, customer in enumerate("aabba"):
        log.event(customer, number)
    owner = Owner(log)
    await owner.fetch()
    assert owner.offsets() == [0, 2]
    owner.over(0)
    log.ack()
    await owner.go()
    assert owner.offsets() == [0, 2, 1]
    owner.over(2)
    owner.over(1)
    log.ack()
    await owner.go()
    assert owner.offsets() == [0, 2, 1, 3, 4]
    assert owner.tracker.watermark() == 3
    owner.end()


async def test_the_next_event_starts_once_the_log_says_that_the_one_before_is_over(log) -> None:
    log.event("a", 0)
    log.event("a", 1)
    owner = Owner(log)
    await owner.fetch()
    owner.over(0)
    await owner.go()
    assert owner.offsets() == [0]
    assert owner.tracker.watermark() == 0
    assert owner.tracker.in_flight == 1  # a partition that is given up waits for it
    log.ack()
    await owner.go()
    assert owner.offsets() == [0, 1]
    assert (owner.tracker.watermark(), owner.tracker.in_flight) == (1, 0)
    owner.end()


async def test_a_run_that_waits_keeps_its_customers_place_until_it_is_due(log) -> None:
    log.event("a", 0)
    log.event("a", 1)
    log.event("b", 2)
    owner = Owner(log)
    await owner.fetch()
    due_ms = log.clock() // 1_000_000 + 60_000
    later = state(0, hop=2, due_ms=due_ms, cls="timeout")
    owner.rest(0, due_ms, later)
    log.ack()
    owner.over(2)
    log.ack()
    await owner.go()
    assert owner.offsets() == [0, 2]
    assert owner.tracker.watermark() == 0
    log.clock.advance(60_000)
    await owner.go()
    assert owner.offsets() == [0, 2, 0]
    assert owner.started[-1].header(runstate.STATE_HEADER) == later
    assert (owner.started[-1].key, owner.started[-1].value) == (b"k", b"v")
    owner.over(0)
    log.ack()
    await owner.go()
    assert owner.offsets() == [0, 2, 0, 1]
    owner.end()


async def test_a_run_of_a_later_release_keeps_its_place_as_it_is(log) -> None:
    log.event("a", 0)
    log.event("a", 1)
    owner = Owner(log)
    await owner.fetch()
    owner.rest(0, log.clock() // 1_000_000 + 10_000, b"")
    assert len(log.records) == 2
    log.clock.advance(10_000)
    await owner.go()
    assert owner.offsets() == [0, 0]
    owner.end()


async def test_who_takes_a_partition_over_goes_on_where_each_run_had_got_to(log) -> None:
    for number, customer in enumerate("abcc"):
        log.event(customer, number)
    now_ms = log.clock() // 1_000_000
    log.note(0, state(0, hop=2, due_ms=now_ms + 60_000))
    log.note(0, newest := state(0, hop=3, due_ms=now_ms - 1))
    log.note(0, state(0, hop=2, due_ms=now_ms + 60_000))  # of a worker that had lost the partition by then
    log.note(2)  # over, and in no commit
    owner = Owner(log)
    await owner.fetch()
    assert owner.offsets() == [0, 1, 3]
    assert owner.started[0].header(runstate.STATE_HEADER) == newest
    assert owner.tracker.open() == 3
    owner.end()


async def test_a_copy_of_an_event_never_overtakes_what_came_after_the_first(log) -> None:
    for number in (0, 1, 0, 1, 2):  # a worker fed two, crashed, and another fed them again
        log.event("a", number)
    first = Owner(log)
    await first.fetch()
    for offset in (0, 1):
        first.over(offset)
        log.ack()
        await first.go()
    assert first.offsets() == [0, 1, 4]
    first.end()
    second = Owner(log, 2)  # whose first records are the copies
    await second.fetch()
    assert second.offsets() == [4]
    second.end()
    third = Owner(log, 0, restored=((0, 2),))  # of what is finished above the commit it knows all the same
    await third.fetch()
    assert third.offsets() == [4]
    third.end()


async def test_nothing_starts_before_the_partition_was_looked_back_into(log, monkeypatch) -> None:
    monkeypatch.setattr(turns_module, "AGAIN_S", 0.0)
    log.event("a", 0)
    log.unreadable = 1_000_000
    owner = Owner(log)
    await owner.fetch()
    await owner.fetch()
    assert owner.offsets() == []
    log.unreadable = 0
    await until(lambda: owner.offsets() == [0])
    assert {line[1] for line in owner.lines} == {"log_unread"}
    owner.end()


async def test_a_stuck_customer_bounds_what_is_held_and_then_the_partition_waits_and_says_so(log) -> None:
    bound = turns_module.HELD_RECORDS
    log.event("stuck", 0)
    for number in range(1, 2 * bound + 1):
        log.event("stuck" if number % 2 == 0 else f"c-{number}", number)
    owner = Owner(log, room=10_000)
    owner.turns.hold([])
    taken = 0
    while taken < len(log.records) and not owner.source.paused:
        record = log.records[taken]
        assert owner.tracker.received(record.offset)
        owner.turns.hold([record])
        await owner.go()
        for each in owner.started[1:]:
            owner.over(each.offset)
        del owner.started[1:]
        log.ack()
        taken = owner.tracker.next
    assert taken > bound  # others passed meanwhile
    assert owner.source.paused == {(owner.tracker.topic, 0)}
    assert owner.turns.stuck() == {(owner.tracker.topic, 0): (bound - 1, 1)}  # what went last was another's
    assert owner.lines[-1][:2] == ("warning", "log_waits")
    while owner.source.paused:
        offset = owner.started.pop(0).offset
        owner.over(offset)
        log.ack()
        await owner.go()
    assert owner.turns.held() == bound // 2
    assert owner.lines[-1][:2] == ("info", "log_goes_on")
    owner.end()


async def test_bytes_are_bounded_too(log) -> None:
    headers = ((runstate.STATE_HEADER, state(0)),)
    log.append(b"a", bytes(turns_module.HELD_BYTES), headers)
    owner = Owner(log)
    await owner.fetch()
    assert owner.source.paused
    owner.over(0)
    log.ack()
    assert not owner.source.paused
    owner.end()


async def test_the_state_of_a_run_that_waits_is_counted_and_so_are_a_producers_headers(log) -> None:
    kib = 1 << 10
    for number in range(17):
        log.event(f"c-{number}", number)
    log.append(b"other", b"v", ((runstate.STATE_HEADER, state(17)), ("large", bytes(turns_module.HELD_BYTES))))
    owner = Owner(log)
    await owner.fetch()
    assert owner.source.paused, "one header alone is as much as the bound"
    owner.over(17)
    log.ack()
    assert not owner.source.paused
    waits = state(0, hop=2, step="s" * 62 * kib)
    for number in range(17):
        owner.rest(number, log.clock() // 1_000_000 + 1_000, waits)
    log.ack()
    log.event("next", 18)
    await owner.fetch()
    assert owner.source.paused, "17 states of 62 KiB"
    log.clock.advance(1_000)
    await owner.go()
    for each in {each.offset for each in owner.started} - {17}:
        owner.over(each)
    log.ack()
    assert not owner.source.paused
    owner.end()


async def test_a_partition_that_is_given_up_starts_nothing_and_keeps_what_its_runs_got_to(log) -> None:
    log.event("a", 0)
    log.event("a", 1)
    log.event("b", 2)
    owner = Owner(log)
    await owner.fetch()
    owner.turns.forget((owner.tracker.topic, 0))
    owner.over(0)
    assert owner.tracker.watermark() == 1  # its last commit says so
    owner.rest(2, 0, later := state(2, hop=2))
    assert owner.tracker.in_flight == 1
    log.ack()
    await owner.fetch()
    assert owner.offsets() == [0, 2]
    assert owner.tracker.in_flight == 0
    owner.end()
    other = Owner(log, 1)
    await other.fetch()
    assert other.offsets() == [1, 2]
    assert other.started[1].header(runstate.STATE_HEADER) == later
    other.end()


async def test_partitions_that_come_and_go_leave_nothing_behind_whoever_waits_longer(log) -> None:
    def logs() -> int:
        return sum(type(each) is lines.Log for each in gc.get_objects())

    now_ms = log.clock() // 1_000_000
    log.event("a", 0, due_ms=now_ms + 60_000)
    owner = Owner(log)
    await owner.fetch()
    gc.collect()
    gc.disable()  # what is in a circle lasts until much else has come and gone
    before = logs()
    try:
        for waits in (True, False) * 5:
            tracker = lines.TurnTracker(TOPIC, 1, 0, b"p", ())
            owner.turns.assigned(tracker)
            assert tracker.received(0)
            header = state(1, due_ms=now_ms + 600_000 if waits else 0)
            owner.room = 0
            owner.turns.hold([Record(TOPIC, 1, 0, b"b", b"v", ((runstate.STATE_HEADER, header),), now_ms)])
            await owner.go()
            assert len(owner.turns.upcoming(9)) == (not waits)
            owner.turns.forget((TOPIC, 1))
            del tracker
            await owner.go()
        assert (logs(), owner.turns.upcoming(9)) == (before, [])
    finally:
        gc.enable()
    owner.room = 1
    log.clock.advance(60_000)
    await owner.go()
    assert owner.offsets() == [0]
    owner.end()


async def test_a_note_that_the_broker_refuses_closes_nothing_until_it_takes_it(log) -> None:
    log.event("a", 0)
    owner = Owner(log)
    await owner.fetch()
    owner.over(0)
    ((*_, acked),) = log.open
    acked("refused", None)
    ((why, again),) = log.refusals
    assert why == "refused"
    assert owner.tracker.watermark() == 0
    again(None, None)
    assert owner.tracker.watermark() == 1
    owner.end()


async def test_a_parked_run_goes_as_soon_as_its_destination_is_well(log) -> None:
    log.event("a", 0)
    lane = Lane()
    owner = Owner(log, lanes={"crm": lane})
    await owner.fetch()
    now_ms = log.clock() // 1_000_000
    owner.rest(0, now_ms + 600_000, state(0, hop=2, due_ms=now_ms, cls="timeout", parks=1))
    log.ack()
    await owner.go()
    assert owner.offsets() == [0]
    lane.room = 1
    await until(lambda: owner.offsets() == [0, 0])
    owner.end()


async def test_what_is_released_by_hand_goes_before_it_is_due(log) -> None:
    log.event("a", 0)
    owner = Owner(log, lanes={"crm": Lane()})
    await owner.fetch()
    now_ms = log.clock() // 1_000_000
    owner.rest(0, now_ms + 600_000, state(0, hop=2, due_ms=now_ms + 600_000, cls="timeout"))
    log.ack()
    log.clock.advance(1_000)
    owner.turns.follow([Order(RELEASE, "crm", "ada", "because", log.clock() // 1_000_000)], lambda: 1.0)
    await until(lambda: owner.offsets() == [0, 0])
    owner.end()


async def test_there_is_never_more_passed_on_than_there_is_room_for(log) -> None:
    for number in range(10):
        log.event(f"c-{number}", number)
    owner = Owner(log, room=3)
    await owner.fetch()
    await until(lambda: len(owner.started) == 10)
    assert max(map(len, owner.batches)) == 3
    owner.end()


async def test_a_record_that_is_no_entry_has_its_turn_too(log) -> None:
    log.append(None, b"v", ())
    log.append(None, b"v", ((runstate.STATE_HEADER, b"\x63later"),))
    owner = Owner(log)
    await owner.fetch()
    assert owner.offsets() == [0]
    owner.over(0)
    log.ack()
    await owner.go()
    assert owner.offsets() == [0, 1]
    owner.end()
