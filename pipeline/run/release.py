"""Holds retry records until they are due: record timestamp plus the tier's delay, so each partition is FIFO.

Parked runs need not wait so long: they go as soon as their lanes have room for them, and one goes as the probe of a
breaker whose time open is over. So parking costs few writes and, once a destination is well again, little time. A run
that was parked more than once waits until the lane has been well for a while: one that flaps must not have it written
again and again.

What was fetched is kept (pausing purges the prefetch); a partition is paused only once much of it is held, and resumed
when half of that has gone. What is due stays here, and so counts, until there is room for it: a tier whose backlog is
all due must not be fetched faster than it is worked off.

An order of the control topic may mean some of what is held: see run/orders. What is beyond the bound of a partition is
not seen until what is before it has gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from heapq import nsmallest
from operator import attrgetter
from typing import TYPE_CHECKING

from pipeline.run.holder import AT_MOST_S, HELD_BYTES, HELD_RECORDS, NO_ROOM_S, header_bytes
from pipeline.run.orders import EARLY_S, Awaited, Orders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.core.offsets import Tracker
    from pipeline.core.switches import Order
    from pipeline.model import Record
    from pipeline.ports import Clock, Source
    from pipeline.run.holder import Spare

_Key = tuple[str, int]


class _Held:
    """What is held of one partition, in the order it is due. `number` and `bytes` are of what has not gone."""

    __slots__ = ("bytes", "entries", "number", "paused")

    def __init__(self) -> None:
        self.entries: deque[Awaited] = deque()
        self.number = 0
        self.bytes = 0
        self.paused = False

    def head(self) -> Awaited | None:
        """Return the first that has not gone."""
        entries = self.entries
        while entries and entries[0].gone:
            entries.popleft()
        return entries[0] if entries else None


class Release:
    """Owner of the held records. `pass_on` is called on the loop, never from within `hold`.

    In the order of each partition, but for what goes before it is due.
    """

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
        self._orders: Orders[Awaited] = Orders(lanes)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def assigned(self, tracker: Tracker) -> None:
        """Nothing is to be known of a partition before its records come."""

    def passed(self, record: Record) -> None:
        """What was finished says nothing of what is held."""

    def hold(self, records: list[Record]) -> None:
        """Take records over until they are due."""
        now_ms = self._clock() // 1_000_000
        for record in records:
            key = (record.topic, record.partition)
            held = self._held.get(key)
            if held is None:
                held = self._held[key] = _Held()
            # A record cannot be newer than now: a broker's clock that runs ahead must not lengthen the delay.
            entry = Awaited(min(record.timestamp_ms, now_ms) + self._tiers_ms[record.topic], record)
            entry.look(self._lanes, self._calls, now_ms)
            for name in entry.parked_for:
                self._parked[name] = self._parked.get(name, 0) + 1
            held.entries.append(entry)
            held.number += 1
            held.bytes += _size(record)
            if self._orders:
                self._orders.put(entry, self._loop.time())
            if held.number >= HELD_RECORDS or held.bytes >= HELD_BYTES:
                held.paused = True
                self._source.pause(*key)  # each time: what else pauses it may have resumed it
        self._arm()

    def count(self, key: _Key) -> int:
        """Return how many records of a partition are held."""
        held = self._held.get(key)
        return held.number if held is not None else 0

    def upcoming(self, most: int) -> list[Record]:
        """Return the records that are due first, at most so many. O(what is held)."""
        held = (entry for each in self._held.values() for entry in each.entries if not entry.gone)
        return [entry.record for entry in nsmallest(most, held, key=attrgetter("due_ms"))]

    def forget(self, key: _Key) -> None:
        """Drop a partition that is not ours any more; its records were never committed."""
        held = self._held.pop(key, None)
        for entry in held.entries if held is not None else ():
            if not entry.gone:
                self._uncount(entry)
                entry.end()

    def follow(self, orders: Sequence[Order], share: Callable[[], float]) -> None:
        """Obey these orders from now on, for what is held and what comes; one that was there goes on at its speed.

        `share` is this worker's of the fleet's rates.
        """
        waiting = [entry for held in self._held.values() for entry in held.entries if not entry.gone]
        self._orders.follow(orders, share, waiting, self._loop.time())
        self._arm()

    def close(self) -> None:
        """Release nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()
        self._orders.clear()
        self._parked.clear()

    def _arm(self, at_least_s: float = 0.0, at_most_s: float = AT_MOST_S) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        heads = [head.due_ms for held in self._held.values() if (head := held.head()) is not None]
        if heads:
            wait_s = max(min(heads) - self._clock() // 1_000_000, 0) / 1000
            if self._orders.waiting():
                at_most_s = min(at_most_s, EARLY_S)
            self._timer = self._loop.call_later(max(min(wait_s, at_most_s), at_least_s), self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ms = self._clock() // 1_000_000
        ready = [key for key, held in self._held.items() if (head := held.head()) is not None and head.due_ms <= now_ms]
        room = self._room()
        due: list[Record] = []
        for entry in self._orders.take(room // 2 if ready else room, self._loop.time()) if self._orders else ():
            key = (entry.record.topic, entry.record.partition)
            due.append(entry.record)
            self._gone(key, self._held[key], entry)
        left = room - len(due)
        for number, key in enumerate(ready):
            part = left // len(ready) + (number < left % len(ready))
            self._take(key, now_ms, part, due)
        for key in ready[:1]:  # the first one to be last next time: with little room each has its turn
            self._held[key] = self._held.pop(key)
        early = self._early(room - len(due)) if self._parked and room > len(due) else []
        if due or early:
            self._pass_on(due + early)
        self._arm(NO_ROOM_S if room <= len(due) else 0.0, EARLY_S if early else AT_MOST_S)

    def _take(self, key: _Key, now_ms: int, at_most: int, due: list[Record]) -> None:
        held = self._held[key]
        while at_most > 0 and (head := held.head()) is not None and head.due_ms <= now_ms:
            due.append(head.record)
            at_most -= 1
            self._gone(key, held, head)

    def _gone(self, key: _Key, held: _Held, entry: Awaited) -> None:
        """Count an entry out. It stays in its queues until it gets to their head, but not too many do."""
        self._uncount(entry)
        held.number -= 1
        held.bytes -= _size(entry.record)
        entry.end()
        if len(held.entries) > 2 * held.number + HELD_RECORDS:
            held.entries = deque(each for each in held.entries if not each.gone)
        if held.paused and held.number <= HELD_RECORDS // 2 and held.bytes <= HELD_BYTES // 2:
            held.paused = False
            self._source.resume(*key)

    # ----------------------------------------------------------------------------------------- before it is due

    def _uncount(self, entry: Awaited) -> None:
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
            for entry in tuple(held.entries):
                names = entry.parked_for
                if entry.gone or entry.ordered or not names or len(chosen) >= room:
                    continue
                if all(spare[each] for each in names) and (entry.parks <= 1 or all(steady[each] for each in names)):
                    for name in names:
                        spare[name] -= 1
                    chosen.append(entry.record)
                    self._gone(key, held, entry)
        return chosen


def _size(record: Record) -> int:
    objects = 200  # around them
    return len(record.value or b"") + len(record.key or b"") + header_bytes(record.headers) + objects
