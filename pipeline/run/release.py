"""Holds retry records until they are due: record timestamp plus the tier's delay, so each partition is FIFO.

Parked runs need not wait so long: they go as soon as their lanes have room for them, and one goes as the probe of a
breaker whose time open is over. So parking costs few writes and, once a destination is well again, little time. A run
that was parked more than once waits until the lane has been well for a while: one that flaps must not have it written
again and again.

What was fetched is kept (pausing purges the prefetch); a partition is paused only once much of it is held, and resumed
when half of that has gone. What is due stays here, and so counts, until there is room for it: a tier whose backlog is
all due must not be fetched faster than it is worked off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from pipeline.core import journeys

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
EARLY_S: Final = 0.05
"""How soon is looked again after parked runs went before they were due."""

_Key = tuple[str, int]


class Spare(Protocol):
    """What is asked of a lane."""

    def spare(self) -> int:
        """Return how many parked deliveries it could take up now."""

    def steady(self) -> bool:
        """Whether it has been well for a while, or has looked in vain for a probe."""


class _Entry(NamedTuple):
    """One held record: when it is due (Unix ms), and the destinations a parked run waits for, none for others."""

    due_ms: int
    record: Record
    parked_for: tuple[str, ...]
    parks: int


class _Held:
    """What is held of one partition, in the order it is due."""

    __slots__ = ("bytes", "paused", "records")

    def __init__(self) -> None:
        self.records: deque[_Entry] = deque()
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
        lanes: Mapping[str, Spare],
        calls: Mapping[tuple[str, str], str],
    ) -> None:
        """`tiers_ms` has the delay of each retry topic by its name; `room` says how many records may be passed on.

        `calls` has the destination of each journey's steps, by (journey, step).
        """
        self._tiers_ms = tiers_ms
        self._source = source
        self._clock = clock
        self._pass_on = pass_on
        self._room = room
        self._lanes = lanes
        self._calls = calls
        self._parked: dict[str, int] = {}  # how many parked runs are held, by destination
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
            due_ms = min(record.timestamp_ms, now_ms) + self._tiers_ms[record.topic]
            entry = _Entry(due_ms, record, *self._parked_for(record, now_ms))
            for name in entry.parked_for:
                self._parked[name] = self._parked.get(name, 0) + 1
            held.records.append(entry)
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
        held = self._held.pop(key, None)
        for entry in held.records if held is not None else ():
            self._uncount(entry)

    def close(self) -> None:
        """Release nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()
        self._parked.clear()

    def _arm(self, at_least_s: float = 0.0, at_most_s: float = 1.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        heads = [held.records[0].due_ms for held in self._held.values() if held.records]
        if heads and not self._closed:
            wait_s = max(min(heads) - self._clock() // 1_000_000, 0) / 1000
            # Never more than a second at once: the wall clock may be set while we wait.
            self._timer = self._loop.call_later(max(min(wait_s, at_most_s), at_least_s), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ms = self._clock() // 1_000_000
        ready = [key for key, held in self._held.items() if held.records and held.records[0].due_ms <= now_ms]
        room = self._room()
        due: list[Record] = []
        for number, key in enumerate(ready):
            part = room // len(ready) + (number < room % len(ready))
            self._take(key, now_ms, part, due)
        for key in ready[:1]:  # the first one to be last next time: with little room each has its turn
            self._held[key] = self._held.pop(key)
        early = self._early(room - len(due)) if self._parked and room > len(due) else []
        if due or early:
            self._pass_on(due + early)
        self._arm(NO_ROOM_S if room <= len(due) else 0.0, EARLY_S if early else 1.0)

    def _take(self, key: _Key, now_ms: int, at_most: int, due: list[Record]) -> None:
        held = self._held[key]
        records = held.records
        while at_most > 0 and records and records[0].due_ms <= now_ms:
            entry = records.popleft()
            self._uncount(entry)
            held.bytes -= _size(entry.record)
            due.append(entry.record)
            at_most -= 1
        self._resume(key, held)

    def _resume(self, key: _Key, held: _Held) -> None:
        records = held.records
        if held.paused and len(records) <= HELD_RECORDS // 2 and held.bytes <= HELD_BYTES // 2:
            held.paused = False
            self._source.resume(*key)

    # ----------------------------------------------------------------------------------------- before it is due

    def _parked_for(self, record: Record, now_ms: int) -> tuple[tuple[str, ...], int]:
        """Return the destinations a run waits for only because they were not well, and how often: none for others."""
        state = journeys.decode(record.header(journeys.STATE_HEADER))
        if not isinstance(state, journeys.RunState) or not state.parks:
            return (), 0
        if any(step.due_ms > now_ms for step in state.steps.values()):
            return (), 0
        names = {self._calls.get((state.journey, step), "") for step in state.steps}
        return (tuple(sorted(names)), state.parks) if names <= self._lanes.keys() else ((), 0)

    def _uncount(self, entry: _Entry) -> None:
        for name in entry.parked_for:
            self._parked[name] -= 1
            if not self._parked[name]:
                del self._parked[name]

    def _early(self, room: int) -> list[Record]:
        """Take out parked runs whose lanes have room, the oldest of each partition first."""
        spare = {name: self._lanes[name].spare() for name in self._parked}
        chosen: list[Record] = []
        if not any(spare.values()):
            return chosen
        steady = {name: self._lanes[name].steady() for name in spare}
        for key, held in self._held.items():
            kept: list[_Entry] = []
            for entry in held.records:
                names = entry.parked_for
                ready = len(chosen) < room and names and all(spare[each] for each in names)
                if not ready or (entry.parks > 1 and not all(steady[each] for each in names)):
                    kept.append(entry)
                    continue
                for name in names:
                    spare[name] -= 1
                chosen.append(entry.record)
                held.bytes -= _size(entry.record)
                self._uncount(entry)
            if len(kept) < len(held.records):
                held.records = deque(kept)
                self._resume(key, held)
        return chosen


def _size(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + 200  # the object around them
