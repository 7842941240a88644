"""core/admission: token bucket and circuit breaker."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.admission import Breaker, Bucket
from pipeline.model import BreakerPolicy

POLICY = BreakerPolicy(failures=0.5, of=4, open_ms=1_000, open_max_ms=4_000)


def test_rate_zero_is_unlimited() -> None:
    bucket = Bucket(0, 0.0)
    assert all(bucket.take(0.0) == 0.0 for _ in range(10_000))


def test_a_bucket_says_when_the_next_token_comes() -> None:
    bucket = Bucket(2, 0.0)
    assert [bucket.take(0.0), bucket.take(0.0)] == [0.0, 0.0]
    assert bucket.take(0.0) == 0.5
    assert bucket.take(0.5) == 0.0


@given(rate=st.floats(0.1, 500), steps=st.lists(st.floats(0, 2), max_size=60))
def test_no_second_gets_more_than_rate_and_burst(rate, steps) -> None:
    bucket, now, taken = Bucket(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        for _ in range(50):
            taken += bucket.take(now) == 0.0
    assert taken <= now * rate + max(rate, 1.0) + 1e-6


def test_a_breaker_opens_at_the_share_of_a_full_window() -> None:
    breaker = Breaker(POLICY)
    assert not breaker.failed(0.0)
    breaker.succeeded()
    breaker.succeeded()
    assert breaker.admits(0.0)
    assert breaker.failed(0.0)
    assert not breaker.admits(0.9)


def test_one_probe_at_a_time_then_closed() -> None:
    breaker = Breaker(POLICY)
    breaker.trip(0.0)
    assert breaker.admits(1.0)
    breaker.started()
    assert not breaker.admits(1.0)
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.admits(1.0)


def test_a_failed_probe_doubles_the_wait_up_to_the_bound() -> None:
    breaker, now = Breaker(POLICY), 0.0
    breaker.trip(now)
    for wait in (1.0, 2.0, 4.0, 4.0):
        assert not breaker.admits(now + wait - 0.01)
        now += wait
        assert breaker.admits(now)
        breaker.started()
        assert breaker.failed(now)


def test_failures_while_open_change_nothing() -> None:
    breaker = Breaker(POLICY)
    assert breaker.trip(0.0)
    assert not breaker.trip(0.5)
    assert not breaker.failed(0.5)
    assert breaker.admits(1.0)
