"""The file of the tables: all or nothing, and damage is an error, never a crash and never a wrong answer."""

from __future__ import annotations

import os
import random
import sqlite3
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.tables.store import BusyError, DamagedError, Store, hashed

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 3_000


def filled(path: Path) -> Path:
    """A file with an entry for each of many customers; closed, so that all of it is in one file."""
    store = Store(path, create=True)
    store.apply([(b"c-%d" % each, 0, b"email", b"content %d" % each) for each in range(ROWS)], {("t", 0): ROWS})
    store.close()
    return path


@pytest.fixture
def store(tmp_path: Path):
    made = Store(tmp_path / "tables.db", create=True)
    yield made
    made.close()


def test_entries_are_found_by_customer(store: Store):
    store.apply([(b"a", 0, b"", b"1"), (b"a", 1, b"x", b"2"), (b"b", 0, b"", b"3"), (b"a", 0, b"", b"4")], {})
    assert sorted(store.entries("a")) == [(0, b"", b"4"), (1, b"x", b"2")]
    assert store.entries("b") == [(0, b"", b"3")]
    assert store.entries("c") == []
    store.apply([(b"a", 0, b"", None), (b"nobody", 0, b"", None)], {})
    assert store.entries("a") == [(1, b"x", b"2")]
    assert store.count() == 2


def test_content_may_be_made_of_what_was_kept(store: Store):
    seen = []

    def change(before: bytes | None) -> bytes | None:
        seen.append(before)
        return b"denied" if before else None

    store.apply([(b"a", 0, b"", change)], {})
    store.apply([(b"a", 0, b"", b"granted"), (b"a", 0, b"", change)], {})
    assert seen == [None, b"granted"]
    assert store.entries("a") == [(0, b"", b"denied")]


def test_no_customer_is_named_in_the_file(tmp_path: Path):
    store = Store(tmp_path / "tables.db", create=True)
    store.apply([(b"ann@example.org", 0, b"email", b"x")], {})
    store.close()
    assert b"ann@example" not in (tmp_path / "tables.db").read_bytes()
    assert hashed(b"ann@example.org") in (tmp_path / "tables.db").read_bytes()


def test_the_file_is_its_users_alone(store: Store):
    assert [oct(path.stat().st_mode & 0o777) for path in store.path.parent.iterdir()] == ["0o600"] * 3


def test_changes_and_positions_are_written_together_or_not_at_all(store: Store):
    store.apply([(b"a", 0, b"", b"1")], {("t", 0): 1})

    def broken(_before: bytes | None) -> bytes | None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.apply([(b"a", 0, b"", b"2"), (b"b", 0, b"", broken)], {("t", 0): 3})
    assert store.entries("a") == [(0, b"", b"1")]
    assert store.positions() == {("t", 0): 1}
    store.note(place="here")
    assert (store.fact("place"), store.fact("other")) == ("here", "")


def test_another_process_reads_while_one_writes(store: Store):
    reader = Store(store.path)
    assert reader.entries("a") == []
    store.apply([(b"a", 0, b"", b"1")], {("t", 0): 1})
    assert reader.entries("a") == [(0, b"", b"1")]
    reader.close()


def test_a_file_of_another_format_or_no_database_is_damaged(tmp_path: Path):
    path = filled(tmp_path / "tables.db")
    raw = sqlite3.connect(path)
    raw.execute("pragma user_version = 99")
    raw.close()
    with pytest.raises(DamagedError):
        Store(path)
    (tmp_path / "text").write_text("no database at all, but long enough to look like one" * 20)
    with pytest.raises(DamagedError):
        Store(tmp_path / "text")


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path):
    with pytest.raises(BusyError):
        Store(tmp_path / "tables.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_damaged(tmp_path: Path, share: float):
    path = filled(tmp_path / "tables.db")
    store = Store(path)
    os.truncate(path, int(path.stat().st_size * share) // 512 * 512 + 100)
    with pytest.raises(DamagedError):  # noqa: PT012 - which look-up meets it first is of no matter
        store.check()
        for each in range(ROWS):
            store.entries(f"c-{each}")
    store.close()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_bytes_are_changed_no_answer_is_wrong(tmp_path: Path, seed: int):
    path = filled(tmp_path / "tables.db")
    chance = random.Random(seed)
    with path.open("r+b") as file:
        for _ in range(30):
            file.seek(chance.randrange(100, path.stat().st_size - 8))
            file.write(chance.randbytes(8))
    found = missing = 0
    try:
        store = Store(path)
    except DamagedError:
        return
    for each in range(ROWS):
        try:
            rows = store.entries(f"c-{each}")
        except DamagedError:
            continue
        missing += not rows
        found += bool(rows)
        assert rows in ([], [(0, b"email", b"content %d" % each)])
    if missing:
        with pytest.raises(DamagedError):
            store.check()
    store.close()


def test_a_full_disk_is_no_damage(store: Store):
    store.apply([(b"a", 0, b"", b"1")], {("t", 0): 1})
    store._file.execute("pragma max_page_count = 10")
    with pytest.raises(BusyError, match="SQLITE_FULL"):
        store.apply([(b"c-%d" % each, 0, b"", bytes(200)) for each in range(1_000)], {("t", 0): 1_001})
    assert store.positions() == {("t", 0): 1}
    assert store.entries("a") == [(0, b"", b"1")]


def test_a_filled_file_is_kept_whole_in_one_file(store: Store):
    store.apply([(b"a", 0, b"", b"1")], {("t", 0): 1})
    store.keep()
    assert store._file.execute("pragma synchronous").fetchone() == (1,)
    assert store.path.with_name(store.path.name + "-wal").stat().st_size == 0
    again = Store(store.path)
    assert again.entries("a") == [(0, b"", b"1")]
    assert again._file.execute("pragma synchronous").fetchone() == (1,)
    again.close()
