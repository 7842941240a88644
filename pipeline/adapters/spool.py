"""Keeps records on disk and gives them back in the order of their timestamps, whatever order they were read in.

In a private temporary file of SQLite, which is gone once it is closed, however the process ends.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Final

from pipeline.model import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH_RECORDS: Final = 500
"""Records in memory at a time."""


class Spool:
    """Records by time. Blocks on the disk; needs as much of it as the records are large."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute(
            "create table record (at integer, topic text, part integer, offset integer, key blob, content blob,"
            " headers text)"
        )
        self._file.execute("begin")
        self.count = 0

    def add(self, record: Record) -> None:
        """Keep one record."""
        headers = [(name, None if each is None else b64encode(each).decode()) for name, each in record.headers]
        row = (
            record.timestamp_ms, record.topic, record.partition, record.offset, record.key, record.value,
            json.dumps(headers) if headers else "",
        )  # fmt: skip
        self._file.execute("insert into record values (?, ?, ?, ?, ?, ?, ?)", row)
        self.count += 1

    def batches(self) -> Iterator[list[Record]]:
        """Yield all records, oldest first; those of one moment by topic, partition and offset."""
        rows = self._file.execute("select * from record order by at, topic, part, offset")
        while found := rows.fetchmany(BATCH_RECORDS):
            yield [
                Record(topic, part, offset, key, content, tuple(_headers(headers)), at)
                for at, topic, part, offset, key, content, headers in found
            ]

    def close(self) -> None:
        """Forget everything; idempotent."""
        self._file.close()


def _headers(text: str) -> Iterable[tuple[str, bytes | None]]:
    for name, each in json.loads(text) if text else ():
        yield name, None if each is None else b64decode(each)
