"""Tells the fleet how this worker is: its lanes and what is unsettled; read by `hookline status`."""

from __future__ import annotations

import asyncio
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline import __version__

if TYPE_CHECKING:
    from pipeline.app.worker import Worker
    from pipeline.ports import Halt, LaneStats, Producer

BEAT_S: Final = 10.0
"""How often the state is written; a worker silent for three beats counts as gone."""
WATCH_S: Final = 0.5
"""How soon a change of a breaker, of what stands still, or of what is obeyed, is written."""


class Heartbeat:
    """Writes `worker/<id>` to the control topic every BEAT_S and on a change; a tombstone at the end.

    Changes are those of a breaker or of what stands still, and what the worker obeys since: a command waits for that.
    """

    def __init__(self, worker: Worker, topic: str, producer: Producer, worker_id: str) -> None:
        self._worker = worker
        self._topic = topic
        self._producer = producer
        self._key = f"worker/{worker_id}".encode()
        self._states: tuple[dict[str, str], list[Halt]] = {}, []
        self._applied: dict[int, int] = {}
        self._next_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_soon(self._beat)

    def goodbye(self) -> None:
        """Say that this worker is gone for good, not silent; and what would be forgotten with it."""
        for name, lane in self._worker.lanes.items():
            if lane.stats.last_good_ns:
                known = orjson.dumps({"last_good": _time(lane.stats.last_good_ns)})
                self._producer.produce(self._topic, f"destination/{name}".encode(), known, [], _acked)
        self._producer.produce(self._topic, self._key, None, [], _acked)

    def close(self) -> None:
        """Beat no more."""
        self._timer.cancel()

    def _beat(self) -> None:
        self._timer = self._loop.call_later(WATCH_S, self._beat)
        states = {name: lane.stats.state for name, lane in self._worker.lanes.items()}, self._worker.halts()
        now_s = self._loop.time()
        applied = dict(self._worker.switchboard.applied) if self._worker.switchboard is not None else {}
        if now_s < self._next_s and states == self._states and applied == self._applied:
            return
        self._next_s = now_s + BEAT_S
        self._states, self._applied = states, applied
        self._producer.produce(self._topic, self._key, orjson.dumps(self._state()), [], _acked)

    def _state(self) -> dict[str, Any]:
        settlement = self._worker.settlement
        return {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": __version__,
            "mode": self._worker.mode,
            "unsettled": settlement.unsettled() if settlement is not None else 0,
            "oldest_ms": settlement.oldest_ms() if settlement is not None else 0,
            "assigned": {
                intake.source.role: [f"{topic}/{partition}" for topic, partition in sorted(intake.trackers)]
                for intake in self._worker.intakes
            },
            "misses": self._misses(),
            "stuck": [[*key, *held] for key, held in self._worker.turns.stuck().items()] if self._worker.turns else [],
            "applied": {str(partition): offset for partition, offset in self._applied.items()},
            "config": reload.running if (reload := self._worker.reload) is not None else "",
            "refused": list(reload.refused) if reload is not None else [],
            "halts": [[each.what, each.since_ms, each.why, each.look_ms] for each in self._states[1]],
            "lanes": {name: _lane(lane.stats) for name, lane in self._worker.lanes.items()},
        }

    def _misses(self) -> list[list[object]]:
        misses = self._worker.misses
        if misses is None:
            return []
        conditions = [["condition", *key, count] for key, count in misses.conditions.items()]
        return conditions + [["type", like, topic, count] for (topic, like), count in misses.misspelt().items()]


def _lane(stats: LaneStats) -> dict[str, Any]:
    return {
        "state": stats.state,
        "since": _time(stats.state_since_ns),
        "last_good": _time(stats.last_good_ns),
        "class": str(stats.last_class),
        "event": stats.last_event_id,
        "queued": stats.queued,
        "in_flight": stats.in_flight,
        "limit": stats.limit,
        "parked": stats.parked,
        "attempts": stats.attempts,
    }


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds") if ns else ""


def _acked(_refused: object, _record: object) -> None:
    """Nothing waits for a heartbeat; one that is refused is followed by the next."""
