"""A worker's producer for a broker in memory: appends take a while, acks longer, and some are refused.

Of one partition what was queued first is appended and acknowledged first, as of an idempotent producer. What is refused
is kept and written again, and what is produced for that topic waits behind it (adapters/kafka/refused).
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from pipeline.testing.stage.broker import ACK_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ports import Acked, Headers
    from pipeline.testing.stage.broker import Place, StageBroker

RECORD_BYTES_MAX: Final = 1_048_576
AGAIN_S: Final = 1.0
"""How soon what was refused is written again."""
APART_S: Final = 1e-6
"""Least time between two appends to a partition: a loop's timers of one time fire in any order."""

Queued = tuple[str, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...], "Acked"]


class StageProducer:
    """Implements ports.Producer."""

    def __init__(self, broker: StageBroker, record_bytes_max: int = RECORD_BYTES_MAX) -> None:
        self._broker = broker
        self._record_bytes_max = record_bytes_max
        self.append_s: Callable[[], float] = lambda: ACK_S
        """How long the next record takes to be appended."""
        self.ack_s: Callable[[], float] = lambda: 0.0
        """How much later the worker hears of it: an ack that was lost comes once the client has asked again."""
        self.refuses: Callable[[str], object] = lambda _topic: None
        """Why the broker does not take the next record of a topic; None: it does."""
        self.dead: Callable[[], bool] | None = None
        """Once the worker is gone: whether the next record it had queued is appended all the same.

        Of a partition none is after one that was not. Nothing is acknowledged.
        """
        self._loop = asyncio.get_running_loop()
        self._unacked = 0
        self._appended_s: dict[Place, float] = {}
        self._acked_s: dict[Place, float] = {}
        self._kept: dict[str, deque[Queued]] = {}
        self._lost: set[Place] = set()
        self.refusals: list[object] = []

    def produce(
        self,
        topic: str,
        key: bytes | None,
        content: bytes | None,
        headers: Headers,
        acked: Acked,
        partition: int = -1,
    ) -> bool:
        """See ports.Producer."""
        size = len(key or b"") + len(content or b"") + sum(len(name) + len(each) for name, each in headers)
        if size > self._record_bytes_max:
            return False
        if partition < 0:
            partition = zlib.crc32(key or b"") % self._broker.partitions(topic)
        if self.dead is not None:
            return True
        self._unacked += 1
        queued = topic, partition, key, content, tuple(headers), acked
        if topic in self._kept:
            self._kept[topic].append(queued)
        else:
            self._queue(queued)
        return True

    def _queue(self, queued: Queued) -> None:
        at_s = self._after(self._appended_s, queued[:2], self.append_s())
        self._loop.call_at(at_s, self._append, queued)

    def _after(self, last_s: dict[Place, float], place: Place, wait_s: float) -> float:
        at_s = last_s[place] = max(last_s.get(place, 0.0) + APART_S, self._loop.time() + wait_s)
        return at_s

    def _append(self, queued: Queued) -> None:
        topic, partition, key, content, headers, _ = queued
        if self.dead is not None and ((topic, partition) in self._lost or not self.dead()):
            self._lost.add((topic, partition))
            return
        why = self.refuses(topic)
        if why is None:
            self._broker.append(topic, partition, key, content, headers)
        ack_s = self.ack_s()
        if ack_s <= 0.0 and (topic, partition) not in self._acked_s:
            self._ack(queued, why)
        else:
            self._loop.call_at(self._after(self._acked_s, (topic, partition), ack_s), self._ack, queued, why)

    def _ack(self, queued: Queued, why: object) -> None:
        if self.dead is not None:
            return
        self._unacked -= 1
        queued[-1](why, queued)
        self._broker.changed.set()

    def refused(self, why: object, record: object, acked: Acked) -> None:
        """See ports.Producer."""
        self.refusals.append(why)
        queued: Any = record
        self._unacked += 1
        if queued[0] not in self._kept:
            self._loop.call_later(AGAIN_S, self._again, queued[0])
        self._kept.setdefault(queued[0], deque()).append((*queued[:-1], acked))

    def _again(self, topic: str) -> None:
        """Write what was refused once more, unless it still would be."""
        if self.refuses(topic) is not None:
            self._loop.call_later(AGAIN_S, self._again, topic)
            return
        for queued in self._kept.pop(topic):
            self._queue(queued)

    def full(self) -> bool:
        """See ports.Producer."""
        return bool(self._kept)

    def partitions(self, topic: str) -> int:
        """See ports.Producer."""
        return self._broker.partitions(topic)

    async def flush(self, timeout_s: float) -> int:
        """See ports.Producer."""
        deadline_s = self._loop.time() + timeout_s
        while self._unacked and self._loop.time() < deadline_s:
            await asyncio.sleep(ACK_S)
        return self._unacked
