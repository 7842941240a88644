"""run/pace: a lane too slow for its queue is known before the queue is full, and one that only starts is not blamed."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import BreakerPolicy, Destination
from pipeline.ports import LaneStats
from pipeline.run.pace import JUDGED_S, RATE_MIN_PER_S, Pace
from pipeline.run.watch import SWEEP_S

SHOP = Destination(
    name="shop", host="h", port=1, tls=False, private_networks=(), timeout_ms=30_000, concurrency=64, queue=1_000,
    rate_per_s=0.0, breaker=BreakerPolicy(), response_bytes_max=1, drops_repeats=True,
)  # fmt: skip


def worked(seconds: float, latency_ms: float, per_s: float, destination: Destination = SHOP) -> Pace:
    """A lane that had work waiting for so long, from the start."""
    pace = Pace(destination, LaneStats(), lambda: 1.0, 0.0)
    now_s = 0.0
    while now_s < seconds:
        now_s += SWEEP_S
        pace.completed += round(per_s * SWEEP_S) if now_s * 1_000 >= latency_ms else 0
        pace.latest_ms = latency_ms if now_s * 1_000 >= latency_ms else 0.0
        pace.look(now_s, busy=True)
    return pace


@pytest.mark.parametrize("seconds", [0.3, 1, 3, JUDGED_S + 1, 20])
def test_64_slots_at_half_a_second_drain_a_thousand_in_time_also_while_the_lane_starts(seconds) -> None:
    per_s = 30 if seconds < JUDGED_S else 128
    assert not worked(seconds, 500, per_s).slow


@pytest.mark.parametrize("seconds", [1, 3, 20])
def test_64_slots_at_ten_seconds_do_not_and_that_is_known_within_a_second(seconds) -> None:
    assert worked(seconds, 10_000, 6).slow


def test_a_lane_without_work_is_not_slow() -> None:
    pace = worked(20, 10_000, 6)
    pace.look(21.0, busy=False)
    assert not pace.slow


def test_the_rate_is_this_workers_share_of_it() -> None:
    share = 0.25
    pace = Pace(dataclasses.replace(SHOP, rate_per_s=40.0), LaneStats(), lambda: share, 0.0)
    assert pace.bucket.rate == 10.0
    share = 0.5
    pace.look(1.0, busy=False)
    assert pace.bucket.rate == 20.0
    share = 0.0
    pace.look(2.0, busy=False)
    assert pace.bucket.rate == RATE_MIN_PER_S


def test_a_fixed_limit_does_not_move_and_an_adaptive_one_is_told() -> None:
    stats = LaneStats()
    pace = Pace(SHOP, stats, lambda: 1.0, 0.0)
    assert (pace.limit, stats.limit, pace.adapt()) == (64, 64, False)
    pace = Pace(dataclasses.replace(SHOP, adaptive=True), stats, lambda: 1.0, 0.0)
    assert stats.limit == pace.limit < 64
    assert pace.window is not None
    for _ in range(100):
        pace.window.answered(50.0, wanted=True)
    assert pace.adapt()
    assert stats.limit == pace.limit == pace.window.limit
