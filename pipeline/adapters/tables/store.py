"""Keeps both tables in one SQLite file that one process writes while others read.

SQLite rather than LMDB, whose look-ups are 3 µs faster: a file cut short ends a process that has it mapped into memory,
where SQLite answers with an error. Customers are kept under a hash of their ID. What a record says and where reading
has come to are written in one transaction. See docs/decisions/0020-tables.md.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

FORMAT: Final = 1
"""Version of the file; a file of another one is thrown away."""
HASH_BYTES: Final = 16
"""Of SHA-256 over a customer ID: two customers share one by accident in 2**64."""
BUSY_S: Final = 1.0
"""Longest wait for another process that is recovering the file."""

_LASTS: Final = "pragma synchronous = normal"
"""With a write-ahead log a power cut then takes the newest changes, and damages nothing."""
_MADE: Final = """
create table entry(
  customer blob not null, part integer not null, name blob not null, content blob not null, crc integer not null,
  primary key(customer, part, name)) without rowid;
create index erased on entry(customer) where part = 1 and name = cast('hookline:erased' as blob);
create table position(topic text, part integer, next integer not null, primary key(topic, part)) without rowid;
create table fact(name text primary key, content text not null) without rowid;
"""
_LOOK_UP: Final = "select part, name, content, crc from entry where customer = ?"
_ERASED: Final = "select 1 from entry where part = 1 and name = cast('hookline:erased' as blob) limit 1"
_ONE: Final = "select content from entry where customer = ? and part = ? and name = ?"
_PUT: Final = "insert or replace into entry values(?, ?, ?, ?, ?)"
_TAKE: Final = "delete from entry where customer = ? and part = ? and name = ?"
_PLACE: Final = "insert or replace into position values(?, ?, ?)"
_FACT: Final = "insert or replace into fact values(?, ?)"
_DAMAGE: Final = {
    sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
}  # fmt: skip
"""Primary result codes that say the file is not what it should be; others say that it cannot be reached now."""

_RAISED: Final = (sqlite3.Error, UnicodeDecodeError, MemoryError)

Change = tuple[bytes, int, bytes, "bytes | Callable[[bytes | None], bytes | None] | None"]
"""`(customer ID, table, entry, content)`; content None takes the entry away, a function makes it of what was kept."""


class DamagedError(Exception):
    """The file is not what we wrote: to be thrown away and read anew."""


class BusyError(Exception):
    """The file cannot be read or written now: a full disk, a lock, no permission."""


def hashed(customer_id: bytes) -> bytes:
    """Return what a customer is kept under."""
    return hashlib.sha256(customer_id).digest()[:HASH_BYTES]


@contextmanager
def _judged() -> Iterator[None]:
    """Translate what SQLite raises."""
    try:
        yield
    except _RAISED as error:
        raise _meaning(error) from None


def _meaning(error: Exception) -> DamagedError | BusyError:
    # Errors without a code are the module's own, about texts in the file that are not UTF-8 or sizes beyond memory.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    damaged = code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in _DAMAGE
    return (DamagedError if damaged else BusyError)(getattr(error, "sqlite_errorname", type(error).__name__))


def _checksum(customer: bytes, part: int, name: bytes, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(name, zlib.crc32(customer, part)))


class Store:
    """One file, opened in one thread. All methods raise DamagedError and BusyError; none waits longer than BUSY_S."""

    def __init__(self, path: Path, *, create: bool = False) -> None:
        """Open it, or make it new and empty. Raises DamagedError if it is none, or of another format."""
        self.path = path
        with _judged():
            mode = "rwc" if create else "rw"
            self._file = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", BUSY_S, isolation_level=None, uri=True
            )
            try:
                self._prepare(create=create)
            except BaseException:  # whatever it was goes on its way; nobody else knows the open file
                self._file.close()
                raise
        self._execute: Callable[..., sqlite3.Cursor] = self._file.execute

    def _prepare(self, *, create: bool) -> None:
        execute = self._file.execute
        if create:
            # Filled without waiting for the disk, many times as fast; whoever fills it says when it is to last: `keep`.
            execute("pragma synchronous = off")
            self.path.chmod(0o600)
            execute("pragma journal_mode = wal")
            self._file.executescript(f"begin; {_MADE} pragma user_version = {FORMAT}; commit;")
            return
        execute(_LASTS)
        if execute("pragma user_version").fetchone() != (FORMAT,):
            raise DamagedError("another format")

    # ------------------------------------------------------------------------------------------------- reading

    def customers(self, most: int) -> frozenset[bytes] | None:
        """Return the hashes of all customers with an entry; None if there are more entries than `most`."""
        with _judged():
            rows = self._execute("select customer from entry limit ?", (most + 1,)).fetchall()
        return None if len(rows) > most else frozenset(customer for (customer,) in rows)

    def entries(self, customer_id: str) -> list[tuple[int, bytes, bytes]]:
        """Return (table, name, content) of a customer's entries; 5 µs, and what the disk takes."""
        return self.of(hashed(customer_id.encode("utf-8", "replace")))

    def of(self, customer: bytes) -> list[tuple[int, bytes, bytes]]:
        """Return the same by the hash of the customer's ID."""
        try:  # written out: asked for every event
            rows: list[tuple[int, bytes, bytes, int]] = self._execute(_LOOK_UP, (customer,)).fetchall()
        except _RAISED as error:
            raise _meaning(error) from None
        for part, name, content, crc in rows:
            try:
                whole = _checksum(customer, part, name, content) == crc
            except (TypeError, OverflowError):  # not even of the types they were written as
                whole = False
            if not whole:
                raise DamagedError("checksum")
        return [row[:3] for row in rows] if rows else []

    def begin(self) -> int:
        """Look at the file as it is now until `end`; return a number that is another one after every change of it.

        Look-ups then cost half: the file is not locked for each.
        """
        try:
            self._execute("begin")
            version: int = self._execute("pragma data_version").fetchone()[0]
        except _RAISED as error:
            raise _meaning(error) from None
        return version

    def end(self) -> None:
        """Look at the file as it will be at the next look-up."""
        try:
            self._execute("commit")
        except _RAISED as error:
            raise _meaning(error) from None

    def erasures(self) -> bool:
        """Whether anybody is erased."""
        with _judged():
            return self._execute(_ERASED).fetchone() is not None

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the next offset to be read, by topic and partition."""
        with _judged():
            found = {(topic, part): after for topic, part, after in self._execute("select * from position")}
        if not all(isinstance(after, int) for after in found.values()):
            raise DamagedError("position")
        return found

    def fact(self, name: str) -> str:
        """Return something kept about the file, "" if it is not."""
        with _judged():
            row = self._execute("select content from fact where name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def check(self) -> None:
        """Look at every page; a second for about a gigabyte. Raises DamagedError."""
        with _judged():
            found = self._execute("pragma quick_check(1)").fetchone()
        if found != ("ok",):
            raise DamagedError("quick_check")

    def count(self) -> int:
        """Count entries."""
        with _judged():
            return int(self._execute("select count(*) from entry").fetchone()[0])

    # ------------------------------------------------------------------------------------------------- writing

    def apply(self, changes: Iterable[Change], positions: Mapping[tuple[str, int], int]) -> None:
        """Write changes in order, and how far they go: all or nothing."""
        with self._transaction():
            for customer_id, part, name, content in changes:
                customer = hashed(customer_id)
                if callable(content):
                    row = self._execute(_ONE, (customer, part, name)).fetchone()
                    content = content(row[0] if row else None)  # noqa: PLW2901 - what it stands for
                if content is None:
                    self._execute(_TAKE, (customer, part, name))
                else:
                    crc = _checksum(customer, part, name, content)
                    self._execute(_PUT, (customer, part, name, content, crc))
            for (topic, part), after in positions.items():
                self._execute(_PLACE, (topic, part, after))

    def note(self, **facts: str) -> None:
        """Keep facts about the file, all or none."""
        with self._transaction():
            for item in facts.items():
                self._execute(_FACT, item)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _judged():
            self._execute("begin immediate")
            try:
                yield
                self._execute("commit")
            except BaseException:  # all or nothing, whatever broke off what is done within
                if self._file.in_transaction:
                    self._execute("rollback")
                raise

    def keep(self) -> None:
        """Make what is in a new file outlast a power cut, now and from now on; waits for the disk."""
        with _judged():
            self._execute(_LASTS)
        self.note(kept="yes")  # so that there is something to move, and the whole file is synced after it
        with _judged():
            self._execute("pragma wal_checkpoint(truncate)").fetchall()

    def copy(self, path: Path) -> None:
        """Write what is in it into a new file, and wait until the disk has that; a second for some 200 MB.

        Works beside a process that stands still in the middle of writing: what that had not finished is left out.
        """
        path.touch(mode=0o600)
        with _judged(), closing(sqlite3.connect(path)) as made:
            self._file.backup(made)

    def close(self) -> None:
        """Close it; idempotent."""
        self._file.close()
