"""core/rekey: what a copy says of its origin, and which partition Kafka gives a customer."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import deadletter, rekey
from pipeline.model import ORIGIN, ORIGINAL_KEY, Record

HEADERS = (("traceparent", b"00-1"), ("tenant", None), ("tenant", b"x"))
RECORD = Record("shop.orders", 3, 17, b"order-9", b"bytes", HEADERS, 1_700_000_000_123)


def copy_of(record: Record) -> Record:
    return Record("g.events", 1, 5, b"c-1", record.value, tuple(rekey.headers(record)), 1_800_000_000_000)


names = st.text("abz.-_09", min_size=1, max_size=20)
headers = st.lists(st.tuples(st.sampled_from(("a", "hookline-x", ORIGIN, ORIGINAL_KEY)), st.binary(max_size=8)))


@given(names, st.integers(0, 2**31 - 1), st.integers(0, 2**63 - 1), st.none() | st.binary(), headers,
       st.integers(-1, 2**62))  # fmt: skip
def test_a_copy_is_read_as_the_record_it_was_made_of(topic, partition, offset, key, said, stamp_ms) -> None:
    record = Record(topic, partition, offset, key, b"v", tuple(said), stamp_ms)
    back = rekey.consumed(copy_of(record))
    assert back is not None
    assert dataclasses.replace(back, headers=()) == dataclasses.replace(record, headers=())
    own = (ORIGIN, ORIGINAL_KEY)
    assert [each for each in back.headers if each[0] not in own] == [each for each in said if each[0] not in own]


@pytest.mark.parametrize("said", [None, b"", b"orders/1/2", b"orders/1/2/x", b"or ders/1/2/3", b"a/1/2/3/4", b"\xff"])
def test_what_does_not_say_where_it_is_from_is_no_copy(said) -> None:
    headers = () if said is None else ((ORIGIN, said),)
    assert rekey.consumed(dataclasses.replace(RECORD, headers=headers)) is None


def test_what_is_taken_up_has_the_originals_key_and_time_at_the_copys_place_and_keeps_its_origin() -> None:
    one = copy_of(RECORD)
    original = rekey.consumed(one)
    assert original is not None
    taken = rekey.taken(one, original)
    assert (taken.topic, taken.partition, taken.offset) == ("g.events", 1, 5)
    assert (taken.key, taken.value, taken.timestamp_ms) == (b"order-9", b"bytes", RECORD.timestamp_ms)
    assert taken.header(ORIGINAL_KEY) is None
    handed_over = dataclasses.replace(one, headers=tuple(deadletter.original_headers(taken)))
    assert handed_over.header(ORIGIN) == b"shop.orders/3/17/1700000000123"
    again = rekey.consumed(handed_over)
    assert again is not None
    assert (again.topic, again.partition, again.offset) == ("shop.orders", 3, 17)


@pytest.mark.parametrize(
    ("text", "hashed"),
    [  # Apache Kafka, UtilsTest.testMurmur2
        (b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971), (b"abc", 479470107),
    ],
)  # fmt: skip
def test_customers_lie_where_kafkas_partitioner_puts_them(text, hashed) -> None:
    assert rekey.partition(text, 2**31) == hashed & 0x7FFFFFFF
    assert rekey.partition(text, 12) == (hashed & 0x7FFFFFFF) % 12
