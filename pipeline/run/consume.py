"""Consumes one role's records: hands them to run/process in order, commits what core/offsets allows, drains on revoke.

Owner of the trackers. run/commits writes the ledger and commits; here is decided when.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, assert_never

from pipeline.core.brake import BrakePolicy
from pipeline.core.offsets import Tracker
from pipeline.ports import Assigned, Fatal, Notice, Revoked
from pipeline.run.aside import Aside
from pipeline.run.brake import IntakeBrake
from pipeline.run.commits import Commits
from pipeline.run.drain import drain
from pipeline.run.lookup import Lookup
from pipeline.run.suspects import Suspects
from pipeline.run.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from pipeline.model import Record
    from pipeline.ports import Clock, Producer, Schemas, Source, Telemetry
    from pipeline.run.dispatch import Lane
    from pipeline.run.holder import Holder
    from pipeline.run.process import Process, Wanted
    from pipeline.run.reading import Foretell
    from pipeline.run.rekey import Rekey
    from pipeline.run.settle import Settlement

TURN_RECORDS: Final = 128
"""Records processed before the loop looks at its sockets again: about 3 ms. With fewer (64) lanes run dry and every
delivery wakes an idle seat, which costs a tenth more; with 256 they lie cold in memory for longer: 3%."""
UNSETTLED_MAX: Final = 8_192
"""Positions open in this worker, above which consumption waits."""
UNSETTLED_BYTES: Final = 134_217_728
"""Bytes these may stand for, above which consumption waits."""
BLOCKED_S: Final = 0.005
"""How soon a blocked intake looks again."""
UNKNOWN_S: Final = 60.0
"""How long the registry's word that it does not know a schema is taken for true."""
COMMIT_S: Final = 0.5
"""How often the watermark is committed."""
REVOKE_S: Final = 18.0
"""Longest drain for a rebalance, whatever the budget for a stop: with the last acks, before the source goes on."""

_Key = tuple[str, int]


class Intake:
    """One source and what becomes of its records. `ledger_topic` None: positions of this role need no ledger."""

    def __init__(
        self,
        source: Source,
        process: Process | Rekey,
        settlement: Settlement,
        lanes: Iterable[Lane],
        producer: Producer,
        schemas: Schemas,
        telemetry: Telemetry,
        clock: Clock,
        fatal: Callable[[BaseException], None],
        *,
        ledger_topic: str | None,
        drain_s: float,
        brake: BrakePolicy | None = None,
        make: type[Tracker] = Tracker,  # run/turns has one of its own
        suspects: Suspects | None = None,
    ) -> None:
        self.source = source
        self._take, foretell = process.taking(source.role)
        self._process = process
        self._settlement = settlement
        self._lanes = tuple(lanes)
        self._watches = {lane.watch for lane in self._lanes}  # one, in a worker
        self._kinds = {"input": (False,), "retry": (True,)}.get(source.role, (False, True))  # a log has both kinds
        self._producer = producer
        self.lookup = Lookup(schemas, process.learn, telemetry)
        self._telemetry = telemetry
        self._clock = clock
        self._fatal = fatal
        self._commits = Commits(source, producer, telemetry, clock, ledger_topic, make)
        self._drain_s = drain_s
        self._loop = asyncio.get_running_loop()
        self.trackers: dict[_Key, Tracker] = {}
        self._records: deque[Record] = deque()
        self._held: dict[_Key, deque[Record]] = {}
        self._suspects = suspects or Suspects(clock, settlement.unsettled)
        self.foretell: Foretell = partial(self._suspects.foretell, foretell)
        self._aside = Aside(self._commits, source, telemetry, self._again)
        self._back: deque[Record] = deque()  # set aside before, to be taken up first
        self._holder: Holder | None = None
        self._scheduled = False
        self._stopped = self._left = self._halted = False
        self._tasks = Tasks(fatal)
        self._forget_s = 0.0
        self._commit_timer = self._loop.call_later(COMMIT_S, self._commit)
        name = source.topics[0] if source.role in ("input", "events") else source.role
        self.brake = IntakeBrake(name, brake or BrakePolicy(), self, telemetry.log, clock)
        settlement.failures.brakes.update(dict.fromkeys(source.topics, self.brake.failed))

    def start(self, holder: Holder | None = None) -> None:
        """Begin to consume; of other roles than the input with the holder of what is not due, or not its turn, yet."""
        self._holder = holder
        self.source.start(self._notice)

    def held(self) -> int:
        """Return how many partitions wait for the schema of their next record. Safe to call in any thread."""
        return len(self._held)

    # ------------------------------------------------------------------------------------------- notices

    def _notice(self, notice: Notice) -> None:
        if type(notice) is list:
            if self._holder is not None:
                self._hold(notice)
            else:
                self._records.extend(notice)
                self.go_on()
            return
        match notice:
            case Assigned():
                for tracker in self._commits.trackers(notice):
                    key = (tracker.topic, tracker.partition)
                    if (before := self.trackers.get(key)) is not None:
                        self._forget([before])  # its drain took longer than the rebalance
                    self.trackers[key] = tracker
                    if self._holder is None:
                        self._process.assigned(*key)
                    else:
                        self._holder.assigned(tracker)
                self._telemetry.log(
                    "info", "partitions_assigned", role=self.source.role, partitions=_names(notice.partitions)
                )
            case Revoked():
                self._telemetry.log(
                    "info", "partitions_lost" if notice.lost else "partitions_revoked", role=self.source.role,
                    partitions=_names(notice.partitions),
                )  # fmt: skip
                self._revoked(notice)
            case Fatal():
                self._fatal(notice.error)
            case list():
                raise AssertionError
            case _:
                assert_never(notice)

    def _hold(self, records: list[Record]) -> None:
        self.source.taken(len(records))
        self._hold_fresh(records)

    def _hold_fresh(self, records: Iterable[Record]) -> None:
        assert self._holder is not None
        fresh = []
        for record in records:
            tracker = self.trackers.get((record.topic, record.partition))
            if tracker is None or (
                (tracker.next >= tracker.room_upto or self._aside.kept) and self._aside.keeps(tracker, record)
            ):
                continue
            if tracker.received(record.offset):
                fresh.append(record)
            else:
                self._holder.passed(record)
        self._holder.hold(fresh)

    def room(self) -> int:
        """Return how many released retry records can be worked off soon."""
        return 0 if self.brake.on or self._blocked() else max(TURN_RECORDS - len(self._records), 0)

    def due(self, records: list[Record]) -> None:
        """Take released retry records: they were received when they came in."""
        self._records.extend(records)
        self.go_on()

    # ------------------------------------------------------------------------------------ record after record

    def go_on(self) -> None:
        """Take up what there is, on a later turn of the loop."""
        if not self._scheduled and not self._stopped:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _blocked(self) -> bool:
        settlement = self._settlement
        if settlement.unsettled() >= UNSETTLED_MAX or settlement.unsettled_bytes >= UNSETTLED_BYTES:
            return True
        return self._producer.full() or any(it.holding(retries=each) for it in self._watches for each in self._kinds)

    def _turn(self) -> None:
        self._scheduled = False
        if self._stopped or not (self._records or self._back):
            return
        if self.brake.on:
            self.brake.came()
            return
        if self._blocked() or (self._suspects.known and self._suspects.holds(self, (*self._back, *self._records)[0])):
            self._scheduled = True
            self._loop.call_later(BLOCKED_S, self._turn)
            return
        try:
            self._some()
        except Exception as error:  # noqa: BLE001 - our bug: it must stop the worker, uncommitted
            self._suspects.blame()
            self._fatal(error)
            return
        self.go_on()

    def _some(self) -> None:  # noqa: C901 - calls less: the hot path
        now_ns = self._clock()
        back = len(self._back)
        number = min(TURN_RECORDS, back + len(self._records))
        suspects, take = self._suspects, self._take
        queued: tuple[Record, ...] = ()
        if suspects.known:
            queued = (*self._back, *self._records)
            number = suspects.turn(queued, number)
            take = suspects.how(self.source.role, queued[0], take)
        released, brake, note, index = self._holder is not None, self.brake, suspects.note, suspects.index
        before = brake.taken
        for done in range(number):
            if brake.on:
                number = done
                break
            record = (self._back if done < back else self._records).popleft()
            key = (record.topic, record.partition)
            tracker = self.trackers.get(key)
            if tracker is None:
                continue
            if not released:
                if (tracker.next >= tracker.room_upto or self._aside.kept) and self._aside.keeps(tracker, record):
                    continue
                if not tracker.received(record.offset):
                    self._process.passed_over(record)  # it is finished, or from before the commit
                    continue
            if (held := self._held.get(key)) is not None:
                held.append(record)
                self.source.pause(*key)  # each time: what else pauses it may have resumed it
                continue
            brake.taken += 1
            note(index.get(record.topic, 0), record.partition, record.offset)
            wanted = take(record, tracker, now_ns)
            if wanted is not None:
                self._wait_for(key, record, wanted)
        note(0, 0, 0)
        if queued and brake.taken == before:
            suspects.not_yet(queued[0])  # held, set aside or dropped: whether it kills is as open as before
        if not released:
            self.source.taken(max(number - back, 0))

    def _again(self, records: Iterable[Record]) -> None:
        """Take back what was set aside, ahead of what was fetched later."""
        if self._holder is not None:
            self._hold_fresh(records)
        else:
            self._back.extend(records)
            self.go_on()

    def _wait_for(self, key: _Key, record: Record, wanted: Wanted) -> None:
        self._suspects.not_yet(record)
        self._held[key] = deque((record,))
        self.source.pause(*key)
        self.spawn(self._find(key, wanted))

    async def _find(self, key: _Key, wanted: Wanted) -> None:
        """Wait for what must be had; then go on with the partition where it stopped."""
        if isinstance(wanted, tuple):
            await self.lookup.find(key, *wanted)
        else:
            await self._process.read(wanted)
        held = self._held.get(key)
        while held is not None and self._held.get(key) is held:
            if self.brake.on:
                await self.brake.off()
                continue
            tracker = self.trackers.get(key)
            if not held or tracker is None:
                del self._held[key]
                self.source.resume(*key)
                return
            if self._suspects.known and self._suspects.holds(self, held[0]):
                await asyncio.sleep(BLOCKED_S)
                continue
            take = self._suspects.how(self.source.role, held[0], self._take)
            with self._suspects.noting(held[0]):
                more = take(held[0], tracker, self._clock())
            if more is not None:
                self._suspects.not_yet(held[0])
                self.spawn(self._find(key, more))
                return
            held.popleft()
            self.brake.taken += 1

    def upcoming(self, most: int) -> list[Record]:
        """Return the next records that would be taken up, at most so many."""
        queued = [*self._back, *self._records, *(record for held in self._held.values() for record in held)]
        if self._holder is not None:
            queued += self._holder.upcoming(most)
        return queued[:most]

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something go on by itself; what it raises stops the worker."""
        self._tasks.spawn(work)

    # ------------------------------------------------------------------------------------------- commits

    def _commit(self) -> None:
        self._commit_timer = self._loop.call_later(COMMIT_S, self._commit)
        for tracker in self.trackers.values():
            self._commits.commit(tracker)
        if (now_s := self._loop.time()) >= self._forget_s:
            self._forget_s = now_s + UNKNOWN_S
            self._process.each_minute()

    # ------------------------------------------------------------------------------------- revoke and stop

    def _revoked(self, notice: Revoked) -> None:
        keys = [key for key in notice.partitions if key in self.trackers]
        gone = set(keys)
        queued = len(self._records)
        self._records = deque(each for each in self._records if (each.topic, each.partition) not in gone)
        self._back = deque(each for each in self._back if (each.topic, each.partition) not in gone)
        if self._holder is None:
            self.source.taken(queued - len(self._records))
        trackers = [self.trackers[key] for key in keys]
        if notice.lost or self._left or self._halted:
            self._forget(trackers)
            notice.done()
        else:  # during a stop too: what its drain has not committed yet would be repeated
            self.spawn(self._drain_then(trackers, notice.done))

    async def _drain_then(self, trackers: list[Tracker], done: Callable[[], None]) -> None:
        try:
            await self._drain(trackers, min(self._drain_s, REVOKE_S))
        finally:
            self._forget(trackers)
            done()

    async def _drain(self, trackers: list[Tracker], budget_s: float) -> None:
        for tracker in trackers:
            tracker.leaving = True
            self._drop_held((tracker.topic, tracker.partition))
        await drain(trackers, self._lanes, self._commits, budget_s)

    def _drop_held(self, key: _Key) -> None:
        """Drop what was received and not taken up: it stays open, so it is never committed from here."""
        self._held.pop(key, None)
        self._aside.forget(key)
        if self._holder is not None:
            self._holder.forget(key)

    def _forget(self, trackers: Sequence[Tracker]) -> None:
        going = [tracker for tracker in trackers if not tracker.closed]
        self._process.forget(going, [flight for each in going for flight in self._settlement.forget(each)])
        for tracker in trackers:
            key = (tracker.topic, tracker.partition)
            if self.trackers.get(key) is tracker:  # and not the one of a newer assignment
                del self.trackers[key]
                self._drop_held(key)
                if self._holder is None:
                    self._process.gone(*key)
            for lane in self._lanes:
                lane.discard(lambda delivery: delivery.run.flight.tracker.closed)

    def stop_taking(self) -> None:
        """Process nothing more; what is queued here was never started and stays uncommitted."""
        self._stopped = True
        self.brake.close()

    def halt(self) -> None:
        """Process and commit nothing more: something fatal happened."""
        self.stop_taking()
        self._halted = True
        self._commits.halt()
        self._commit_timer.cancel()
        if self._holder is not None:
            self._holder.close()

    async def stop(self) -> None:
        """Drain everything within the drain budget, commit, leave the group."""
        self.stop_taking()
        await self._drain(list(self.trackers.values()), self._drain_s)
        self._left = True
        self._commit_timer.cancel()
        self._tasks.cancel()
        if self._holder is not None:
            self._holder.close()
        await self.source.stop()


def _names(partitions: Iterable[tuple[str, int] | tuple[str, int, int]]) -> str:
    return " ".join(f"{each[0]}/{each[1]}" for each in partitions)
