"""Remembers: what journeys must know of a customer from earlier events and contacts, by partition of the input.

Owner of the shelves. A partition of the memory topic is read whole before anything of the input's partition of that
number is taken up, and followed from then on: by the owner of the input's partition, and by whoever takes up a run
that came from there. What is remembered is written at once, and the position it came from stays open until the broker
has it. docs/decisions/0021-memory.md says why entries are kept so that it does not matter who writes them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from pipeline.core import memory
from pipeline.core.memory import Entry, Row, Shelf
from pipeline.errors import Bug
from pipeline.model import Contact, Entered, Happened, SkipReason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.model import Datum, Delivery, Flight, Memory, Record, Route, Sign
    from pipeline.ports import Acked, Clock, Producer

Home: TypeAlias = "Callable[[str, tuple[str, int, int, int]], int]"

LAG_MAX_MS: Final = 30_000
"""Longest since a partition that others write to was known to be whole, for what it says to count."""
LATE_MS: Final = 86_400_000
"""An entry is kept so long after its end: an event from before that may come late."""
IDLE_S: Final = 600.0
"""How long a partition is followed that nothing of is owned or asked here."""
LOOK_S: Final = 1.0
"""How often what has ended is looked for, and who is still asked for."""
SWEPT_CUSTOMERS: Final = 2_000
"""Customers looked at each time: about 5 ms."""
SWEEP_S: Final = 600.0
"""Between two passes over all of them."""
PROGRESS_S: Final = 5.0
"""How often a long reading says how far it is."""


class Follower(Protocol):
    """Reads partitions of the memory topic whole and on (adapters/kafka/follower)."""

    def start(self, inbox: Callable[[list[Record]], None], whole: Callable[[int, int], None]) -> None:
        """Begin. `whole(partition, at_ns)`: all that was there at that time was in the inbox before."""

    def follow(self, partition: int) -> None:
        """Read a partition; of one that is read already, say soon that it is whole as of a later time than now."""

    def leave(self, partition: int) -> None:
        """Read it no more."""

    async def stop(self) -> None:
        """End; idempotent, bounded."""


class _Part:
    """One partition that is followed. Times in Unix ns but for `asked_s`, which is the loop's."""

    __slots__ = ("asked_s", "begun_ns", "owned", "said_s", "shelf", "since_ns", "waiting", "whole_ns")

    def __init__(self, begun_ns: int, now_s: float) -> None:
        self.shelf = Shelf()
        self.begun_ns = begun_ns
        self.owned = False  # the input's partition of this number is ours
        self.since_ns = begun_ns  # it must be whole as of then
        self.whole_ns = 0
        self.asked_s = now_s
        self.said_s = now_s
        self.waiting: list[asyncio.Future[None]] = []


class Recall:
    """Implements ports.Memories. All calls on the loop; only `whole` waits."""

    def __init__(
        self, follower: Follower, topic: str, producer: Producer, clock: Clock, log: Callable[..., None],
        lag_max_ms: int = LAG_MAX_MS, home: Home | None = None,
    ) -> None:  # fmt: skip
        """`topic` is the memory topic's name; `log` is telemetry's.

        `home` gives the partition of a customer by ID and source, where some sources are not those it is kept by.
        """
        self._follower = follower
        self._topic = topic
        self._producer = producer
        self._clock = clock
        self._log = log
        self._home = home
        self._lag_max_ns = lag_max_ms * 1_000_000
        self._parts: dict[int, _Part] = {}
        self._loop = asyncio.get_running_loop()
        self._to_sweep: list[tuple[int, list[bytes]]] = []
        self._sweep_from_s = self._loop.time() + SWEEP_S
        self._damaged = 0
        self._timer = self._loop.call_later(LOOK_S, self._look)
        follower.start(self._take, self._whole)

    async def stop(self) -> None:
        """Follow nothing any more."""
        self._timer.cancel()
        await self._follower.stop()

    # ------------------------------------------------------------------------------------------------ asking

    def remembered(self, customer_id: str, source: tuple[str, int, int, int]) -> Memory | None:
        """See ports.Memories."""
        partition = source[1] if self._home is None else self._home(customer_id, source)
        return self._parts[partition].shelf.of(customer_id) if self.ready(partition) else None

    def partition(self, customer_id: str, source: tuple[str, int, int, int]) -> int:
        """Return where what is remembered of a customer is kept, asked about for an event from there."""
        return source[1] if self._home is None else self._home(customer_id, source)

    def ready(self, partition: int) -> bool:
        """Whether a partition can be asked. If not, it is read from now on."""
        part = self._parts.get(partition)
        if part is None:
            part = self._follow(partition)
        part.asked_s = self._loop.time()
        return self._current(part)

    async def whole(self, partition: int) -> None:
        """Return once the partition can be asked, however long that takes."""
        while not self.ready(partition):
            waiting = self._loop.create_future()
            self._parts[partition].waiting.append(waiting)
            await waiting

    def assigned(self, partition: int) -> None:
        """Take the input's partition of that number over: whatever others wrote until now must have been read."""
        part = self._parts.get(partition)
        if part is None:
            part = self._follow(partition)
        else:
            part.since_ns = self._clock()
            self._follower.follow(partition)
        part.owned = True

    def gone(self, partition: int) -> None:
        """Note that the input's partition of that number is another worker's."""
        part = self._parts.get(partition)
        if part is not None:
            part.owned = False
            part.asked_s = self._loop.time()

    def _follow(self, partition: int) -> _Part:
        part = self._parts[partition] = _Part(self._clock(), self._loop.time())
        self._follower.follow(partition)
        return part

    def _current(self, part: _Part) -> bool:
        if part.whole_ns < part.since_ns:
            return False
        # Of what is ours nobody else says anything that must not be missed.
        return part.owned or self._clock() - part.whole_ns <= self._lag_max_ns

    # ------------------------------------------------------------------------------------------- remembering

    def enter(
        self, flight: Flight, route: Route, datum: Datum, now_ms: int, write: Callable[[Flight], Acked]
    ) -> SkipReason | None:
        """Let a customer enter a journey that has `once`, and remember it; or return why not.

        The same event again enters again: it is the one that did. `write` counts what the position then waits for.
        """
        once, event = route.once, flight.event
        assert once is not None
        assert event is not None
        key = once.key(datum, now_ms)
        if key is None:
            return SkipReason.CONDITION_ERROR
        source = flight.source
        partition = source[1] if self._home is None else self._home(event.customer_id, source)
        known = self._parts[partition].shelf.of(event.customer_id)
        mine = [each for each in known.entered if each.journey == route.shares and each.key == key]
        if any(each.event == event.id for each in mine):
            return None
        if any(each.until_ms > event.time_ms for each in mine):
            return SkipReason.ONCE
        if now_ms - event.time_ms <= route.max_age_ms:  # what is stale does not enter
            until_ms = event.time_ms + once.per_ms
            entry = Entered(route.shares, key, until_ms, event.id)
            self.remember(flight, entry, event.time_ms, until_ms, write)
        return None

    def notice(
        self, flight: Flight, signs: Sequence[Sign], datum: Datum, now_ms: int, write: Callable[[Flight], Acked]
    ) -> bool:
        """Remember an event that journeys wait for; False if nothing had to be written. `write` as for `enter`."""
        event = flight.event
        assert event is not None
        written = False
        for sign in signs:
            match = sign.match(datum, now_ms)
            until_ms = event.time_ms + sign.keep_ms
            if match is not None and until_ms > now_ms:
                entry = Happened(event.type, match, event.time_ms, event.id)
                written |= self.remember(flight, entry, event.time_ms, until_ms, write)
        return written

    def contacted(self, write: Callable[[Flight], Acked], delivery: Delivery, now_ms: int) -> None:
        """Remember that a delivery of a step with caps reached its customer, for as long as any of them counts it."""
        run, step = delivery.run, delivery.step
        entry = Contact(run.route.category, step.reaches, now_ms, delivery.id)
        until_ms = now_ms + max(cap.per_ms for cap in step.caps)
        self.remember(run.flight, entry, now_ms, until_ms, write)

    def remember(
        self, flight: Flight, entry: Entry, at_ms: int, until_ms: int, write: Callable[[Flight], Acked]
    ) -> bool:
        """Remember of the flight's customer, and write it; False if it is known already: nothing is written then."""
        assert flight.event is not None
        customer_id, source = flight.event.customer_id, flight.source
        partition = source[1] if self._home is None else self._home(customer_id, source)
        row = memory.row(entry, at_ms, until_ms)
        part = self._parts.get(partition)
        if part is not None:
            new, dropped = part.shelf.put(customer_id, row)
            if not new:
                return False
            self._forget(customer_id, partition, dropped)
        self._write(customer_id, partition, row.key(), memory.encode(row), write(flight))
        return True

    def _forget(self, customer_id: str, partition: int, keys: Sequence[str]) -> None:
        for key in keys:
            self._write(customer_id, partition, key, None, self._acked)

    def _write(self, customer_id: str, partition: int, key: str, content: bytes | None, acked: Acked) -> None:
        if not self._producer.produce(self._topic, memory.record_key(customer_id, key), content, [], acked, partition):
            raise Bug("an entry does not fit the memory topic")

    def _acked(self, refused: object, record: object) -> None:
        if refused is not None:
            self._producer.refused(refused, record, self._acked)

    # --------------------------------------------------------------------------------------------- following

    def _take(self, records: list[Record]) -> None:
        for record in records:
            part = self._parts.get(record.partition)
            if part is not None:
                self._put(part, record)

    def _put(self, part: _Part, record: Record) -> None:
        try:
            customer_id, _, key = (record.key or b"").decode().partition("\0")
        except UnicodeDecodeError:
            customer_id = key = ""
        if record.value is None and customer_id:
            if key and part.owned and self._current(part):
                return  # written here, and obeyed then: the entry may be there anew since
            dropped = part.shelf.drop(customer_id, key)
            if part.owned and not key:  # all of the customer: each entry must go from the topic too
                self._forget(customer_id, record.partition, dropped)
            return
        row: Row | None = memory.decode(record.value or b"")
        if row is None or row.key() != key:
            self._damaged += 1
            if self._damaged == 1 or self._damaged % 1_000 == 0:
                self._log(
                    "error", "memory_unreadable", partition=record.partition, offset=record.offset,
                    records=self._damaged,
                )  # fmt: skip
            return
        _, dropped = part.shelf.put(customer_id, row)
        if part.owned:
            self._forget(customer_id, record.partition, dropped)

    def _whole(self, partition: int, at_ns: int) -> None:
        part = self._parts.get(partition)
        if part is None:
            return
        first = part.whole_ns == 0
        part.whole_ns = max(part.whole_ns, at_ns)
        if first:
            self._log(
                "info", "memory_read", partition=partition, customers=part.shelf.customers(), bytes=part.shelf.bytes,
                ms=(self._clock() - part.begun_ns) // 1_000_000,
            )  # fmt: skip
        if part.waiting and self._current(part):
            waiting, part.waiting = part.waiting, []
            for each in waiting:
                if not each.done():
                    each.set_result(None)

    # ------------------------------------------------------------------------------------------ looking after

    def _look(self) -> None:
        self._timer = self._loop.call_later(LOOK_S, self._look)
        now_s = self._loop.time()
        for partition, part in list(self._parts.items()):
            if not part.owned and not part.waiting and now_s - part.asked_s > IDLE_S:
                del self._parts[partition]
                self._follower.leave(partition)
            elif part.whole_ns == 0 and now_s - part.said_s >= PROGRESS_S:
                part.said_s = now_s
                self._log("info", "memory_reading", partition=partition, customers=part.shelf.customers())
        self._sweep(now_s)

    def _sweep(self, now_s: float) -> None:
        """Forget what has ended, a few customers at a time; the owner takes it from the topic too."""
        if not self._to_sweep:
            if now_s < self._sweep_from_s:
                return
            self._sweep_from_s = now_s + SWEEP_S
            self._to_sweep = [(number, part.shelf.keys()) for number, part in self._parts.items() if part.whole_ns]
        left = SWEPT_CUSTOMERS
        while self._to_sweep and left > 0:
            partition, customers = self._to_sweep[-1]
            some = customers[-left:]
            del customers[-left:]
            left -= len(some)
            if not customers:
                self._to_sweep.pop()
            part = self._parts.get(partition)
            if part is None:
                continue
            for customer_id, key in part.shelf.expire(self._clock() // 1_000_000 - LATE_MS, some):
                if part.owned:
                    self._forget(customer_id, partition, (key,))
