"""Keeps the outcomes topic's books as they are written: which positions are accounted for at which moment."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pipeline.core.outcome import LedgerRow, OutcomeRow, decode

if TYPE_CHECKING:
    from pipeline.model import Record
    from pipeline.testing.stage.broker import Place


class Books:
    """All rows in the order they were written, and what they come to."""

    def __init__(self) -> None:
        self.rows: list[OutcomeRow] = []
        self.ledgers: list[LedgerRow] = []
        self._seen: dict[tuple[Place, int], set[str]] = defaultdict(set)  # deliveries of a position
        self._done: dict[Place, set[int]] = defaultdict(set)
        self._covered: dict[Place, int] = defaultdict(int)
        self._checked: dict[Place, int] = defaultdict(int)

    def note(self, record: Record) -> None:
        """Take one record of the outcomes topic."""
        row = decode(record.value or b"")
        if isinstance(row, OutcomeRow):
            self.rows.append(row)
            place = row.topic, row.partition
            seen = self._seen[place, row.offset]
            seen.add(row.delivery_id)
            if len(seen) >= row.deliveries:
                self._done[place].add(row.offset)
        elif isinstance(row, LedgerRow):
            self.ledgers.append(row)
            place = row.topic, row.partition
            self._covered[place] = max(self._covered[place], row.next)
            for first, last, _ in row.empty:
                self._done[place].update(range(first, last + 1))

    def missing(self, place: Place, upto: int) -> str:
        """Say what is not accounted for of the positions below one that is committed; "" if nothing is missing."""
        if upto > self._covered[place]:
            return f"{place[0]}/{place[1]} was committed up to {upto} before its ledger was written"
        since, self._checked[place] = self._checked[place], max(self._checked[place], upto)
        for offset in range(since, upto):
            if offset not in self._done[place]:
                return f"{place[0]}/{place[1]}@{offset} was committed before what tells of it was written"
        return ""
