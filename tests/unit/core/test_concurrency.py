"""core/concurrency: what the limit makes of modelled receivers, and what no sequence of answers may do to it."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import concurrency
from pipeline.core.concurrency import Adaptive
from tests.support.modelled import Loop, Receiver, lognormal

RTT = 100.0


def steady(random):
    return RTT


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("service_ms", [steady, lognormal(RTT, 0.5), lognormal(RTT, 1.0)])
@pytest.mark.parametrize(("most", "capacity"), [(64, 20), (64, 1_000), (500, 150)])
def test_it_finds_nine_tenths_of_what_is_to_be_had_with_little_queueing(most, capacity, service_ms, seed) -> None:
    loop = Loop(Adaptive(most), Receiver(capacity, service_ms), seed)
    loop.run(200 * RTT)
    seen = loop.run(500 * RTT)
    assert seen.per_s >= 0.9 * min(most, capacity) * 1_000 / RTT
    # At a fixed limit every request would queue most / capacity times as long as it is worked on: 3.2 times here.
    assert seen.mean_ms <= 2.2 * RTT


def test_slow_start_doubles_each_round_trip() -> None:
    loop = Loop(Adaptive(1_000), Receiver(5_000, steady))
    loop.run(14 * RTT)
    assert loop.window.limit == 1_000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("capacity", [10, 20, 200])
def test_a_receiver_that_refuses_what_is_too_much_is_seldom_asked_too_much(capacity, seed) -> None:
    loop = Loop(Adaptive(1_000), Receiver(capacity, lognormal(RTT, 0.5), refuses=True), seed)
    loop.run(200 * RTT)
    seen = loop.run(500 * RTT)
    assert seen.per_s >= 0.88 * capacity * 1_000 / RTT
    assert seen.refused <= 0.02 * seen.delivered


@pytest.mark.parametrize("most", [8, 64, 1_000])
def test_refusals_halve_it_within_the_round_trip(most) -> None:
    window = grown(most)
    for _ in range(int(most * concurrency.THROTTLED) + 2):
        window.failed(throttled=True)
    assert window.limit == most // 2
    for _ in range(most // 2):  # the others under way at the time: refused, too, but it has been acted on
        window.failed(throttled=True)
    assert window.limit >= most // 4


def test_a_stray_503_in_a_hundred_costs_nothing() -> None:
    loop = Loop(Adaptive(64), Receiver(1_000, steady, stray_503=0.01))
    loop.run(200 * RTT)
    assert statistics.median(loop.run(200 * RTT).limits) == 64


def test_it_recovers_once_the_trouble_is_over() -> None:
    loop = Loop(Adaptive(64), Receiver(1_000, steady))
    loop.run(50 * RTT)
    loop.receiver = Receiver(1, steady, refuses=True)
    loop.run(100 * RTT)
    assert loop.window.limit <= 4
    loop.receiver = Receiver(1_000, steady)
    loop.run(100 * RTT)
    assert loop.window.limit == 64


def test_a_destination_that_became_slower_by_itself_is_not_punished() -> None:
    loop = Loop(Adaptive(64), Receiver(1_000, steady))
    loop.run(50 * RTT)
    loop.receiver = Receiver(1_000, lambda _: 5 * RTT)
    loop.run(100 * RTT)
    assert statistics.median(loop.run(300 * RTT).limits) == 64


def test_idle_times_neither_widen_nor_narrow_it() -> None:
    loop = Loop(Adaptive(64), Receiver(20, steady))
    loop.run(200 * RTT)
    before = loop.window.limit
    seen = loop.run(500 * RTT, wanted=False, at_once=2)
    assert set(seen.limits[64:]) == {loop.window.limit}
    assert abs(loop.window.limit - before) <= 0.5 * before


ANSWERS = st.lists(
    st.one_of(
        st.tuples(st.just("answered"), st.floats(-1e6, 1e9), st.booleans()),
        st.tuples(st.just("failed"), st.just(0.0), st.booleans()),
    ),
    max_size=400,
)


@given(most=st.integers(1, 10_000), answers=ANSWERS)
def test_whatever_comes_it_stays_within_its_bounds(most, answers) -> None:
    window = Adaptive(most)
    for kind, ms, flag in answers:
        before = window.limit
        if kind == "answered":
            window.answered(ms, wanted=flag)
        else:
            window.failed(throttled=flag)
        assert 1 <= window.limit <= most
        assert window.limit >= before // 2


@settings(deadline=None, max_examples=50)
@given(most=st.integers(1, 100), answers=ANSWERS)
def test_from_whatever_state_a_good_destination_gets_all_of_it_again(most, answers) -> None:
    window = Adaptive(most)
    for kind, ms, flag in answers:
        if kind == "answered":
            window.answered(abs(ms), wanted=flag)
        else:
            window.failed(throttled=flag)
    loop = Loop(window, Receiver(10_000, steady))
    for _ in range(10):
        loop.run(300 * RTT)
        if window.limit == most:
            return
    raise AssertionError(window.limit)


def test_with_one_request_left_what_it_takes_is_what_there_is_to_compare_with() -> None:
    window = Adaptive(64)
    Loop(window, Receiver(10_000, lambda _random: RTT / 5)).run(100 * RTT)
    while window.limit > 1:
        window.failed(throttled=True)
    loop = Loop(window, Receiver(10_000, steady))  # it comes back five times as slow: that is not our queue
    loop.run(5_000 * RTT)
    assert window.limit == 64


def test_refusals_of_what_was_sent_before_a_check_halved_it_do_not_halve_it_again() -> None:
    window = grown(64)
    while window._phase != concurrency._HALVED:
        window.answered(5 * RTT, wanted=True)
    assert window.limit == 32
    for _ in range(60):  # of the 64 that were under way
        window.failed(throttled=True)
    assert window.limit == 32


def grown(most: int) -> Adaptive:
    loop = Loop(Adaptive(most), Receiver(10_000, steady))
    while loop.window.limit < most:
        loop.run(RTT)
    while loop.window._phase != concurrency._MEASURING:
        loop.run(RTT)
    assert loop.window.limit == most
    return loop.window
