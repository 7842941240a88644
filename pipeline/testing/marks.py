"""Fake of ports.Marks: what is marked is in the FakeTables at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.core import tables
from pipeline.model import NOTHING, ConsentSaid, Suppress

if TYPE_CHECKING:
    from pipeline.model import Mark
    from pipeline.ports import Acked
    from pipeline.testing.fakes import FakeTables


class FakeMarks:
    """Tables that are written to. `holding` keeps acks back until `ack`. Implements ports.Marks."""

    def __init__(self, tables_: FakeTables) -> None:
        self.written: list[tuple[str, Mark]] = []
        self.holding = False
        self._tables = tables_
        self._unacked: list[Acked] = []

    def write(self, customer_id: str, mark: Mark, now_ms: int, acked: Acked) -> bool:
        """See ports.Marks."""
        if tables.written(customer_id, mark, now_ms) is None:
            return False
        self.written.append((customer_id, mark))
        known = self._tables.of.get(customer_id, NOTHING)
        if isinstance(mark, ConsentSaid):
            word = known.consent.get(mark.key)
            if word is None or word.at_ms <= mark.at_ms:
                known = replace(known, consent={**known.consent, mark.key: mark})
        else:
            kept = [each for each in known.suppressions if each.id != mark.id]
            if isinstance(mark, Suppress):
                kept.append(mark if mark.at_ms else replace(mark, at_ms=now_ms))
            known = replace(known, suppressions=tuple(kept))
        self._tables.of[customer_id] = known
        self._unacked.append(acked)
        if not self.holding:
            asyncio.get_running_loop().call_soon(self.ack)
        return True

    def ack(self) -> None:
        """Acknowledge all that is not."""
        unacked, self._unacked = self._unacked, []
        for acked in unacked:
            acked(None, None)
