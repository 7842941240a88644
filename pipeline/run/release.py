"""Holds retry records until they are due: record timestamp plus the tier's delay, so each partition is FIFO.

What was fetched is kept (pausing purges the prefetch); a partition is paused only once much is held, and resumed when
half of that has gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.model import Record
    from pipeline.ports import Clock, Source

HELD_RECORDS: Final = 1_000
"""Records held per partition before fetching it pauses."""
HELD_BYTES: Final = 16_777_216
"""Bytes held over all partitions before fetching the ones with records held pauses."""

_Key = tuple[str, int]


class Release:
    """Owner of the held records. `pass_on` is called on the loop, in partition order, never from within `hold`."""

    def __init__(
        self, tiers_ms: Mapping[str, int], source: Source, clock: Clock, pass_on: Callable[[list[Record]], None]
    ) -> None:
        """`tiers_ms` has the delay of each retry topic by its name."""
        self._tiers_ms = tiers_ms
        self._source = source
        self._clock = clock
        self._pass_on = pass_on
        self._loop = asyncio.get_running_loop()
        self._held: dict[_Key, deque[Record]] = {}
        self._paused: set[_Key] = set()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, records: list[Record]) -> None:
        """Take records over until they are due."""
        for record in records:
            key = (record.topic, record.partition)
            held = self._held.setdefault(key, deque())
            held.append(record)
            self._bytes += _size(record)
            if (len(held) >= HELD_RECORDS or self._bytes >= HELD_BYTES) and key not in self._paused:
                self._paused.add(key)
                self._source.pause(*key)
        self._arm()

    def count(self, key: _Key) -> int:
        """Return how many records of a partition are held."""
        return len(self._held.get(key, ()))

    def forget(self, key: _Key) -> None:
        """Drop a partition that is not ours any more; its records were never committed."""
        for record in self._held.pop(key, ()):
            self._bytes -= _size(record)
        self._paused.discard(key)

    def close(self) -> None:
        """Release nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()

    def _due_ms(self, record: Record) -> int:
        return record.timestamp_ms + self._tiers_ms[record.topic]

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        heads = [self._due_ms(held[0]) for held in self._held.values() if held]
        if heads:
            wait_s = max(min(heads) - self._clock() // 1_000_000, 0) / 1000
            # Never more than a second at once: the wall clock may be set while we wait.
            self._timer = self._loop.call_later(min(wait_s, 1.0), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ms = self._clock() // 1_000_000
        due: list[Record] = []
        for key, held in self._held.items():
            while held and self._due_ms(held[0]) <= now_ms:
                record = held.popleft()
                self._bytes -= _size(record)
                due.append(record)
            if key in self._paused and len(held) <= HELD_RECORDS // 2 and self._bytes < HELD_BYTES:
                self._paused.discard(key)
                self._source.resume(*key)
        if due:
            self._pass_on(due)
        self._arm()


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + 200  # the object around them
