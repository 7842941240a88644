"""What is remembered comes back as it was, whoever writes it in whatever order, and in few bytes."""

from __future__ import annotations

import io
import json
import random
import uuid
from pathlib import Path

import fastavro
import pytest
from fastavro import schema as avro
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import memory
from pipeline.core.memory import Row, Shelf
from pipeline.model import Contact, Entered, Happened, Memory

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "memory.avsc").read_text())
KEY = b"k" * 32

ids = st.one_of(st.uuids().map(str), st.text(min_size=1, max_size=40), st.from_regex(r"\A[0-9a-fA-F]{16,36}\Z"))
marks = st.one_of(st.just(""), st.from_regex(r"\A[0-9a-f]{16}\Z"), st.sampled_from(["email", "sms"]))
times = st.integers(0, memory.LAST_MS)
rows = st.builds(
    Row, kind=st.integers(0, 2), name=st.sampled_from(["promotional", "service", "cart"]), mark=marks, at_ms=times,
    until_ms=times, by=ids,
)  # fmt: skip


def test_the_schema_is_the_documented_one() -> None:
    assert avro.to_parsing_canonical_form(SCHEMA) == avro.to_parsing_canonical_form(memory._SCHEMA)


@given(rows)
def test_a_record_is_read_back_as_written_and_by_its_schema(row) -> None:
    content = memory.encode(row)
    assert memory.decode(content) == row
    head = b"\xc3\x01" + bytes.fromhex(avro.fingerprint(avro.to_parsing_canonical_form(SCHEMA), "CRC-64-AVRO"))
    assert content.startswith(head)
    read = fastavro.schemaless_reader(io.BytesIO(content[len(head) :]), fastavro.parse_schema(SCHEMA), None)
    assert (read["name"], read["mark"], read["by"]) == (row.name, row.mark, row.by)


@given(st.binary(max_size=60))
def test_damage_is_no_entry(content) -> None:
    assert memory.decode(content) is None
    row = memory.decode(memory.encode(Row(1, "n", "", 1, 2, "e"))[: len(content)])
    assert row in (None, Row(1, "n", "", 1, 2, "e"))


def test_an_entry_with_more_after_it_or_with_endless_text_is_none() -> None:
    row = Row(1, "n", "", 1, 2, "e")
    assert memory.decode(memory.encode(row) + b"x") is None
    assert memory.decode(memory.encode(Row(1, "n", "", 1, 2, "e" * 1_001))) is None


@given(st.lists(rows, max_size=20), st.randoms())
def test_a_shelf_says_what_was_put_in_in_any_order_and_however_often(given_rows, dice) -> None:
    ordered, shuffled = Shelf(), Shelf()
    # Of two entries under one key the later counts; the same time in two of them has no order to keep.
    distinct = list({(row.key(), row.at_ms): row for row in given_rows}.values())
    for row in distinct:
        ordered.put("c", row)
    mixed = distinct * 2
    dice.shuffle(mixed)
    for row in mixed:
        shuffled.put("c", row)

    def said(shelf: Shelf) -> set[object]:
        return {row.key() + str(row) for row in shelf._rows(shelf._of.get(b"c", b""))}

    expected: dict[str, Row] = {}
    for row in distinct:
        if row.key() not in expected or expected[row.key()].at_ms < row.at_ms:
            expected[row.key()] = row
    assert said(ordered) == said(shuffled) == {row.key() + str(row) for row in expected.values()}


def test_what_gates_ask_for() -> None:
    shelf = Shelf()
    contact = Contact("promotional", "email", 5, str(uuid.uuid4()))
    happened = Happened("purchase.completed", "0123456789abcdef", 6, "event of ours")
    entered = Entered("cart", "fedcba9876543210", 99, str(uuid.uuid4()).upper())
    for entry, at_ms, until_ms in ((contact, 5, 50), (happened, 6, 60), (entered, 7, 99)):
        assert shelf.put("ann", memory.row(entry, at_ms, until_ms)) == (True, [])
    assert shelf.of("ann") == Memory([contact], [happened], [entered])
    assert shelf.of("bob") == Memory()


def test_the_same_entry_again_is_nothing_new_and_the_latest_event_counts() -> None:
    shelf = Shelf()
    early, late = (memory.row(Happened("bought", "", at, f"e-{at}"), at, 100) for at in (1, 2))
    assert shelf.put("c", late)[0]
    assert not shelf.put("c", late)[0]
    assert not shelf.put("c", early)[0]
    assert [each.at_ms for each in shelf.of("c").happened] == [2]


def test_a_customer_has_so_many_entries_and_the_one_that_ends_first_goes() -> None:
    shelf = Shelf()
    most = memory.ENTRIES_MAX
    made = [memory.row(Contact("p", "email", n, f"d-{n}"), n, 1_000 + (n * 7) % (most + 1)) for n in range(most + 1)]
    for row in made[: memory.ENTRIES_MAX]:
        assert shelf.put("c", row) == (True, [])
    first = min(made[: memory.ENTRIES_MAX], key=lambda row: row.until_ms)
    assert shelf.put("c", made[-1]) == (True, [first.key()])
    assert len(shelf.of("c").contacts) == memory.ENTRIES_MAX


def test_an_entry_more_leaves_a_customers_others_as_they_were() -> None:
    shelf, again = Shelf(), Shelf()
    made = [memory.row(Happened(each, "", 1, "e"), 1, 10) for each in ("a", "b", "c")]
    for row in made:
        assert shelf.put("c", row) == (True, [])
        assert again.put("c", row) == (True, [])
        assert shelf.put("c", row) == (False, [])
    later = memory.row(Happened("a", "", 2, "f"), 2, 10)
    assert shelf.put("c", later) == (True, [])  # in the place of the first: all are packed anew
    assert [each.event for each in again.of("c").happened] == ["a", "b", "c"]
    assert [(each.event, each.id) for each in shelf.of("c").happened] == [("b", "e"), ("c", "e"), ("a", "f")]
    assert shelf.bytes == again.bytes


def test_what_has_ended_is_forgotten() -> None:
    shelf = Shelf()
    for name, until_ms in (("a", 10), ("b", 11)):
        shelf.put("c", memory.row(Happened(name, "", 1, "e"), 1, until_ms))
    assert shelf.expire(10, shelf.keys()) == [("c", "ha/")]
    assert [each.event for each in shelf.of("c").happened] == ["b"]
    assert shelf.expire(11, [*shelf.keys(), b"nobody"]) == [("c", "hb/")]
    assert (shelf.customers(), shelf.bytes) == (0, 0)


def test_one_or_all_of_a_customer_is_forgotten() -> None:
    shelf = Shelf()
    for name in ("a", "b", "c"):
        shelf.put("c", memory.row(Happened(name, "", 1, "e"), 1, 9))
    assert shelf.drop("c", "ha/") == ["ha/"]
    assert shelf.drop("c", "ha/") == []
    assert sorted(shelf.drop("c")) == ["hb/", "hc/"]
    assert (shelf.customers(), shelf.bytes) == (0, 0)


def test_names_have_a_bound(monkeypatch) -> None:
    monkeypatch.setattr(memory, "NAMES_MAX", 1)
    shelf = Shelf()
    assert shelf.put("c", Row(1, "a", "", 1, 2, "e"))[0]
    assert not shelf.put("c", Row(1, "b", "", 1, 2, "e"))[0]
    assert shelf.put("d", Row(1, "a", "", 1, 2, "e"))[0]


@pytest.mark.parametrize("parts", [(b"", b"a"), (b"a",), (b"a", b""), (b"b", b"a"), (b"ab",)])
def test_a_hash_is_of_the_parts_and_of_the_secret(parts) -> None:
    made = memory.digest(KEY, *parts)
    assert len(made) == memory.HASH_DIGITS
    assert made == memory.digest(KEY, *parts)
    assert made != memory.digest(b"other", *parts)
    assert made != memory.digest(KEY, b"a", b"b")


def test_an_entry_takes_few_bytes() -> None:
    shelf, dice = Shelf(), random.Random(1)
    for number in range(1_000):
        event = str(uuid.UUID(int=dice.getrandbits(128)))
        shelf.put(f"c-{number:06}", memory.row(Entered("cart", f"{number:016x}", 9, event), 1, 9))
    assert shelf.bytes == 1_000 * (len("c-000000") + 23 + 8 + 16)


def test_keys_tell_customers_from_entries() -> None:
    assert memory.record_key("ann", "ha/") == b"ann\0ha/"
    assert memory.record_key("ann") == b"ann"
