"""How fast a lane may go, and goes: requests in flight, its part of the rate, and whether a queue would drain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core.admission import Bucket
from pipeline.core.concurrency import Adaptive
from pipeline.run.watch import SWEEP_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Destination
    from pipeline.ports import LaneStats

RATE_MIN_PER_S: Final = 0.1
"""What a lane with a rate sends while its worker has no share of it: never nothing, and never without limit."""
DRAIN_BOUND_S: Final = 10.0
"""A full queue that drains within this holds consumption back; a slower one parks what comes on top."""
JUDGED_S: Final = 5.0
"""Until it was busy for so long, a lane's speed is what its slots allow at the latency seen; then what it did."""
UNKNOWN_S: Final = 0.5
"""So long a lane may hold consumption back before its first answer; then it is taken to be slow until there is one."""
_SMOOTHING: Final = 0.05  # of a sweep: averages over about two seconds


class Pace:
    """One lane's. The lane bumps `completed` and notes `latest_ms` with each attempt that ends."""

    __slots__ = ("_busy_since_s", "_destination", "_per_s", "_share", "_stats", "bucket", "completed", "latest_ms",
                 "limit", "slow", "window")  # fmt: skip

    def __init__(self, destination: Destination, stats: LaneStats, share: Callable[[], float], now_s: float) -> None:
        """`share` says which part of the fleet's rate is this worker's, 0 to 1."""
        self._destination = destination
        self._stats = stats
        self._share = share
        self.window = Adaptive(destination.concurrency) if destination.adaptive else None
        self.limit = stats.limit = self.window.limit if self.window is not None else destination.concurrency
        self.bucket = Bucket(self._rate(), now_s)
        self.slow = False
        """Whether a full queue would take longer than DRAIN_BOUND_S."""
        self.completed = 0
        self.latest_ms = 0.0
        self._per_s = 0.0
        self._busy_since_s = 0.0

    def adapt(self) -> bool:
        """Follow the window; return whether the limit moved."""
        window = self.window
        if window is None or window.limit == self.limit:
            return False
        self.limit = self._stats.limit = window.limit
        return True

    def look(self, now_s: float, *, busy: bool) -> None:
        """Once a sweep: follow this worker's share of the rate, and see how fast the lane is while work waits."""
        if self.bucket.rate > 0.0:
            self.bucket.retune(self._rate(), now_s)
        if not busy:
            self._busy_since_s = 0.0
            self.slow = False
            return
        if self._busy_since_s == 0.0:
            self._busy_since_s = now_s
            self._per_s = 0.0
            self.completed = 0
            return
        self._per_s += (self.completed / SWEEP_S - self._per_s) * _SMOOTHING
        self.completed = 0
        # Judged before the queue is full: while a lane that is too slow holds consumption back, all others wait.
        busy_s = now_s - self._busy_since_s
        per_s = self._per_s
        if busy_s < JUDGED_S and self.latest_ms > 0.0:
            per_s = max(per_s, self._destination.concurrency * 1_000 / self.latest_ms)
        elif busy_s < UNKNOWN_S:
            return
        self.slow = self._destination.queue > per_s * DRAIN_BOUND_S

    def _rate(self) -> float:
        """Return this worker's part of the destination's rate; 0.0 only if that is unlimited."""
        whole = self._destination.rate_per_s
        return max(whole * self._share(), RATE_MIN_PER_S) if whole else 0.0
