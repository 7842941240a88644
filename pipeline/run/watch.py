"""What the lanes of a worker share: the sweep, the lease, and which of them are full.

One timer for all lanes, and only lanes that have something to do are looked at: five hundred destinations cost no more
than the busy ones among them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.run.lease import Lease

if TYPE_CHECKING:
    from collections.abc import Callable

SWEEP_S: Final = 0.1
"""How often deadlines of attempts are looked at; an attempt ends at most this long after its deadline."""


class Swept(Protocol):
    """What the watch asks of a lane."""

    def sweep(self, now_s: float) -> bool:
        """Do what time asks for; return whether there is anything left to look after."""

    def holds(self) -> bool:
        """Whether consumption of new events should wait for it."""

    def holds_retries(self) -> bool:
        """Whether consumption of retry records should wait for it."""


class Watch:
    """Sweeps the lanes that are awake. Owner of the lease; `fatal` hears of a process that stood still."""

    def __init__(self, fatal: Callable[[BaseException], None], lease: Lease | None = None) -> None:
        self.lease = lease or Lease()
        self.full: set[Swept] = set()
        """Lanes that reached a bound of their queues; a lane that is full no more leaves it when it is next asked."""
        self._fatal = fatal
        self._awake: dict[Swept, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)

    def wake(self, lane: Swept) -> None:
        """Sweep this lane from now on, until it has nothing left to look after."""
        self._awake[lane] = None

    def holding(self, *, retries: bool) -> bool:
        """Whether consumption should wait for a lane that is full and drains soon enough."""
        if not self.full:
            return False
        self.full = {lane for lane in self.full if lane.holds() or lane.holds_retries()}
        return any(lane.holds_retries() if retries else lane.holds() for lane in self.full)

    def leave(self, lane: Swept) -> None:
        """Forget a lane that is closed."""
        self._awake.pop(lane, None)
        self.full.discard(lane)

    def close(self) -> None:
        """Sweep nothing any more; idempotent."""
        self._timer.cancel()

    def _sweep(self) -> None:
        self._timer = self._loop.call_later(SWEEP_S, self._sweep)
        if (error := self.lease.renew()) is not None:
            self._fatal(error)
            return
        now_s = self._loop.time()
        for lane in tuple(self._awake):
            if not lane.sweep(now_s):
                self._awake.pop(lane, None)
