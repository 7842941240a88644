"""Holds the worker's leave to send: gone once the process stood still (SIGSTOP, a suspended machine) for too long.

The broker gives a silent worker's partitions away, and a worker that wakes up does not know it: its first turns of the
loop come before the first answer from the broker. So age is asked before each write, and too old is fatal.
"""

from __future__ import annotations

from time import monotonic
from typing import Final

from pipeline.errors import BrokerError

LEASE_S: Final = 8.0
"""Below the consumers' session timeout, and far above any turn of the loop."""


class Lease:
    """Renewed by a timer of the loop; CLOCK_MONOTONIC runs on while a process is stopped."""

    __slots__ = ("_for_s", "until_s")

    def __init__(self, for_s: float = LEASE_S) -> None:
        self._for_s = for_s
        self.until_s = monotonic() + for_s

    def renew(self) -> BrokerError | None:
        """Start over, or return what `check` does."""
        error = self.check()
        if error is None:
            self.until_s = monotonic() + self._for_s
        return error

    def check(self) -> BrokerError | None:
        """Return why nothing may be sent any more, or None."""
        stood_s = monotonic() - self.until_s + self._for_s
        if stood_s <= self._for_s:
            return None
        return BrokerError(f"this process stood still for {stood_s:.0f} s; its partitions may have moved")
