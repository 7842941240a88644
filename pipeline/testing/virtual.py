"""An event loop whose time jumps to the next timer instead of passing: an hour takes as long as what happens in it."""

from __future__ import annotations

import asyncio
import selectors
from typing import Final

START_NS: Final = 1_700_000_000_000_000_000
"""Where its wall clock starts unless another time is given. Unix ns."""

TURN_S: Final = 1e-6
"""What a turn of the loop takes at least: who waits for less than time can tell apart would wait for ever."""


class _Jumping(selectors.SelectSelector):
    """Moves the loop's time on by what it would have waited for; looks at no socket."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now_s += TURN_S if timeout is None else max(timeout, TURN_S)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """For work without sockets and threads; `time()` starts at zero. A loop with nothing to wait for spins."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self._jumping = _Jumping()
        self._start_ns = start_ns
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the loop's seconds."""
        return self._jumping.now_s

    def wall_ns(self) -> int:
        """A wall clock that goes with it; implements ports.Clock."""
        return self._start_ns + int(self._jumping.now_s * 1e9)

    def set_clock(self, by_s: float) -> None:
        """Set the wall clock forward, or back; the loop's own time goes on."""
        self._start_ns += int(by_s * 1e9)

    def leap(self, to_s: float) -> None:
        """Move the time on at once: what was to happen until then happens late, as after a machine stood still."""
        self._jumping.now_s = max(self._jumping.now_s, to_s)
