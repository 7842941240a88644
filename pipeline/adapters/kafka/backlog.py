"""Decides when fetching must wait: what was posted to the loop and not yet taken, in records and in bytes."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.model import Record

BACKLOG_RECORDS: Final = 2_000
"""Posted records not yet taken, above which fetching waits."""
BACKLOG_BYTES: Final = 16_777_216
"""Bytes of their keys and values, likewise."""
WAIT_S: Final = 0.02
"""How long one wait for room is."""


class Backlog:
    """`take` is called on the loop, everything else in the poll thread."""

    def __init__(self) -> None:
        self._posted = 0
        self._taken = 0
        self._batches: deque[tuple[int, int]] = deque()  # of what was posted: the count after it, its bytes
        self._bytes = 0
        self._room = threading.Event()

    def take(self, records: int) -> None:
        """Note that so many left."""
        self._taken += records
        self._room.set()

    def post(self, records: Sequence[Record]) -> None:
        """Note what is posted now."""
        self._posted += len(records)
        size = sum(len(each.value or b"") + len(each.key or b"") for each in records)
        self._batches.append((self._posted, size))
        self._bytes += size

    def level(self) -> float:
        """Return what waits as a share of its bounds. Bytes leave with the last record of their batch."""
        while self._batches and self._batches[0][0] <= self._taken:
            self._bytes -= self._batches.popleft()[1]
        return max((self._posted - self._taken) / BACKLOG_RECORDS, self._bytes / BACKLOG_BYTES)

    def wait(self) -> float:
        """Block until some are taken, at most WAIT_S; return how long was waited for, 0.0 if there is room by now."""
        self._room.clear()
        if self.level() < 1:
            return 0.0
        self._room.wait(WAIT_S)
        return WAIT_S
