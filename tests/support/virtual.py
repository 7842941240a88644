"""An event loop whose time jumps to the next timer instead of passing: an hour takes as long as what happens in it."""

from __future__ import annotations

import asyncio
import selectors


class _Jumping(selectors.SelectSelector):
    """Moves the loop's time on by what it would have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.now_s += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """For tests without sockets and threads; `time()` starts at zero. A loop with nothing to wait for spins."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s

    def wall_ns(self) -> int:
        """A wall clock that goes with it; implements ports.Clock."""
        return 1_700_000_000_000_000_000 + int(self._jumping.now_s * 1e9)
