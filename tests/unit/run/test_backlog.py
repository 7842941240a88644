"""run/backlog: first attempts go first, retries get their fifth and never starve."""

from __future__ import annotations

import pytest

from pipeline.run.backlog import RETRY_SHARE, Backlog
from pipeline.run.lines import TurnTracker
from tests.unit.run.conftest import step


@pytest.fixture
def make(world):
    def made(*, retry: bool):
        (delivery,) = world.deliveries(step())
        delivery.run.hop = int(retry)
        return delivery

    return made


def fill(backlog: Backlog, make, firsts: int, retries: int) -> None:
    for number in range(max(firsts, retries)):
        if number < firsts:
            backlog.add(make(retry=False))
        if number < retries:
            backlog.add(make(retry=True))


def test_while_first_attempts_wait_one_start_in_five_is_a_retry(make) -> None:
    backlog = Backlog()
    fill(backlog, make, 80, 80)
    started = []
    for _ in range(100):
        delivery = backlog.take(64)
        started.append(delivery in backlog.retrying)
        backlog.retrying.discard(delivery)
    assert sum(started) == 100 * RETRY_SHARE
    assert all(sum(started[at : at + 10]) <= 3 for at in range(90)), "they come spread out"


def test_retries_that_hang_hold_no_more_than_a_fifth_of_the_slots(make) -> None:
    backlog = Backlog()
    fill(backlog, make, 1_000, 100)
    for _ in range(500):  # first attempts are done at once, retries never
        backlog.take(50)
    assert len(backlog.retrying) == 50 * RETRY_SHARE
    assert len(backlog.firsts) == 1_000 - 500 + 10


def test_without_first_attempts_retries_have_the_whole_lane(make) -> None:
    backlog = Backlog()
    fill(backlog, make, 0, 64)
    for _ in range(64):
        backlog.take(64)
    assert len(backlog.retrying) == 64


def test_one_slot_is_shared_too(make) -> None:
    backlog = Backlog()
    fill(backlog, make, 50, 50)
    retries = 0
    for _ in range(50):
        delivery = backlog.take(1)
        retries += delivery in backlog.retrying
        backlog.retrying.discard(delivery)
    assert retries == 10


def test_what_failed_here_is_a_retry_too(make) -> None:
    backlog = Backlog()
    delivery = make(retry=False)
    delivery.attempts = 1
    backlog.add(delivery)
    assert (len(backlog.firsts), len(backlog.retries)) == (0, 1)


def test_what_is_delayed_comes_when_it_is_due_in_that_order(make) -> None:
    backlog = Backlog()
    late, soon = make(retry=False), make(retry=False)
    backlog.delay(late, 20)
    backlog.delay(soon, 10)
    assert list(backlog.due(9)) == []
    assert list(backlog.due(20)) == [soon, late]


def test_take_all_leaves_the_others_in_their_order(make) -> None:
    backlog = Backlog()
    firsts, retries = [make(retry=False) for _ in range(4)], [make(retry=True) for _ in range(4)]
    for each in (*firsts, *retries):
        backlog.add(each)
    late = make(retry=False)
    backlog.delay(late, 99)
    gone = {firsts[1], retries[2], late}
    assert backlog.take_all(gone.__contains__) == [(firsts[1], 0), (retries[2], 0), (late, 99)]
    assert list(backlog.firsts) == [firsts[0], firsts[2], firsts[3]]
    assert list(backlog.retries) == [retries[0], retries[1], retries[3]]
    assert not backlog.delayed


def test_an_event_whose_turn_it_is_waits_with_the_first_attempts_and_its_retries_with_the_retries(make) -> None:
    backlog = Backlog()
    for hop, queue in ((1, backlog.firsts), (2, backlog.retries)):
        delivery = make(retry=False)
        delivery.run.hop = hop
        delivery.run.flight.tracker = TurnTracker("log", 0, 0)
        backlog.add(delivery)
        assert delivery in queue
