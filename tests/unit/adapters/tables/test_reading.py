"""What a worker answers from the file: nothing it cannot read counts as an answer."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.tables.folder import Folder
from pipeline.adapters.tables.reading import FEW, NEVER_MS, FileTables
from pipeline.adapters.tables.store import Store
from pipeline.core.tables import CONSENT, SUPPRESSION
from pipeline.model import ConsentSaid
from pipeline.testing.fakes import FakeClock
from tests.support.conditions import eventually
from tests.support.tables import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW_MS = 1_700_000_000_000
GRANTED = b'[["email",true,5]]'


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    assert made.lock()
    yield made
    made.unlock()


@pytest.fixture
def log() -> Lines:
    return Lines()


def file(folder: Folder, caught_up_ms: int = NOW_MS, customers: int = 1) -> Store:
    store = Store(folder.fresh(), create=True)
    store.apply([(b"c-%d" % each, CONSENT, b"", GRANTED) for each in range(customers)], {("t", 0): 3})
    store.note(caught_up_ms=str(caught_up_ms))
    folder.turn_to(store.path)
    return store


@pytest.fixture
async def tables(folder: Folder, log: Lines):
    made = FileTables(folder, FakeClock(NOW_MS), log)
    yield made
    made.close()
    made.close()


async def test_without_a_file_it_is_stale_and_a_file_is_found_later(tables: FileTables, folder: Folder):
    tables.start()
    assert tables.known("c-0").stale_ms == NEVER_MS
    assert not tables.has("t", 0, 0)
    store = file(folder)
    async with asyncio.timeout(10):
        await tables.whole()
    known = tables.known("c-0")
    assert (known.consent, known.stale_ms) == ({"email": ConsentSaid("email", True, 5)}, 0)
    assert tables.known("c-9").consent == {}
    assert (tables.has("t", 0, 2), tables.has("t", 0, 3), tables.has("t", 1, 0)) == (True, False, False)
    store.close()


async def test_a_table_nobody_keeps_up_grows_stale_and_so_does_a_clock_put_back(tables: FileTables, folder: Folder):
    file(folder).close()
    tables.start()
    tables._clock.advance(45_000)  # type: ignore[attr-defined]
    assert tables.known("c-0").stale_ms == tables.known("nobody").stale_ms == 45_000
    tables._clock.advance(-3_645_000)  # type: ignore[attr-defined]
    assert tables.known("c-0").stale_ms == tables.known("nobody").stale_ms == 3_600_000


async def test_the_first_reading_counts_for_nothing_until_it_is_done(tables: FileTables, folder: Folder):
    store = file(folder, caught_up_ms=0)
    tables.start()
    assert tables.known("c-0").stale_ms > 10**12
    store.note(caught_up_ms=str(NOW_MS))
    await eventually(lambda: tables.known("c-0").stale_ms == 0)
    store.close()


async def test_a_damaged_file_holds_and_is_reported_to_whoever_follows(tables: FileTables, folder: Folder, log: Lines):
    store = file(folder, customers=3_000)
    store.close()
    tables.start()
    assert tables.known("c-7").consent
    os.truncate(store.path, 30_100)
    for each in range(3_000):
        if each % 100 == 0:
            await asyncio.sleep(0)  # what a turn looks at stays what it was at its beginning
        known = tables.known(f"c-{each}")
        assert known.stale_ms == NEVER_MS or known.consent, "never an answer as if nobody had said anything"
    assert folder.accused(store.path)
    assert len(log.of("tables_damaged")) == 1
    again = file(folder)
    await eventually(lambda: tables.known("c-0").stale_ms == 0)
    again.close()


async def test_a_file_of_a_newer_follower_is_turned_to(tables: FileTables, folder: Folder):
    first = file(folder)
    tables.start()
    first.close()
    second = file(folder, customers=2)
    await eventually(lambda: bool(tables.known("c-1").consent))
    second.close()


async def test_the_look_ups_of_a_turn_see_one_state_and_those_of_the_next_what_was_written_since(
    tables: FileTables, folder: Folder
):
    store = file(folder, customers=2)
    tables.start()
    assert tables.known("c-0").consent["email"].granted
    store.apply([(b"c-%d" % each, CONSENT, b"", b'[["email",false,6]]') for each in range(2)], {("t", 0): 4})
    assert tables.known("c-1").consent["email"].granted, "as of the first look-up"
    assert not tables.has("t", 0, 3), "and a mark is not taken for seen before it is"
    await asyncio.sleep(0)
    assert not tables.known("c-0").consent["email"].granted
    assert not tables.known("c-1").consent["email"].granted
    assert tables.has("t", 0, 3)
    store.close()


@pytest.mark.parametrize("customers", [3, FEW + 1])
async def test_who_is_entered_is_found_from_the_next_turn_on_whether_they_are_few_or_many(
    tables: FileTables, folder: Folder, customers: int
):
    store = file(folder, customers=customers)
    tables.start()
    assert (tables._few is None) == (customers > FEW)
    assert tables.known("late").consent == {}
    store.apply([(b"late", CONSENT, b"", b'[["email",false,6]]')], {})
    await asyncio.sleep(0)
    assert not tables.known("late").consent["email"].granted, "before anybody looked who is entered now"
    await eventually(lambda: tables._few is None or len(tables._few) == customers + 1)
    assert not tables.known("late").consent["email"].granted
    store.apply([(b"late", CONSENT, b"", None)], {})
    await asyncio.sleep(0)
    assert tables.known("late").consent == {}
    store.close()


async def test_nobody_is_looked_up_who_is_not_among_the_few(tables: FileTables, folder: Folder, monkeypatch):
    file(folder, customers=3).close()
    tables.start()
    asked: list[bytes] = []
    of = tables._store.of
    monkeypatch.setattr(tables._store, "of", lambda customer: asked.append(customer) or of(customer))
    assert [len(tables.known(name).consent) for name in ("c-0", "c-9", "c-2")] == [1, 0, 1]
    assert len(asked) == 2


async def test_a_file_that_is_turned_away_from_in_the_middle_of_a_turn_is_done_with(tables: FileTables, folder: Folder):
    file(folder).close()
    tables.start()
    assert tables.known("c-0").consent
    second = file(folder, customers=2)
    tables._look()
    assert tables.known("c-1").consent
    await asyncio.sleep(0)
    second.apply([(b"c-1", CONSENT, b"", None)], {})
    assert tables.known("c-1").consent == {}
    second.close()


async def test_whether_anybody_is_erased_is_known_without_a_look_up(tables: FileTables, folder: Folder):
    assert tables.erasures, "nothing is known yet"
    store = file(folder)
    tables.start()
    assert not tables.erasures
    store.apply([(b"c-0", SUPPRESSION, b"hookline:erased", b'["erased","","","",0,5]')], {})
    await eventually(lambda: tables.erasures)
    assert tables.known("c-0").erased_ms == 5
    store.apply([(b"c-0", SUPPRESSION, b"hookline:erased", None)], {})
    await eventually(lambda: not tables.erasures)
    store.note(caught_up_ms="0")
    await eventually(lambda: tables.erasures)
    store.close()


async def test_a_file_somebody_removed_holds(tables: FileTables, folder: Folder):
    store = file(folder)
    store.close()
    tables.start()
    for path in folder.path.glob("*"):
        path.unlink()
    await eventually(lambda: tables.known("c-0").stale_ms == NEVER_MS)
