"""What Tables and Marks promise, whoever implements them: the real ones on a real Kafka, and the fakes of tests."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.model import ConsentSaid, Suppress, Unsuppress
from pipeline.testing.fakes import FakeTables
from pipeline.testing.marks import FakeMarks
from tests.support.conditions import eventually
from tests.support.tables import FRESH_MS, Machine

NOW_MS = 1_700_000_000_000


@pytest.fixture(params=["fake", "real"])
async def made(request, tmp_path):
    """`(tables, marks)` of one worker."""
    if request.param == "fake":
        tables = FakeTables()
        yield tables, FakeMarks(tables)
        return
    topic_factory = request.getfixturevalue("topic_factory")
    topics = tuple(topic_factory(name, cleanup_policy="compact") for name in ("consent", "suppressions"))
    settings = {"bootstrap.servers": request.getfixturevalue("kafka").bootstrap}
    machine = Machine(tmp_path, settings, topics)
    worker = await machine.worker().ready()
    yield worker.tables, worker.marks
    machine.close()
    assert machine.errors == []


async def write(marks, customer_id: str, mark, now_ms: int = NOW_MS) -> None:
    acked = asyncio.get_running_loop().create_future()
    assert marks.write(customer_id, mark, now_ms, lambda refused, _: acked.set_result(refused))
    assert not acked.done(), "acks come on a later turn"
    async with asyncio.timeout(10):
        assert await acked is None


async def test_nobody_has_said_anything_about_somebody_unknown(made):
    tables, _ = made
    known = tables.known("nobody")
    assert (dict(known.consent), tuple(known.suppressions), known.erased_ms) == ({}, (), 0)
    assert known.memory is None
    assert not known.unreadable
    assert known.stale_ms < FRESH_MS


async def test_a_word_on_consent_is_known_once_it_is_acked(made):
    tables, marks = made
    await write(marks, "c-1", ConsentSaid("email", True, NOW_MS))
    assert tables.known("c-1").consent == {"email": ConsentSaid("email", True, NOW_MS)}
    await write(marks, "c-1", ConsentSaid("marketing.email", False, NOW_MS + 1))
    await write(marks, "c-2", ConsentSaid("email", False, NOW_MS))
    assert tables.known("c-1").consent == {
        "email": ConsentSaid("email", True, NOW_MS),
        "marketing.email": ConsentSaid("marketing.email", False, NOW_MS + 1),
    }
    assert tables.known("c-2").consent == {"email": ConsentSaid("email", False, NOW_MS)}
    assert tables.known("c").consent == {}


async def test_the_newest_word_counts_whenever_it_is_written(made):
    tables, marks = made
    await write(marks, "c-1", ConsentSaid("email", False, NOW_MS))
    await write(marks, "c-1", ConsentSaid("email", True, NOW_MS - 1))
    assert not tables.known("c-1").consent["email"].granted
    await write(marks, "c-1", ConsentSaid("email", True, NOW_MS + 1))
    assert tables.known("c-1").consent["email"].granted


async def test_each_reason_to_suppress_stands_until_it_is_lifted(made):
    tables, marks = made
    first = Suppress("ticket:1", "category", "promotional", "ticket.closed", "abc", NOW_MS + 9)
    second = Suppress("ticket:2", "channel", "email", "", "", 0, NOW_MS - 5)
    await write(marks, "c-1", first)
    await write(marks, "c-1", second)
    found = {each.id: each for each in tables.known("c-1").suppressions}
    assert found["ticket:1"] == Suppress(
        "ticket:1", "category", "promotional", "ticket.closed", "abc", NOW_MS + 9, NOW_MS
    )
    assert found["ticket:2"] == second
    await write(marks, "c-1", Unsuppress("ticket:1"))
    assert [each.id for each in tables.known("c-1").suppressions] == ["ticket:2"]
    await write(marks, "c-1", Unsuppress("never:was"))
    await write(marks, "c-1", Unsuppress("ticket:2"))
    assert tuple(tables.known("c-1").suppressions) == ()


async def test_what_cannot_be_a_record_is_refused_and_never_acked(made):
    tables, marks = made
    acked: list[object] = []
    consent = ConsentSaid("email", True, NOW_MS)
    for customer_id, mark in (
        ("c\0x", consent), ("", consent), ("c-1", Unsuppress("")), ("c-1", Unsuppress("hookline:erased")),
        ("c-1", Suppress("hookline:x", "category", "promotional", "", "", 0)),
        ("c-1", Suppress("x", "category", "\ud800", "", "", 0)),
    ):  # fmt: skip
        assert not marks.write(customer_id, mark, NOW_MS, lambda *_: acked.append(1))
    await write(marks, "c-2", consent)
    assert acked == []
    assert (tables.known("c-1").consent, tuple(tables.known("c-1").suppressions)) == ({}, ())


async def test_many_marks_are_acked_once_each(made):
    tables, marks = made
    acked: list[int] = []
    for number in range(300):
        mark = ConsentSaid("email", number % 2 == 0, NOW_MS)
        assert marks.write(f"c-{number}", mark, NOW_MS, lambda *_, number=number: acked.append(number))
    await eventually(lambda: len(acked) == 300)
    assert sorted(acked) == list(range(300))
    assert all(tables.known(f"c-{number}").consent["email"].granted == (number % 2 == 0) for number in range(300))
