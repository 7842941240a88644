"""Holds retry records until they are due: record timestamp plus the tier's delay, so each partition is FIFO.

What was fetched is kept (pausing purges the prefetch); a partition is paused only once much of it is held, and resumed
when half of that has gone. What is due stays here, and so counts, until there is room for it: a tier whose backlog is
all due must not be fetched faster than it is worked off.
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
HELD_BYTES: Final = 1_048_576
"""Bytes held per partition before fetching it pauses. Not shared: what waits six hours would stop what waits 10 s."""
NO_ROOM_S: Final = 0.01
"""How soon is looked again when there was no room for all that is due."""

_Key = tuple[str, int]


class _Held:
    """What is held of one partition: records with the time each is due (Unix ms), in order."""

    __slots__ = ("bytes", "paused", "records")

    def __init__(self) -> None:
        self.records: deque[tuple[int, Record]] = deque()
        self.bytes = 0
        self.paused = False


class Release:
    """Owner of the held records. `pass_on` is called on the loop, in partition order, never from within `hold`."""

    def __init__(
        self,
        tiers_ms: Mapping[str, int],
        source: Source,
        clock: Clock,
        pass_on: Callable[[list[Record]], None],
        room: Callable[[], int],
    ) -> None:
        """`tiers_ms` has the delay of each retry topic by its name; `room` says how many records may be passed on."""
        self._tiers_ms = tiers_ms
        self._source = source
        self._clock = clock
        self._pass_on = pass_on
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._held: dict[_Key, _Held] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def hold(self, records: list[Record]) -> None:
        """Take records over until they are due."""
        now_ms = self._clock() // 1_000_000
        for record in records:
            key = (record.topic, record.partition)
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held()
            # A record cannot be newer than now: a broker's clock that runs ahead must not lengthen the delay.
            held.records.append((min(record.timestamp_ms, now_ms) + self._tiers_ms[record.topic], record))
            held.bytes += _size(record)
            if not held.paused and (len(held.records) >= HELD_RECORDS or held.bytes >= HELD_BYTES):
                held.paused = True
                self._source.pause(*key)
        self._arm()

    def count(self, key: _Key) -> int:
        """Return how many records of a partition are held."""
        held = self._held.get(key)
        return len(held.records) if held is not None else 0

    def forget(self, key: _Key) -> None:
        """Drop a partition that is not ours any more; its records were never committed."""
        self._held.pop(key, None)

    def close(self) -> None:
        """Release nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()

    def _arm(self, at_least_s: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        heads = [held.records[0][0] for held in self._held.values() if held.records]
        if heads and not self._closed:
            wait_s = max(min(heads) - self._clock() // 1_000_000, 0) / 1000
            # Never more than a second at once: the wall clock may be set while we wait.
            self._timer = self._loop.call_later(max(min(wait_s, 1.0), at_least_s), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ms = self._clock() // 1_000_000
        ready = [key for key, held in self._held.items() if held.records and held.records[0][0] <= now_ms]
        room = self._room()
        due: list[Record] = []
        for number, key in enumerate(ready):
            part = room // len(ready) + (number < room % len(ready))
            self._take(key, now_ms, part, due)
        for key in ready[:1]:  # the first one to be last next time: with little room each has its turn
            self._held[key] = self._held.pop(key)
        if due:
            self._pass_on(due)
        self._arm(NO_ROOM_S if room <= len(due) else 0.0)

    def _take(self, key: _Key, now_ms: int, at_most: int, due: list[Record]) -> None:
        held = self._held[key]
        records = held.records
        while at_most > 0 and records and records[0][0] <= now_ms:
            record = records.popleft()[1]
            held.bytes -= _size(record)
            due.append(record)
            at_most -= 1
        if held.paused and len(records) <= HELD_RECORDS // 2 and held.bytes <= HELD_BYTES // 2:
            held.paused = False
            self._source.resume(*key)


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + 200  # the object around them
