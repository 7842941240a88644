"""Decides whether every committed position is accounted for, from outcome rows, ledger rows and committed offsets.

Everything is a set, so a repeated row changes nothing: committed positions = positions the ledger calls empty +
positions with all their deliveries. Each delivery counts as exactly one outcome (see `rows`). Outcomes carry their
event's number of deliveries, so that a missing one shows. If a crash had a position processed again under a changed
configuration, one complete set of deliveries is enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.account.balance import (
    ACK_SPREAD_MS,
    ALWAYS_MS,
    NAMED_MAX,
    OVERDUE_MS,
    Missing,
    Part,
    Report,
    Tally,
)
from pipeline.core.account.rows import LedgerLike, OutcomeLike, PartitionRows, Reasons, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ACK_SPREAD_MS", "ALWAYS_MS", "NAMED_MAX", "OVERDUE_MS", "Account", "Missing", "Part", "Report", "Waiting"]

_Position = tuple[str, int]


class Account:
    """Collects rows in any order, then judges. About 200 bytes a delivery. Owner: the `account` command."""

    def __init__(self) -> None:
        self._partitions: dict[_Position, PartitionRows] = {}
        self._reasons = Reasons()
        self._rows = 0
        self._unreadable = 0

    def outcome(self, row: OutcomeLike) -> None:
        """Take note of one outcome row."""
        self._rows += 1
        self._partition(row.topic, row.partition).outcome(row, self._reasons)

    def ledger(self, row: LedgerLike) -> None:
        """Take note of one ledger row."""
        self._rows += 1
        self._partition(row.topic, row.partition).ledger(row)

    def unreadable(self) -> None:
        """Take note of a record that is neither."""
        self._rows += 1
        self._unreadable += 1

    def report(
        self,
        committed: Mapping[_Position, int],
        begins: Mapping[_Position, int],
        now_ms: int,
        from_ms: int = 0,
        retries_settled_at_ms: int = 0,
        until_ms: int = ALWAYS_MS,
        named_max: int = NAMED_MAX,
    ) -> Report:
        """Judge the positions below the committed offsets, which must have been asked for before the rows were read.

        `begins` has the first offset still on the input topics: what is outside is counted from there.
        `from_ms`: older rows may be gone or left out, so what older ledgers cover is outside; 0: all rows were read.
        `until_ms`: what was committed later is outside, too. Windows that follow each other have every position once.
        `retries_settled_at_ms`: a moment before the reading at which no retry record was unsettled; 0: none is known.
        """
        tally = Tally(self._reasons, now_ms, retries_settled_at_ms - ACK_SPREAD_MS, named_max)
        for place in sorted(committed.keys() | self._partitions.keys()):
            read = self._partitions.get(place) or PartitionRows()
            begin = begins.get(place, 0)
            tally.judge(place, read, committed.get(place, 0), begin, from_ms=from_ms, until_ms=until_ms)
        repeats = sum(each.repeats() for each in self._partitions.values())
        return tally.report(repeats, self._rows, self._unreadable)

    def _partition(self, topic: str, number: int) -> PartitionRows:
        found = self._partitions.get((topic, number))
        if found is None:
            found = self._partitions[topic, number] = PartitionRows()
        return found
