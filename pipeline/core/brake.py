"""Decides when one intake stops because too much of it comes to nothing, and when it may go on by itself.

Bad data is not a bad dependency: a share of records that cannot be read, or that our own configuration makes nothing
of, is likelier to be a mistake somebody can undo than so many records of no use. What is put aside meanwhile would have
to be found and sent again.
"""

from __future__ import annotations

from collections import Counter, deque
from math import ceil
from typing import Final

from pipeline.model import FailureClass, value

BRAKING: Final = frozenset((FailureClass.UNDECODABLE, FailureClass.SCHEMA, FailureClass.CONFIG, FailureClass.BUG))
"""Failure classes that speak of a mistake in the data or on our side, never of a destination."""
LOOK_MS: Final = 10_000
"""After so long what comes next is looked at for the first time; then after twice as long each time,"""
LOOK_MAX_MS: Final = 300_000
"""but never later than this."""
FREE_MS: Final = 600_000
"""For so long after somebody said "go on" the brake lets everything pass."""


@value
class BrakePolicy:
    """Stop when `share` (0..1) of the last `of` positions ended with a class of BRAKING."""

    share: float = 0.05
    of: int = 1_000


class Brake:
    """Of one intake. Owner: run/brake. `taken` is how many positions it has taken up so far; times in Unix ms."""

    __slots__ = ("_bad", "_free_ms", "_limit", "_policy", "_wait_ms", "_went_on", "look_ms", "since_ms", "why")

    def __init__(self, policy: BrakePolicy) -> None:
        self.since_ms = 0
        """Since when it holds, 0 if it does not."""
        self.look_ms = 0
        """When what comes next is to be looked at."""
        self.why = ""
        """What made it hold: classes and their numbers, no data."""
        self._policy = policy
        self._limit = max(ceil(policy.share * policy.of), 1)
        self._bad: deque[tuple[int, str]] = deque()
        self._wait_ms = LOOK_MS
        self._went_on = -policy.of - 1
        self._free_ms = 0

    def failed(self, cls: str, taken: int, now_ms: int) -> bool:
        """Count a position that came to nothing; return whether that makes the brake hold from now on."""
        if self.since_ms or now_ms < self._free_ms:
            return False
        bad, of = self._bad, self._policy.of
        bad.append((taken, cls))
        while bad[0][0] <= taken - of:
            bad.popleft()
        if len(bad) < self._limit:
            return False
        again = taken - self._went_on <= of
        self._wait_ms = min(2 * self._wait_ms, LOOK_MAX_MS) if again else LOOK_MS
        self.since_ms, self.look_ms = now_ms, now_ms + self._wait_ms
        counts = Counter(str(cls) for _, cls in bad)
        told = ", ".join(f"{number} {cls}" for cls, number in counts.most_common())
        self.why = f"{told} of the last {min(taken, of):,} positions"
        return True

    def looked(self, bad: int, of: int, taken: int, now_ms: int) -> bool:
        """Take what a look at the next `of` records said: `bad` of them would come to nothing; return whether to go on.

        Where nothing has come yet nothing is known: the next look is when something does.
        """
        if of and (bad == 0 or bad < of * self._policy.share):
            self._went_on = taken
            self._let_go()
            return True
        if of:
            self._wait_ms = min(2 * self._wait_ms, LOOK_MAX_MS)
        self.look_ms = now_ms + self._wait_ms
        return False

    def free(self, at_ms: int) -> None:
        """Let everything pass for FREE_MS: somebody said so at `at_ms`."""
        self._free_ms = at_ms + FREE_MS
        self._wait_ms = LOOK_MS
        if self.since_ms <= at_ms:
            self._let_go()

    def _let_go(self) -> None:
        self.since_ms = self.look_ms = 0
        self.why = ""
        self._bad.clear()
