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


class _Share:
    """Whether at least `share` of the last `of` attempts were of one kind. What is of another kind costs one addition.

    `seen` counts all attempts: it is bumped by the owner, for several shares at once.
    """

    __slots__ = ("_hits", "_of", "_wanted")

    def __init__(self, share: float, of: int) -> None:
        self._of = of
        self._wanted = max(share * of, 1.0)
        self._hits: deque[int] = deque()  # at which count of `seen`, oldest first

    def hit(self, seen: int) -> bool:
        """Count attempt number `seen` as one of the kind; return whether the share is reached over a full window."""
        hits = self._hits
        hits.append(seen)
        while hits[0] <= seen - self._of:
            hits.popleft()
        return seen >= self._of and len(hits) >= self._wanted

    def clear(self) -> None:
        self._hits.clear()


class Breaker:
    """A circuit breaker: closed, open until a time, half-open for one probe.

    Opens when at least `failures` of the last `of` attempts failed, when at least `rejections` of the last
    `rejections_of` answered ones were rejected, or at once by `trip`. Each opening in a row doubles the time open, up
    to `open_max_ms`; a probe that succeeds closes it and forgets the past. A rejected probe closes it too, unless
    rejections had opened it.
    """

    __slots__ = ("_answered", "_failures", "_openings", "_policy", "_probing", "_rejections", "_seen", "_until_s",
                 "for_rejections", "state")  # fmt: skip

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = _Share(policy.failures, policy.of)
        self._rejections = _Share(policy.rejections, policy.rejections_of)
        self._seen = 0
        self._answered = 0
        self._openings = 0
        self._until_s = 0.0
        self._probing = False
        self.for_rejections = False
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

    def unprobed_s(self, now_s: float) -> float:
        """Return for how long a probe has been due that no delivery was there to make, else 0.0."""
        return now_s - self._until_s if self.state == "half-open" and not self._probing else 0.0

    def started(self) -> None:
        """An admitted attempt starts; in half-open state it is the probe."""
        if self.state == "half-open":
            self._probing = True

    def abandoned(self) -> None:
        """The probe ended without saying anything about the receiver; another one may start."""
        self._probing = False

    def succeeded(self) -> None:
        """The receiver answered as a healthy one does."""
        self._seen += 1
        self._answered += 1
        if self.state == "half-open":
            self._close()

    def rejected(self, now_s: float) -> bool:
        """The receiver answered that it will never take this; return whether that opened the breaker."""
        self._seen += 1
        self._answered += 1
        if self.state == "half-open":
            if self.for_rejections:
                return self.trip(now_s, for_rejections=True)
            self._close()
            return False
        return self.state == "closed" and self._rejections.hit(self._answered) and self.trip(now_s, for_rejections=True)

    def failed(self, now_s: float) -> bool:
        """Count a failure; return whether this one opened the breaker."""
        if self.state == "half-open":
            return self.trip(now_s)
        if self.state == "open":
            return False
        self._seen += 1
        return self._failures.hit(self._seen) and self.trip(now_s)

    def reset(self) -> None:
        """Close at once and forget the past: somebody knows better."""
        self._close()

    def trip(self, now_s: float, *, for_rejections: bool = False) -> bool:
        """Open at once; return whether it was not open before."""
        if self.state == "open":
            return False
        self.state = "open"
        self.for_rejections = for_rejections
        self._openings += 1
        open_ms = min(self._policy.open_ms * 2 ** min(self._openings - 1, 16), self._policy.open_max_ms)
        self._until_s = now_s + open_ms / 1000
        self._forget()
        return True

    def _close(self) -> None:
        self.state = "closed"
        self._openings = 0
        self._forget()

    def _forget(self) -> None:
        self._seen = self._answered = 0
        self._failures.clear()
        self._rejections.clear()
