"""core/deadletter: the frame's schema is named, the producer's headers are kept, ours are not repeated."""

from __future__ import annotations

import pytest

from pipeline.core import deadletter
from pipeline.model import FailureClass, Flight, Record, Trace


def record(value=b"", headers=()):
    return Record("t", 1, 2, b"k", value, headers, 0)


@pytest.mark.parametrize(
    ("value", "headers", "label"),
    [
        (b"\x00\x00\x00\x01\x02rest", (), "258"),
        (b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08rest", (), "0102030405060708"),
        (b"rest", (("__value_schema_id", b"\x01" + bytes(range(16))),), bytes(range(16)).hex()),
        (b"\x00\x00", (), ""),
        (b"hello", (), ""),
        (None, (), ""),
    ],
)
def test_the_schema_is_named_as_its_frame_does(value, headers, label) -> None:
    assert deadletter.schema_label(record(value, headers)) == label


def test_original_headers_are_kept_without_ours() -> None:
    kept = deadletter.original_headers(record(headers=(("traceparent", b"x"), ("hookline-run", b"y"), ("n", None))))
    assert kept == [("traceparent", b"x"), ("n", b"")]


def test_a_position_says_where_it_came_from() -> None:
    flight = Flight(
        record(b"junk"), None, ("shop", 7, 99, 0), None, Trace("a" * 32, "", False), 1_700_000_000_000_000_000
    )
    headers = dict(deadletter.for_position(flight, FailureClass.UNDECODABLE, "truncated", 1_700_000_001_000_000_000))
    assert headers["hookline-class"] == b"undecodable"
    assert headers["hookline-source-topic"] == b"shop"
    assert headers["hookline-source-partition"] == b"7"
    assert headers["hookline-source-offset"] == b"99"
    assert headers["hookline-detail"] == b"truncated"
    assert headers["hookline-first-at"] == b"2023-11-14T22:13:20.000Z"
    assert "hookline-schema-id" not in headers
