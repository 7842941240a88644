"""Writes what journeys mark: consent and suppressions, each as a record of its topic.

A mark is done once the file of this machine has it, so that the customer's next event on this machine is judged by it,
whichever worker takes it up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipeline.core import tables
from pipeline.model import ConsentSaid

if TYPE_CHECKING:
    from pipeline.model import Known, Mark
    from pipeline.ports import Acked, Producer

AGAIN_S: Final = 0.01
"""How often it is looked whether a mark is in the file."""
SEEN_S: Final = 5.0
"""Longest wait for that: a mark Kafka has is not lost, and tables that are so far behind hold by themselves."""


class _Tables(Protocol):
    def known(self, customer_id: str) -> Known: ...
    def has(self, topic: str, partition: int, offset: int) -> bool: ...


class KafkaMarks:
    """Implements ports.Marks. Lives on the loop. `topics` are those of consent and of suppressions."""

    def __init__(self, producer: Producer, topics: tuple[str, str], known: _Tables) -> None:
        self._producer = producer
        self._topics = topics
        self._tables = known
        self._unseen: deque[tuple[float, str, int, int, Acked]] = deque()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> bool:
        """See ports.Marks."""
        if isinstance(mark, ConsentSaid):
            word = self._tables.known(customer_id).consent.get(mark.key)
            if word is not None and word.at_ms > mark.at_ms:
                self._loop.call_soon(acked, None, None)  # the customer has said something newer
                return True
        record = tables.written(customer_id, mark, now_ms)
        if record is None:
            return False
        table, key, content = record
        topic = self._topics[table]
        return self._producer.produce(topic, key, content, [], partial(self._taken, topic, acked))

    def _taken(self, topic: str, acked: Acked, refused: object, message: Any) -> None:
        """Wait until the file has what the broker took."""
        if refused is not None:
            self._producer.refused(refused, message, partial(self._taken, topic, acked))
            return
        if message is None:  # of a fake
            acked(None, None)
            return
        until_s = self._loop.time() + SEEN_S
        self._unseen.append((until_s, topic, message.partition() or 0, message.offset() or 0, acked))
        if self._timer is None:
            self._timer = self._loop.call_later(0, self._look)

    def _look(self) -> None:
        """Settle what is in the file by now, or has waited long enough."""
        self._timer = None
        for _ in range(len(self._unseen)):
            until_s, topic, partition, offset, acked = each = self._unseen.popleft()
            if self._tables.has(topic, partition, offset) or self._loop.time() >= until_s:
                acked(None, None)
            else:
                self._unseen.append(each)
        if self._unseen:
            self._timer = self._loop.call_later(AGAIN_S, self._look)

    def close(self) -> None:
        """Look no more: what was not seen stays unsettled, and its event is done again."""
        if self._timer is not None:
            self._timer.cancel()
