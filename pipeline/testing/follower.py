"""A fake of what run/memory follows: a compacted topic in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Record


class FakeFollower:
    """A compacted topic in memory: what was `put` is read by whoever follows. Implements run/memory's Follower."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.reachable = True
        self.followed: set[int] = set()
        self._clock = clock
        self._log: dict[int, list[Record]] = {}
        self._inbox: Callable[[list[Record]], None] | None = None
        self._whole: Callable[[int, int], None] | None = None

    def start(self, inbox: Callable[[list[Record]], None], whole: Callable[[int, int], None]) -> None:
        """See run/memory."""
        self._inbox, self._whole = inbox, whole

    def put(self, record: Record) -> None:
        """Append to the topic."""
        self._log.setdefault(record.partition, []).append(record)
        if record.partition in self.followed and self.reachable and self._inbox is not None:
            asyncio.get_running_loop().call_soon(self._inbox, [record])

    def follow(self, partition: int) -> None:
        """See run/memory."""
        fresh = partition not in self.followed
        self.followed.add(partition)
        if self.reachable and self._inbox is not None and self._whole is not None:
            loop = asyncio.get_running_loop()
            if fresh:
                loop.call_soon(self._inbox, list(self._log.get(partition, ())))
            loop.call_soon(self._whole, partition, self._clock())

    def leave(self, partition: int) -> None:
        """See run/memory."""
        self.followed.discard(partition)

    async def stop(self) -> None:
        """See run/memory."""
        self.followed.clear()
