"""Decides how a fleet of workers is, from what each of them last reported to the control topic."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.model import value
from pipeline.said import DAMAGED, at_ms, whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STALE_MS: Final = 30_000
"""A worker silent for so long is not alive: three of its reports are missing."""
RATE_MS: Final = 60_000
"""Rates are taken over reports at most so far apart."""
WORST: Final = ("open", "half-open", "closed")
"""States of a breaker, the worst first: a destination is as bad as its worst lane."""
GONE_MS: Final = 3_600_000
"""A worker that fell silent so long ago is not named any more."""
REPORTS: Final = b"worker/"
_KEPT: Final = b"destination/"


@value
class LaneReport:
    """One destination in one worker. Times are Unix ms, 0 for never; `attempts` counts since the worker started.

    `limit` is the most requests in flight at present, 0 in reports of releases that did not tell.
    """

    state: str
    since_ms: int
    last_good_ms: int
    last_class: str
    last_event_id: str
    queued: int
    in_flight: int
    parked: int
    attempts: int
    limit: int = 0


@value
class HaltReport:
    """What of a worker stands still until its cause is gone. Times in Unix ms: since when, and when it tries next."""

    what: str
    since_ms: int
    why: str
    look_ms: int


@value
class WorkerReport:
    """What one worker last said. `assigned` has partitions as `topic/number` by role.

    `misses` counts, since the worker started, what came to nothing in a way a misspelt name brings about. `applied` is
    the newest offset of the control topic that is in force there, by partition. `config` is the version of its
    configuration, and `refused` says what is wrong with the one in its folder, if it could not take that over. `mode`
    is what becomes of its requests: live | redirect | dry. `halts` is what stands still there; `stuck` are partitions
    of logs that wait because as much of them is held as may be.
    """

    id: str
    at_ms: int
    host: str
    pid: int
    version: str
    unsettled: int
    oldest_ms: int
    assigned: Mapping[str, tuple[str, ...]]
    lanes: Mapping[str, LaneReport]
    misses: tuple[Miss, ...] = ()
    applied: Mapping[int, int] = field(default_factory=dict)
    config: str = ""
    refused: tuple[str, ...] = ()
    mode: str = "live"
    halts: tuple[HaltReport, ...] = ()
    stuck: tuple[Stuck, ...] = ()

    def obeys(self, ends: Mapping[int, int]) -> bool:
        """Whether records up to these offsets of the control topic are in force there."""
        return all(self.applied.get(partition, -1) >= offset for partition, offset in ends.items())


@value
class Stuck:
    """A partition of a journey's log that waits: how many events of it are held, and of how many customers."""

    topic: str
    partition: int
    held: int
    customers: int


@value
class Miss:
    """One place where a name may be misspelt.

    `kind` is `condition` (`name` is the journey and `place` the condition in it: it failed) or `type` (`name` is the
    event type a journey asks for and `place` the input topic: events there have one that is almost the same).
    """

    kind: str
    name: str
    place: str
    count: int


@value
class DestinationState:
    """One destination over all live workers. `rate_per_s`: attempts, None while unknown."""

    name: str
    state: str
    since_ms: int
    last_good_ms: int
    last_class: str
    last_event_id: str
    queued: int
    in_flight: int
    parked: int
    rate_per_s: float | None
    limit: int = 0


class Fleet:
    """Takes reports in the order of the topic. Owner: the `status` command."""

    def __init__(self) -> None:
        self.reported = False
        """Whether any worker ever said anything that is still on the topic."""
        self._last: dict[str, WorkerReport] = {}
        self._good: dict[str, int] = {}  # when a destination last took a delivery, said by workers that stopped
        self._before: dict[str, WorkerReport] = {}  # an earlier report of the same process, for rates

    def note(self, key: bytes | None, content: bytes | None) -> None:
        """Take one record of the control topic; what is no worker report, or a damaged one, is passed over."""
        if key is not None and key.startswith(_KEPT):
            self._keep(key[len(_KEPT) :].decode("utf-8", "replace"), content)
        if key is None or not key.startswith(REPORTS):
            return
        self.reported = True
        name = key[len(REPORTS) :].decode("utf-8", "replace")
        if content is None:
            self._last.pop(name, None)
            self._before.pop(name, None)
            return
        report = _parse(name, content)
        if report is None:
            return
        last, before = self._last.get(name), self._before.get(name)
        if last is not None and last.pid == report.pid:
            if before is None or report.at_ms - before.at_ms > RATE_MS:
                self._before[name] = last
        else:
            self._before.pop(name, None)
        self._last[name] = report

    def alive(self, now_ms: int) -> tuple[WorkerReport, ...]:
        """Return the workers that reported lately."""
        return tuple(each for _, each in sorted(self._last.items()) if now_ms - each.at_ms <= STALE_MS)

    def stale(self, now_ms: int) -> tuple[WorkerReport, ...]:
        """Return the workers that fell silent without a farewell, in the last GONE_MS."""
        return tuple(each for _, each in sorted(self._last.items()) if STALE_MS < now_ms - each.at_ms <= GONE_MS)

    def misses(self, now_ms: int) -> tuple[Miss, ...]:
        """Return what live workers counted since each of them started, most first."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for worker in self.alive(now_ms):
            for each in worker.misses:
                sums[each.kind, each.name, each.place] += each.count
        return tuple(Miss(*key, count) for key, count in sums.most_common())

    def destinations(self, now_ms: int, names: Iterable[str]) -> tuple[DestinationState, ...]:
        """Return each destination's state, those no live worker has a lane for as `unknown`."""
        alive = self.alive(now_ms)
        return tuple(self._destination(name, [each for each in alive if name in each.lanes]) for name in names)

    def _destination(self, name: str, workers: list[WorkerReport]) -> DestinationState:
        lanes = [each.lanes[name] for each in workers]
        # What was good once stays so: workers that are gone count, too.
        last_good_ms = max(
            (self._good.get(name, 0), *(each.lanes[name].last_good_ms for each in self._last.values()
                                        if name in each.lanes))
        )  # fmt: skip
        if not lanes:
            return DestinationState(name, "unknown", 0, last_good_ms, "", "", 0, 0, 0, None)
        state = min((lane.state for lane in lanes), key=_badness)
        latest = max(lanes, key=lambda lane: (bool(lane.last_class), lane.since_ms))
        rates = [rate for each in workers if (rate := self._rate(each, name)) is not None]
        return DestinationState(
            name, state, min(lane.since_ms for lane in lanes if lane.state == state),
            last_good_ms, latest.last_class, latest.last_event_id,
            sum(lane.queued for lane in lanes), sum(lane.in_flight for lane in lanes),
            sum(lane.parked for lane in lanes), sum(rates) if rates else None,
            sum(lane.limit for lane in lanes),
        )  # fmt: skip

    def _keep(self, name: str, content: bytes | None) -> None:
        try:
            kept = _ms(str(orjson.loads(content or b"")["last_good"]))
        except DAMAGED:
            return
        self._good[name] = max(self._good.get(name, 0), kept)

    def _rate(self, worker: WorkerReport, destination: str) -> float | None:
        before = self._before.get(worker.id)
        if before is None or destination not in before.lanes or worker.at_ms <= before.at_ms:
            return None
        attempts = worker.lanes[destination].attempts - before.lanes[destination].attempts
        return max(attempts, 0) * 1_000 / (worker.at_ms - before.at_ms)


def drain_ms(waiting: int, rate_per_s: float | None, limit_per_s: float | None) -> int | None:
    """Estimate how long what waits takes: at the present rate, else at the configured limit; None without either."""
    if waiting == 0:
        return 0
    rate = rate_per_s or limit_per_s
    return round(waiting / rate * 1_000) if rate else None


def _badness(state: str) -> int:
    return WORST.index(state) if state in WORST else len(WORST)


def _parse(name: str, content: bytes) -> WorkerReport | None:
    try:
        doc = orjson.loads(content)
        return WorkerReport(
            name, _ms(doc["at"]), str(doc["host"]), whole(doc["pid"]), str(doc["version"]), whole(doc["unsettled"]),
            whole(doc["oldest_ms"]), {role: tuple(map(str, places)) for role, places in doc["assigned"].items()},
            {destination: _lane(lane) for destination, lane in doc["lanes"].items()},
            tuple(_miss(*each) for each in doc.get("misses", ())),
            {whole(partition): whole(offset) for partition, offset in doc.get("applied", {}).items()},
            str(doc.get("config", "")), tuple(map(str, doc.get("refused", ()))),
            str(doc.get("mode", "live")),
            tuple(HaltReport(str(what), whole(since), str(why), whole(look)) for what, since, why, look
                  in doc.get("halts", ())),
            tuple(_stuck(*each) for each in doc.get("stuck", ())),
        )  # fmt: skip
    except DAMAGED:
        return None


def _lane(doc: Mapping[str, Any]) -> LaneReport:
    return LaneReport(
        str(doc["state"]), _ms(doc["since"]), _ms(doc["last_good"]), str(doc["class"]), str(doc["event"]),
        whole(doc["queued"]), whole(doc["in_flight"]), whole(doc["parked"]), whole(doc.get("attempts", 0)),
        whole(doc.get("limit", 0)),
    )  # fmt: skip


def _miss(kind: object, what: object, place: object, count: Any) -> Miss:
    return Miss(str(kind), str(what), str(place), whole(count))


def _stuck(topic: object, partition: Any, held: Any, customers: Any) -> Stuck:
    return Stuck(str(topic), whole(partition), whole(held), whole(customers))


def _ms(text: str) -> int:
    return at_ms(text) if text else 0
