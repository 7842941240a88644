"""Gives every customer's events their turn: of a journey that keeps order, one after the other, others beside them.

Owner of what was fetched from the logs and is not over. Each record of a log waits behind those of its customer that
came before it; the first one is taken up, and its position stays open until its run is over, through all its retries.
A run that has to wait does so here: it keeps its place, and the customer's other events wait with it.

What is held of a partition is bounded. Beyond that the partition waits, whoever is stuck: fetching it is paused until
half of what is held has gone. A partition that is taken over is looked back into before anything of it starts, so that
no copy of an event that is over overtakes what came after it, and every run goes on where it had got to.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from pipeline.core import runstate
from pipeline.core.runstate import STATE_HEADER
from pipeline.errors import BrokerError, Bug
from pipeline.run.holder import AT_MOST_S, HELD_BYTES, HELD_RECORDS, NO_ROOM_S
from pipeline.run.lines import LOOK_BACK, Entry, Log, TurnTracker, weight
from pipeline.run.orders import EARLY_S
from pipeline.run.past import NOTE_HEADER, Past, in_state, noted
from pipeline.run.tasks import Tasks
from pipeline.run.waits import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.core.offsets import Tracker
    from pipeline.core.switches import Order
    from pipeline.model import Record
    from pipeline.ports import Clock, Headers, Producer, Source
    from pipeline.run.holder import Spare
    from pipeline.run.past import LogReader

LOOKS_AT_ONCE: Final = 2
"""Partitions looked back into side by side: each takes a consumer and a thread of its own."""
AGAIN_S: Final = 1.0
"""How soon a partition that could not be looked back into is tried again."""

_Key = tuple[str, int]


class Turns:
    """Of one worker. `pass_on` is called on the loop, never from within `hold`.

    No call waits, and none raises but for a bug of ours; partitions are looked back into in tasks.
    """

    def __init__(
        self,
        source: Source,
        reader: LogReader,
        producer: Producer,
        clock: Clock,
        pass_on: Callable[[list[Record]], None],
        room: Callable[[], int],
        lanes: Mapping[str, Spare],
        calls: Mapping[tuple[str, str], str],
        log: Callable[..., None],
        fatal: Callable[[BaseException], None],
    ) -> None:
        """`room` says how many records may be passed on; `calls` as in run/release.

        `fatal` stops the worker over what a look back raised.
        """
        self._source = source
        self._reader = reader
        self._producer = producer
        self._clock = clock
        self._pass_on = pass_on
        self._room = room
        self._waits: Waits[Entry] = Waits(clock, lanes, calls)
        self._say = log
        self._loop = asyncio.get_running_loop()
        self._logs: dict[_Key, Log] = {}
        self._ready: deque[Entry] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks = Tasks(fatal)
        self._reading = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._closed = False

    # --------------------------------------------------------------------------------------- what comes and goes

    def assigned(self, tracker: Tracker) -> None:
        """Look back into a partition that is ours from now on."""
        assert isinstance(tracker, TurnTracker)
        tracker.turns, tracker.rests = self, {}
        key = (tracker.topic, tracker.partition)
        self.forget(key)
        log = self._logs[key] = Log(tracker)
        self._tasks.spawn(self._look_back(log))

    async def _look_back(self, log: Log) -> None:
        topic, partition = log.tracker.topic, log.tracker.partition
        while not log.gone:
            past = Past(log.start, log.finished, LOOK_BACK)
            try:
                async with self._reading:
                    await self._reader.read(topic, partition, max(log.start - LOOK_BACK, 0), past.note)
            except BrokerError as error:
                detail = str(error).splitlines()[0]
                self._say("warning", "log_unread", topic=topic, partition=partition, detail=detail)
                await asyncio.sleep(AGAIN_S)
                continue
            for name, offset in log.past.seen.items():  # what was passed over meanwhile: over, and after those
                past.seen.setdefault(name, offset)
            log.past, log.whole = past, True
            while log.early and not log.gone:
                self._enter(log, log.early.popleft())
            self._arm()
            return

    def passed(self, record: Record) -> None:
        """Note a record that is over already, and was fetched once more."""
        log = self._logs.get((record.topic, record.partition))
        if log is not None and noted(record) is None:
            log.past.see(record)

    def hold(self, records: list[Record]) -> None:
        """Take records over until they are over."""
        for record in records:
            key = (record.topic, record.partition)
            log = self._logs.get(key)
            if log is None:
                continue  # posted while its partition is being given up: it stays open
            log.number += 1
            log.bytes += weight(record)
            if log.whole:
                self._enter(log, record)
            else:
                log.early.append(record)
            if log.number >= HELD_RECORDS or log.bytes >= HELD_BYTES:
                if not log.paused:
                    self._say("warning", "log_waits", topic=key[0], partition=key[1], held=log.number,
                              customers=len(log.lines))  # fmt: skip
                log.paused = True
                self._source.pause(*key)  # each time: what else pauses it may have resumed it
        self._arm()

    def upcoming(self, most: int) -> list[Record]:
        """Return the records whose turn it is, at most so many."""
        return [entry.record for entry in islice(self._ready, most)]

    def stuck(self) -> dict[_Key, tuple[int, int]]:
        """Return the partitions that wait because much is held, with how many records, and of how many customers.

        As `held`, safe to call in any thread.
        """
        return {key: (log.number, len(log.lines)) for key, log in self._logs.copy().items() if log.paused}

    def held(self) -> int:
        """Return how many records are held in all."""
        return sum(log.number for log in tuple(self._logs.values()))

    def next_ms(self) -> tuple[float, bool]:
        """Return when the next run is due (Unix ms, inf for none), and whether any waits for its destination."""
        return self._waits.next_ms(), self._waits.early()

    def forget(self, key: _Key) -> None:
        """Drop a partition that is not ours any more; what is open of it was never committed."""
        log = self._logs.pop(key, None)
        if log is None:
            return
        log.gone = True
        for line in log.lines.values():
            if (wait := line[0].wait) is not None:
                self._waits.end(wait)
        self._ready = deque(entry for entry in self._ready if entry.log is not log)
        log.let_go()

    def close(self) -> None:
        """Give nobody a turn any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._tasks.cancel()
        for key in tuple(self._logs):
            self.forget(key)
        self._ready.clear()

    # ------------------------------------------------------------------------------------------------- the lines

    def _enter(self, log: Log, record: Record) -> None:
        """Let an entry stand in the line of its customer; a note, a copy or what is over is nobody's turn."""
        if noted(record) is not None or log.past.see(record) or log.past.over(record.offset):
            self._away(log, weight(record))
            log.tracker.close(record.offset)
            return
        newest = log.past.newest(record)
        entry = Entry(log, newest, record.key or b"", weight(newest))
        log.bytes += entry.size - weight(record)
        line = log.lines.setdefault(entry.customer, deque())
        line.append(entry)
        if len(line) == 1:
            self._first(entry)

    def _first(self, entry: Entry) -> None:
        """Let the first of its customer go, or wait until it is due."""
        state = runstate.decode(entry.record.header(STATE_HEADER))
        due_ms = state.due_ms if isinstance(state, runstate.RunState) else 0
        if due_ms > self._clock() // 1_000_000:
            entry.wait = self._waits.add(entry, due_ms, self._loop.time())
        else:
            self._ready.append(entry)

    def done(self, tracker: TurnTracker, offset: int) -> None:
        """Say in the log that a run is over. Once that is acknowledged, its customer's next event has its turn.

        A commit would come too late: until then a crash could repeat this event after the next.
        """
        log = self._log_of(tracker)
        if log is None:
            tracker.close(offset)  # the partition is being given up: nothing more of it starts here
            return
        entry = log.under_way.pop(offset)

        def acked() -> None:
            tracker.close(offset)
            if not log.gone:
                self._over(log, entry)

        self._write(tracker, offset, [], acked)

    def rests(self, tracker: TurnTracker, offset: int, state: bytes, due_ms: int) -> None:
        """Write down how far a run has got that has to wait; so do its customer's other events.

        `state` b"": as it was.
        """
        log = self._log_of(tracker)
        entry = log.under_way.pop(offset) if log is not None else None

        def acked() -> None:
            if entry is not None and not entry.log.gone:
                entry.wait = self._waits.add(entry, due_ms, self._loop.time())
                self._arm()

        if not state:
            acked()
            return
        if entry is not None:
            entry.record = in_state(entry.record, state, self._clock() // 1_000_000)
            size = weight(entry.record)
            entry.log.bytes += size - entry.size
            entry.size = size
        self._write(tracker, offset, [(STATE_HEADER, state)], acked)

    def _log_of(self, tracker: TurnTracker) -> Log | None:
        log = self._logs.get((tracker.topic, tracker.partition))
        return log if log is not None and log.tracker is tracker else None

    def _write(self, tracker: TurnTracker, offset: int, headers: Headers, then: Callable[[], None]) -> None:
        """Write a note; the partition is not given up before it is acknowledged, unless that takes too long."""

        def acked(refused: object, record: object) -> None:
            if refused is not None:
                self._producer.refused(refused, record, acked)
                return
            tracker.in_flight -= 1
            then()

        tracker.in_flight += 1
        headers = [*headers, (NOTE_HEADER, str(offset).encode())]
        if not self._producer.produce(tracker.topic, None, None, headers, acked, tracker.partition):
            raise Bug("a note does not fit its log")

    def _over(self, log: Log, entry: Entry) -> None:
        line = log.lines[entry.customer]
        assert line[0] is entry, "a customer's events overtook each other"
        line.popleft()
        if line:
            self._first(line[0])
        else:
            del log.lines[entry.customer]
        self._away(log, entry.size)
        self._arm()

    def _away(self, log: Log, size: int) -> None:
        log.number -= 1
        log.bytes -= size
        if log.paused and log.number <= HELD_RECORDS // 2 and log.bytes <= HELD_BYTES // 2:
            log.paused = False
            key = (log.tracker.topic, log.tracker.partition)
            self._say("info", "log_goes_on", topic=key[0], partition=key[1])
            self._source.resume(*key)

    def follow(self, orders: Sequence[Order], share: Callable[[], float]) -> None:
        """Obey these orders from now on: see run/orders."""
        self._waits.follow(orders, share, self._loop.time())
        self._arm()

    # ---------------------------------------------------------------------------------------------- whose turn it is

    def _arm(self, at_least_s: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed:
            return
        wait_s = 0.0
        if not self._ready:
            due_ms = self._waits.next_ms()
            if due_ms == inf:
                return
            wait_s = min(max(due_ms - self._clock() // 1_000_000, 0) / 1_000, AT_MOST_S)
            if self._waits.early():
                wait_s = min(wait_s, EARLY_S)
        self._timer = self._loop.call_later(max(wait_s, at_least_s), self._fire)

    def _fire(self) -> None:
        self._timer = None
        room = self._room()
        for entry in self._waits.over(max(room - len(self._ready), 0), self._loop.time()):
            entry.wait = None
            self._ready.append(entry)
        taken: list[Record] = []
        while self._ready and len(taken) < room:
            entry = self._ready.popleft()
            entry.log.under_way[entry.record.offset] = entry
            taken.append(entry.record)
        if taken:
            self._pass_on(taken)
        self._arm(NO_ROOM_S if self._ready else 0.0)
