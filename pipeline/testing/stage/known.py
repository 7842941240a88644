"""What a stage knows beside its records: tables that journeys may mark, its broker's memory topic and logs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pipeline.model import NOTHING, ConsentSaid, Known, Mark, Suppress, Unsuppress
from pipeline.testing.stage.broker import ACK_S, FETCH_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.model import Record, Rows
    from pipeline.ports import Acked, Clock, Tables
    from pipeline.testing.stage.broker import StageBroker

FRESH_S: Final = 2.0
"""How often a follower asks whether there is more (adapters/kafka/follower)."""


class StageTables:
    """Tables over others, if any: what is marked here is known here. Implements ports.Tables and ports.Marks."""

    def __init__(self, broker: StageBroker, below: Tables | None = None) -> None:
        self.of: dict[str, Known] = {}
        self._broker = broker
        self._below = below

    @property
    def erasures(self) -> bool:
        """See ports.Tables."""
        below = self._below is not None and self._below.erasures
        return below or any(known.erased_ms for known in self.of.values())

    def known(self, customer_id: str) -> Known:
        """See ports.Tables."""
        own = self.of.get(customer_id)
        if own is not None:
            return own
        return NOTHING if self._below is None else self._below.known(customer_id)

    def write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> bool:
        """See ports.Marks."""
        asyncio.get_running_loop().call_later(ACK_S, self._write, customer_id, mark, now_ms, acked)
        return True

    def _write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> None:
        self.of[customer_id] = marked(self.known(customer_id), mark, now_ms)
        acked(None, None)
        self._broker.changed.set()


def marked(known: Known, mark: Mark, now_ms: int) -> Known:
    """Return what is known of a customer once a mark was written."""
    if isinstance(mark, ConsentSaid):
        before = known.consent.get(mark.key)
        if before is not None and before.at_ms > mark.at_ms:
            return known
        return replace(known, consent={**known.consent, mark.key: mark})
    rest = tuple(each for each in known.suppressions if each.id != mark.id)
    if isinstance(mark, Unsuppress):
        return replace(known, suppressions=rest)
    assert isinstance(mark, Suppress)
    return replace(known, suppressions=(*rest, mark if mark.at_ms else replace(mark, at_ms=now_ms)))


class StageRows:
    """Rows of look-ups, the same for every customer: a stage has the one of its event. Implements ports.Lookups."""

    def __init__(self) -> None:
        self.of: Rows = {}

    def rows(self, customer_id: str, names: tuple[str, ...], lag_max_ms: int) -> Rows | None:
        """See ports.Lookups."""
        del customer_id, lag_max_ms
        return {name: self.of.get(name, {}) for name in names}


class StageFollower:
    """Reads the memory topic of a broker in memory, and on. Implements run/memory's Follower."""

    def __init__(self, broker: StageBroker, topic: str, clock: Clock) -> None:
        self.silent = False
        """Whether the broker does not answer it: nothing is read, and nothing known to be whole."""
        self._broker = broker
        self._topic = topic
        self._clock = clock
        self._at: dict[int, int] = {}
        self._inbox: Callable[[list[Record]], None] | None = None
        self._whole: Callable[[int, int], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, inbox: Callable[[list[Record]], None], whole: Callable[[int, int], None]) -> None:
        """See run/memory."""
        self._inbox, self._whole = inbox, whole

    def live(self) -> None:
        """Go on reading what is appended: there are others that write."""
        self._broker.told.append(self._appended)
        self._look()

    def follow(self, partition: int) -> None:
        """See run/memory."""
        self._at.setdefault(partition, 0)
        asyncio.get_running_loop().call_later(FETCH_S, self._read, partition)

    def _appended(self, record: Record) -> None:
        if record.topic == self._topic and record.partition in self._at:
            asyncio.get_running_loop().call_later(FETCH_S, self._read, record.partition)

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(FRESH_S, self._look)
        for partition in tuple(self._at):
            self._read(partition)

    def _read(self, partition: int) -> None:
        at = self._at.get(partition)
        if at is None or self.silent or self._inbox is None or self._whole is None:
            return
        records = self._broker.logs[self._topic, partition].after(at)
        if records:
            self._at[partition] = records[-1].offset + 1
            self._inbox(records)
        self._whole(partition, self._clock())

    def leave(self, partition: int) -> None:
        """See run/memory."""
        self._at.pop(partition, None)

    async def stop(self) -> None:
        """See run/memory."""
        self._at.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._broker.told.remove(self._appended)
            self._timer = None


class StageLogs:
    """Looks back into the logs of a broker in memory. Implements run/past's LogReader."""

    def __init__(self, broker: StageBroker) -> None:
        self._broker = broker

    async def read(self, topic: str, partition: int, first: int, note: Callable[[Record], None]) -> None:
        """See run/past."""
        end = self._broker.logs[topic, partition].end
        await asyncio.sleep(FETCH_S)
        for record in self._broker.logs[topic, partition].after(first):
            if record.offset < end:
                note(record)
