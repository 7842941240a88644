"""Reads both topics once, for a command that asks what the tables say now and then ends."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from pipeline.adapters.tables.store import Store
from pipeline.core import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pipeline.adapters.tables.records import Records
    from pipeline.model import Known, Record

BATCH_RECORDS: Final = 1_000
"""Records written to the file at once."""


class OnceTables:
    """The tables in a file of their own, made at `path`. Implements ports.Tables; what was read is never stale."""

    def __init__(self, path: Path, records: Records) -> None:
        self._store = Store(path, create=True)
        self._records = records

    def read(self, source: Iterable[Record]) -> None:
        """Take over a topic's records, in order. Blocks. Raises BrokerError for one whose schema nobody tells now."""
        remaining: Iterator[Record] = iter(source)
        while batch := list(islice(remaining, BATCH_RECORDS)):
            changes = [change for record in batch if (change := self._records.change(record)) is not None]
            self._store.apply(changes, {})

    @property
    def erasures(self) -> bool:
        """See ports.Tables."""
        return self._store.erasures()

    def known(self, customer_id: str) -> Known:
        """See ports.Tables."""
        return tables.known(self._store.entries(customer_id), 0)

    def close(self) -> None:
        """Close the file; idempotent."""
        self._store.close()
