"""Keeps what other systems know of customers: a topic's records as rows, and the answer which row a customer has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from pipeline.adapters.tables.reading import FileTables
from pipeline.adapters.tables.records import Writers
from pipeline.adapters.tables.store import BusyError, DamagedError
from pipeline.core import decode, types
from pipeline.model import ABSENT, Broken, Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.adapters.tables.store import Change
    from pipeline.model import Datum, Record, SchemaRef
    from pipeline.ports import Found, Unknown, Unreachable

TABLE: Final = 0
"""A file has one look-up: its rows are table 0."""
_NO_ROW: Final[Mapping[str, object]] = {}


class RowRecords:
    """Turns records of a look-up's topic into changes of its file. A record that cannot be read leaves no row.

    `row` makes a row of a record in its JSON form. `fetch` finds a writer schema and may block; one that nobody can be
    asked about now raises BrokerError.
    """

    def __init__(
        self,
        row: Callable[[object], Mapping[str, object] | Broken],
        fetch: Callable[[SchemaRef], Found | Unknown | Unreachable],
        log: Callable[..., None],
    ) -> None:
        self._row = row
        self._writers = Writers(fetch, lambda _topic, schema: _plain(schema), log)

    @property
    def unreadable(self) -> int:
        """Records met that could not be read."""
        return self._writers.unreadable

    def change(self, record: Record) -> Change | None:
        """Return what a record changes; None for one whose key names no customer. Raises BrokerError, see above."""
        if not record.key:
            self._writers.tell(record, "names no customer")
            return None
        if record.value is None:
            return record.key, TABLE, b"", None
        made = self._made(record, record.value)
        if isinstance(made, str):
            self._writers.tell(record, made)
            return record.key, TABLE, b"", None
        return record.key, TABLE, b"", orjson.dumps(made)

    def _made(self, record: Record, content: bytes) -> Mapping[str, object] | str:
        """Return the row of a record, or in a word why it has none: places and kinds, never a value."""
        plain = self._writers.read(record, content)
        if isinstance(plain, Undecodable):
            return plain.detail
        row = self._row(plain)
        return row.detail if isinstance(row, Broken) else row


def _plain(schema: object) -> Callable[[bytes, int], object]:
    """Return what reads a record of a writer schema in its JSON form; Undecodable for one that is damaged."""
    read: Callable[[bytes, int], Datum | Undecodable] = decode.reader(schema, None)
    found = types.find(types.tree(schema), ())
    if not isinstance(found, types.Found):
        return lambda _content, _start: Undecodable("is no record")
    get = types.getter(found, types.JSON)

    def plain(content: bytes, start: int) -> object:
        datum = read(content, start)
        if isinstance(datum, Undecodable):
            return datum
        made = get(datum, 0)
        return {} if made is ABSENT else made

    return plain


class FileRows(FileTables):
    """Answers which row of one look-up a customer has. Lives on the loop; a look-up takes 5 µs."""

    def row(self, customer_id: str, lag_max_ms: int) -> Mapping[str, object] | None:
        """Return the row, empty if there is none; None while it may be further behind than `lag_max_ms`."""
        if self._store is None or self.stale_ms() > lag_max_ms:
            return None
        try:
            entries = self._store.entries(customer_id)
        except (DamagedError, BusyError) as error:
            self._failed(error)
            return None
        if not entries:
            return _NO_ROW
        row: Mapping[str, object] = orjson.loads(entries[0][2])
        return row
