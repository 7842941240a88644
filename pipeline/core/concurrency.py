"""Decides how many requests a lane may have in flight: as many as the destination answers without queueing them.

A gradient limit in the manner of Netflix's concurrency-limits, whose baseline is checked instead of averaged: when
latency has risen, the limit is halved for a round, and only if that brings latency down was it our own queue. 429, 503
and timeouts halve it at once. Why, and how it does: docs/decisions/0013-adaptive-concurrency.md.

Nothing here knows the time: a round is as many answers as the limit allows in flight, about one round trip.
"""

from __future__ import annotations

from math import inf
from typing import Final

START: Final = 4
"""Requests in flight at first; doubled each round trip until latency rises (slow start)."""
ROUND_MIN: Final = 16
"""Answers a round has at least: a mean of fewer is chance."""
GROW_BELOW: Final = 1.2
"""The limit grows while a round's mean latency is below this many times the baseline,"""
QUEUED_ABOVE: Final = 1.5
"""and is put to the test above this."""
NO_QUEUE: Final = 0.8
"""With half the requests in flight latency stays above this share of what it was: it is not our queue."""
RECHECK_ROUNDS: Final = 3
"""The same after a check that found the baseline much too high."""
SINK: Final = 0.1
"""How far the baseline follows a round below it: a mean is below it half of the time by chance."""
CLIP: Final = 3.0
"""One latency counts at most this many times the usual: a single slow answer says nothing about a queue."""
CHECK_MIN: Final = 32
"""Answers that are compared when the limit was halved, at least: more hangs on these."""
CHECK_ROUNDS: Final = 40
"""After so many rounds at its limit a lane measures its baseline again, whatever latency does."""
THROTTLED: Final = 0.05
"""The limit is halved once more than one answer and this share of it were 429, 503 or not in time within a round."""
GROWTH: Final = 0.1
"""Growth a round, and at least one request;"""
GROWTH_NEAR: Final = 0.005
"""near the limit that was too much last time, growth a round (at least a twentieth of a request),"""
GROWTH_FAR: Final = 1.0
"""and up to nine tenths of it."""
NEAR: Final = 0.9
LEAST_MS: Final = 0.001
"""What a round takes at least: the clock may be set back while it lasts."""

_SETTLING, _MEASURING, _FULL, _HALVED, _CHECKING = range(5)


class Adaptive:
    """A limit between 1 and `most`. Owner: one lane, which tells it each answer once. No call waits or raises."""

    __slots__ = ("_allowed", "_base_ms", "_ceiling", "_clip_ms", "_full", "_full_ms", "_left", "_most", "_ms",
                 "_phase", "_rounds", "_samples", "_slow_start", "_sum_ms", "_throttled", "_wanted",
                 "limit")  # fmt: skip

    def __init__(self, most: int) -> None:
        self.limit = min(START, most)
        self._most = most
        self._allowed = float(self.limit)
        self._slow_start = True
        self._base_ms = 0.0  # of a request that queues nowhere; 0.0 while unknown
        self._ms = 0.0  # latency, smoothed over rounds
        self._ceiling = 0.0  # the limit that was throttled last, 0.0 for none
        self._phase = _MEASURING
        self._full = 0.0  # limit and
        self._full_ms = 0.0  # latency before they were halved
        self._rounds = 0
        self._begin()
        self._left = ROUND_MIN // 2

    def answered(self, ms: float, *, wanted: bool) -> None:
        """Note a delivered attempt that took `ms` from write to answer; `wanted`: more deliveries wait for a slot."""
        self._samples += 1
        self._sum_ms += min(ms, self._clip_ms)
        if wanted:
            self._wanted += 1
            if self._slow_start and self._phase == _MEASURING and self._base_ms:
                self._allow(self._allowed + 1.0)
        self._left -= 1
        if self._left <= 0:
            self._round()

    def failed(self, *, throttled: bool) -> None:
        """Note any other attempt; `throttled`: it was refused with 429 or 503, or not answered in time."""
        self._left -= 1
        if throttled and self._phase not in (_SETTLING, _HALVED):
            self._throttled += 1
            if self._throttled > THROTTLED * self._allowed + 1.0:
                self._ceiling = self._allowed
                self._slow_start = False
                self._rounds = 0
                in_flight = self._allowed
                self._allow(self._allowed / 2)
                self._settle(in_flight)
                return
        if self._left <= 0:
            self._round()

    # ------------------------------------------------------------------------------------------------ rounds

    def _begin(self) -> None:
        self._left = max(self.limit, ROUND_MIN)
        self._samples = self._wanted = self._throttled = 0
        self._sum_ms = 0.0
        self._clip_ms = CLIP * max(self._base_ms, self._ms, self._full_ms if self._phase >= _HALVED else 0.0) or inf

    def _settle(self, in_flight: float, then: int = _SETTLING) -> None:
        """Let the answers pass that were asked for under the limit before: they say nothing about the new one."""
        self._phase = then
        self._begin()
        self._left = max(int(in_flight), 1)

    def _round(self) -> None:
        """Act on one round of answers."""
        phase, samples, wanted = self._phase, self._samples, self._wanted * 2 >= self._samples
        mean_ms = max(self._sum_ms / samples, LEAST_MS) if samples else 0.0
        if phase == _SETTLING:
            self._phase = _MEASURING
        elif phase == _HALVED:
            self._phase = _CHECKING
            self._begin()
            self._left = max(self.limit, CHECK_MIN)
            return
        elif not samples:
            self._phase = _MEASURING
        elif phase == _FULL:
            self._full, self._full_ms = self._allowed, mean_ms
            self._allow(self._allowed / 2)
            self._settle(self._full, _HALVED)
            return
        elif phase == _CHECKING:
            self._checked(mean_ms)
            return
        elif self._base_ms == 0.0:
            self._base_ms = self._ms = mean_ms
        else:
            self._compare(mean_ms, wanted=wanted)
            return
        self._begin()

    def _compare(self, mean_ms: float, *, wanted: bool) -> None:
        """Grow, stay, or halve to see whether the latency is our doing. A lane short of work says nothing."""
        self._ms = (self._ms + mean_ms) / 2
        if self._allowed == 1.0:
            self._base_ms = self._ms  # nothing of ours queues, and no half of it could tell
        ratio = self._ms / self._base_ms if self._base_ms else 1.0
        if ratio < 1.0:
            self._base_ms += (self._ms - self._base_ms) * SINK
        if wanted:
            self._rounds += 1
            if self._allowed > 1.0 and (ratio > QUEUED_ABOVE or self._rounds >= CHECK_ROUNDS):
                self._phase = _FULL
                self._begin()
                self._left = max(self.limit, CHECK_MIN)
                return
            if ratio < GROW_BELOW:
                self._grow()
        self._begin()

    def _checked(self, half_ms: float) -> None:
        """Judge the round with half the requests in flight; go on with what the destination takes without a queue."""
        rounds = 0
        if half_ms < NO_QUEUE * self._full_ms:
            self._slow_start = False
            if half_ms < NO_QUEUE * self._base_ms:  # even the baseline was our queue: look again soon
                self._base_ms = half_ms
                rounds = CHECK_ROUNDS - RECHECK_ROUNDS
            share = min(GROW_BELOW * self._base_ms / self._full_ms, 1.0)
        else:
            self._base_ms = half_ms
            share = 1.0
        self._rounds = rounds
        self._ms = min(self._full_ms * share, self._base_ms * GROW_BELOW)
        in_flight = self._allowed
        self._allow(self._full * share)
        self._settle(in_flight)

    def _grow(self) -> None:
        allowed = self._allowed
        if self._ceiling and allowed > self._ceiling:
            self._ceiling = 0.0  # it takes more than it did
        if not self._ceiling:
            more = max(GROWTH * allowed, 1.0)
        elif allowed < NEAR * self._ceiling:
            more = min(max(GROWTH_FAR * allowed, 1.0), NEAR * self._ceiling - allowed + 0.05)
        else:
            more = max(GROWTH_NEAR * allowed, 0.05)
        self._allow(allowed + more)

    def _allow(self, allowed: float) -> None:
        self._allowed = min(max(allowed, 1.0), float(self._most))
        self.limit = int(self._allowed)
