"""Turns records of the two topics into changes of the file. A record that cannot be read becomes one that denies."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.core import decode, tables
from pipeline.errors import BrokerError
from pipeline.model import Undecodable
from pipeline.ports import Found, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.adapters.tables.store import Change
    from pipeline.model import Record, SchemaRef
    from pipeline.ports import Unknown

READERS_MAX: Final = 256
"""Writer schemas of one table whose readers are kept."""

Read: TypeAlias = "Callable[[bytes, int], Any | Undecodable]"


class Writers:
    """Finds what reads a record by its writer schema; counts and tells of records that cannot be read."""

    def __init__(
        self,
        fetch: Callable[[SchemaRef], Found | Unknown | Unreachable],
        make: Callable[[str, Any], Read],
        log: Callable[..., None],
    ) -> None:
        """`fetch` finds a writer schema and may block; `make(topic, schema)` what reads its records."""
        self.unreadable = 0
        """Records met that could not be read."""
        self._fetch = fetch
        self._make = make
        self._log = log
        self._readers: dict[tuple[str, SchemaRef], Read] = {}

    def read(self, record: Record, content: bytes) -> Any | Undecodable:
        """Read a record's value. Raises BrokerError while nobody can be asked about its schema."""
        found = decode.locate(content, record.headers)
        if isinstance(found, Undecodable):
            return found
        ref, start = found
        read = self._readers.get((record.topic, ref))
        if read is None:
            answer = self._fetch(ref)
            if isinstance(answer, Unreachable):
                raise BrokerError(f"a record of {record.topic} waits for its schema: {answer.detail}")
            if not isinstance(answer, Found):
                return Undecodable(answer.detail)
            if len(self._readers) >= READERS_MAX:
                self._readers.clear()
            read = self._readers[record.topic, ref] = self._make(record.topic, answer.schema)
        return read(content, start)

    def tell(self, record: Record, why: str) -> None:
        """Count and log a record that cannot be read: places and kinds, never a value."""
        self.unreadable += 1
        self._log(
            "warning", "table_record_unreadable", topic=record.topic, partition=record.partition, offset=record.offset,
            detail=why,
        )  # fmt: skip


class Records:
    """`topics` are those of consent and of suppressions; `schemas` the shapes they are read as.

    `fetch` finds a writer schema and may block; one that nobody can be asked about now raises BrokerError.
    """

    def __init__(
        self,
        topics: tuple[str, str],
        schemas: Sequence[Any],
        fetch: Callable[[SchemaRef], Found | Unknown | Unreachable],
        log: Callable[..., None],
    ) -> None:
        self._tables: Mapping[str, int] = {topic: table for table, topic in enumerate(topics)}
        self._writers = Writers(fetch, lambda topic, schema: decode.reader(schema, schemas[self._tables[topic]]), log)

    @property
    def unreadable(self) -> int:
        """Records met that could not be read."""
        return self._writers.unreadable

    def change(self, record: Record) -> Change | None:
        """Return what a record changes; None for one that names no customer. Raises BrokerError, see above."""
        table = self._tables[record.topic]
        whose = tables.split(record.key)
        if whose is None:
            self._writers.tell(record, "names no customer")
            return None
        customer, name = whose
        if record.value is None:
            if table == tables.SUPPRESSION:
                return customer, table, name, None
            return customer, table, name, partial(_gone, name, record.timestamp_ms)
        datum = self._writers.read(record, record.value)
        if isinstance(datum, Undecodable):
            self._writers.tell(record, datum.detail)
            return customer, table, name, tables.UNREADABLE
        return customer, table, name, tables.kept(table, datum)


def _gone(name: bytes, at_ms: int, before: bytes | None) -> bytes | None:
    return tables.gone(name, before, at_ms)
