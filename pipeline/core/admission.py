"""Decides whether a lane may start an attempt now: rate (token bucket) and circuit breaker.

Times are the event loop's monotonic seconds, handed in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.model import BreakerPolicy


class Bucket:
    """A token bucket of `rate` per second holding one second's worth (at least one token). Rate 0 is unlimited."""

    __slots__ = ("_at_s", "_tokens", "rate")

    def __init__(self, rate: float, now_s: float) -> None:
        self.rate = rate
        self._tokens = max(rate, 1.0)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one token; return 0.0, or the seconds until the next one when there is none (nothing is taken)."""
        rate = self.rate
        if rate <= 0:
            return 0.0
        tokens = min(self._tokens + (now_s - self._at_s) * rate, max(rate, 1.0))
        self._at_s = now_s
        if tokens >= 1.0:
            self._tokens = tokens - 1.0
            return 0.0
        self._tokens = tokens
        return (1.0 - tokens) / rate

    def retune(self, rate: float, now_s: float) -> None:
        """Change the rate (the worker's share moved with its partitions); tokens gained so far are kept."""
        if rate == self.rate:
            return
        self._tokens = min(self._tokens + (now_s - self._at_s) * self.rate, max(rate, 1.0))
        self._at_s = now_s
        self.rate = rate


class Breaker:
    """A circuit breaker: closed, open until a time, half-open for one probe.

    Opens when at least `failures` of the last `of` attempts failed, or at once by `trip`. Each opening in a row doubles
    the time open, up to `open_max_ms`; a probe that succeeds closes it and forgets the past.
    """

    __slots__ = ("_failed", "_openings", "_policy", "_probing", "_recent", "_until_s", "state")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._recent: deque[bool] = deque(maxlen=policy.of)
        self._failed = 0
        self._openings = 0
        self._until_s = 0.0
        self._probing = False
        self.state = "closed"

    def admits(self, now_s: float) -> bool:
        """Whether an attempt may start now. In half-open state only one may, until its result is known."""
        if self.state == "closed":
            return True
        if self.state == "open":
            if now_s < self._until_s:
                return False
            self.state = "half-open"
            self._probing = False
        return not self._probing

    def started(self) -> None:
        """An admitted attempt starts; in half-open state it is the probe."""
        if self.state == "half-open":
            self._probing = True

    def abandoned(self) -> None:
        """An admitted attempt ended without saying anything about the receiver; another probe may start."""
        self._probing = False

    def succeeded(self) -> None:
        """The receiver answered as a healthy one does (a rejection is one)."""
        if self.state == "closed":
            if self._failed:
                self._push(failed=False)
            else:  # nothing to forget
                self._recent.append(False)
        elif self.state == "half-open":
            self.state = "closed"
            self._openings = 0
            self._recent.clear()
            self._failed = 0

    def failed(self, now_s: float) -> bool:
        """Count a failure; return whether this one opened the breaker."""
        if self.state == "half-open":
            return self.trip(now_s)
        if self.state == "open":
            return False
        self._push(failed=True)
        full = len(self._recent) == self._policy.of
        return full and self._failed >= self._policy.failures * self._policy.of and self.trip(now_s)

    def trip(self, now_s: float) -> bool:
        """Open at once; return whether it was not open before."""
        if self.state == "open":
            return False
        self.state = "open"
        self._openings += 1
        open_ms = min(self._policy.open_ms * 2 ** min(self._openings - 1, 16), self._policy.open_max_ms)
        self._until_s = now_s + open_ms / 1000
        self._recent.clear()
        self._failed = 0
        return True

    def _push(self, *, failed: bool) -> None:
        recent = self._recent
        if len(recent) == recent.maxlen and recent[0]:
            self._failed -= 1
        recent.append(failed)
        self._failed += failed
