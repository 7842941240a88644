"""Keeps the records Kafka refused, and writes them again until it takes them; what waits for their acks waits on.

A refusal may pass: a quota or an ACL is corrected, a topic made anew, its `max.message.bytes` raised. Until then the
worker takes nothing more up, and loses nothing. What is produced for such a topic meanwhile queues here, behind what
was refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from pipeline.ports import Halt

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import KafkaError, Message

    from pipeline.ports import Acked, Headers

AGAIN_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits before a refused record is written again; the last one repeats."""

Unwritten = tuple["bytes | None", "bytes | None", "Headers", "Acked", int]
"""Key, value, headers, who waits for the ack, partition."""


class _Topic:
    """What one topic has not taken. `burst` is how many are written at once; it grows while they are taken.

    A refusal may be about the size of a whole batch: then fewer are written together, at the end each by itself.
    """

    __slots__ = ("burst", "burst_max", "code", "look_ms", "records", "refused", "since_ms", "tries", "under_way")

    def __init__(self, code: str, now_ms: int) -> None:
        self.records: deque[Unwritten] = deque()
        self.code = code
        self.since_ms = now_ms
        self.look_ms = 0
        self.tries = 0
        self.burst = 1
        self.burst_max = 1 << 14
        self.under_way = 0
        self.refused: list[Unwritten] = []  # of the burst under way


class Refused:
    """Of one producer. All calls on the loop. `write` queues a record for Kafka; it says why if it cannot."""

    def __init__(self, write: Callable[[str, Unwritten], KafkaError | None], log: Callable[..., None]) -> None:
        self.topics: dict[str, _Topic] = {}
        """By name, those that have not taken everything: asked before each record is produced."""
        self._write = write
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return sum(len(each.records) + each.under_way for each in self.topics.values())

    def keep(self, topic: str, record: Unwritten, error: KafkaError) -> None:
        """Keep a record that was refused; it is written again after a while."""
        kept = self.topics.get(topic)
        if kept is None:
            kept = self.topics[topic] = _Topic(error.name(), _now_ms())
            self._log("error", "writes_refused", topic=topic, code=error.name(), remedy="hookline topics check")
            self._wait(topic, kept)
        kept.records.append(record)

    def queue(self, topic: str, record: Unwritten) -> None:
        """Let a record wait behind those that were refused."""
        self.topics[topic].records.append(record)

    def halts(self) -> list[Halt]:
        """Say which topics do not take what is written, and why. May be called in any thread."""
        return [
            Halt(f"writing to {topic}", each.since_ms, f"Kafka refuses it: {each.code}", each.look_ms)
            for topic, each in tuple(self.topics.items())
        ]

    def close(self) -> None:
        """Write nothing again: what was not taken stays unacked."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _wait(self, topic: str, kept: _Topic) -> None:
        wait_s = AGAIN_S[min(kept.tries, len(AGAIN_S) - 1)]
        kept.tries += 1
        kept.look_ms = _now_ms() + round(wait_s * 1_000)
        self._timers[topic] = self._loop.call_later(wait_s, self._burst, topic, kept)

    def _burst(self, topic: str, kept: _Topic) -> None:
        """Write some of what waits; what comes of it decides how much is next, and when."""
        self._timers.pop(topic, None)
        some = [kept.records.popleft() for _ in range(min(kept.burst, len(kept.records)))]
        kept.under_way = len(some)
        for record in some:
            key, content, headers, _, partition = record

            def answered(why: KafkaError | None, message: Message, record: Unwritten = record) -> None:
                self._answered(topic, kept, record, why, message)

            error = self._write(topic, (key, content, headers, answered, partition))  # type: ignore[arg-type]
            if error is not None:
                self._loop.call_soon(self._answered, topic, kept, record, error, None)

    def _answered(
        self, topic: str, kept: _Topic, record: Unwritten, why: KafkaError | None, message: Message | None
    ) -> None:
        kept.under_way -= 1
        if why is None:
            record[3](None, message)
        else:
            kept.code = why.name()
            kept.refused.append(record)
        if kept.under_way:
            return
        refused, kept.refused = kept.refused, []
        kept.records.extendleft(reversed(refused))
        if not refused:
            kept.tries, kept.burst = 0, min(2 * kept.burst, kept.burst_max)
        elif kept.burst == 1:
            self._wait(topic, kept)
            return
        else:
            kept.burst, kept.burst_max = 1, max(kept.burst // 2, 1)
        if kept.records:
            self._burst(topic, kept)
        else:
            del self.topics[topic]
            self._log("info", "writes_resumed", topic=topic)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
