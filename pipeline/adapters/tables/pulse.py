"""Judges whether the worker that follows the tables stands still: stopped, but alive, so that it keeps its lock.

Its lock file is touched every BEAT_S by a thread that does nothing else, so a slow broker or disk does not look like
that. Age is counted on our own monotonic clock, from when we saw the last touch: neither a clock that was put forward
nor a machine that slept makes a follower look old.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT_S: Final = 1.0
"""How often the follower shows that it lives."""
STILL_S: Final = 10.0
"""Without a sign for this long it is taken over from. Longer than the lease of a worker (8 s): one that stood still
for this long ends by itself when it wakes."""
GAP_S: Final = 3.0
"""Between two of our own looks: after a longer one it may be us who stood still, and counting starts over."""


class Pulse:
    """Looks at another worker's signs of life; `look` returns what changes with each of them."""

    def __init__(self, look: Callable[[], object], clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is monotonic, in seconds."""
        self._look = look
        self._clock = clock
        self._seen: object = None
        self._since_s = self._looked_s = clock()

    def still(self) -> bool:
        """Look, and say whether nothing has changed for STILL_S. To be asked every second or so."""
        now_s, seen = self._clock(), self._look()
        if seen != self._seen or now_s - self._looked_s > GAP_S:
            self._seen, self._since_s = seen, now_s
        self._looked_s = now_s
        return now_s - self._since_s >= STILL_S
