"""What one schema wrote, another reads: by the specification's rules, and never with another meaning."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from pipeline.core import decode
from pipeline.model import Undecodable

LIFECYCLE = json.loads(Path(__file__).parents[3].joinpath("schemas/lifecycle_event.avsc").read_text())


def detail(found: object) -> str:
    assert isinstance(found, Undecodable), found
    return found.detail


def record(*fields: dict[str, Any], name: str = "R", **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name: str, kind: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def logical(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "logicalType": name, **more}


def read_as(writer: Any, reader: Any, datum: Any) -> Any:
    return decode.reader(writer, reader)(decode.encode(writer)(datum), 0)


SAME_AS_FASTAVRO: list[tuple[Any, Any, Any]] = [
    ("int", "long", 7),
    ("int", "float", 7),
    ("int", "double", -7),
    ("long", "double", 2**40),
    ("float", "double", 1.5),
    ("string", "bytes", "ü"),
    ("bytes", "string", b"ab"),
    ("int", ["null", "int"], 7),
    ("int", ["null", "double"], 7),
    (["null", "int"], ["null", "long"], None),
    (["null", "int"], ["long", "null"], 3),
    (["null", "string"], "string", "x"),
    (enum("a", "b"), enum("b", "a", "c"), "b"),
    (enum("a", "b"), enum("a", default="a"), "b"),
    (record(field("a", "int"), field("b", "string")), record(field("b", "string"), field("a", "long")),
     {"a": 1, "b": "x"}),
    (record(field("a", "int"), field("gone", {"type": "map", "values": "string"})), record(field("a", "int")),
     {"a": 1, "gone": {"k": "v"}}),
    (record(field("a", "int")), record(field("a", "int"), field("b", "string", default="x")), {"a": 1}),
    (record(field("old", "int")), record(field("new", "int", aliases=["old"])), {"old": 1}),
    (record(field("a", "int"), name="one.R"), record(field("a", "int"), name="two.R"), {"a": 1}),
    (record(field("a", "int"), name="Old"), record(field("a", "int"), name="New", aliases=["Old"]), {"a": 1}),
    ({"type": "array", "items": "int"}, {"type": "array", "items": "double"}, [1, 2]),
    ({"type": "map", "values": "int"}, {"type": "map", "values": ["null", "long"]}, {"a": 1}),
    ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 2}, b"ab"),
]  # fmt: skip


@pytest.mark.parametrize(("writer", "reader", "datum"), SAME_AS_FASTAVRO)
def test_resolves_as_fastavro_does(writer: Any, reader: Any, datum: Any) -> None:
    body = decode.encode(writer)(datum)
    found = decode.reader(writer, reader)(body, 0)
    assert found == fastavro.schemaless_reader(io.BytesIO(body), writer, reader)
    assert repr(found).count("Undecodable") == 0


@pytest.mark.parametrize(
    ("writer", "reader", "says"),
    [
        ("string", "int", "written as string, read as int"),
        ("long", "int", "written as long, read as int"),
        (record(field("a", "int")), record(field("a", "int"), name="Other"), "written as record, read as record"),
        ({"type": "fixed", "name": "F", "size": 2}, {"type": "fixed", "name": "F", "size": 3}, "written as fixed"),
        ("int", ["null", "string"], "no branch"),
        # Same bytes, another meaning: this would be a thousand times too late, a hundred times too dear.
        (logical("long", "timestamp-micros"), logical("long", "timestamp-millis"), "written as timestamp-micros"),
        (logical("bytes", "decimal", precision=9, scale=2), logical("bytes", "decimal", precision=9), "scale 2"),
        (logical("int", "date"), logical("int", "time-millis"), "written as date"),
    ],
)
def test_what_cannot_be_read_is_said_without_a_value(writer: Any, reader: Any, says: str) -> None:
    assert says in detail(decode.reader(writer, reader)(b"\x00", 0))


def test_an_annotation_added_later_resolves() -> None:
    assert read_as("long", logical("long", "timestamp-millis"), 7) == 7
    assert read_as(logical("long", "timestamp-millis"), "long", 7) == 7
    assert read_as(logical("string", "uuid"), "string", "x") == "x"


def test_a_place_is_named() -> None:
    writer = record(field("customer", record(field("id", "string"), name="C")))
    reader = record(field("customer", record(field("id", "string"), field("tier", "string"), name="C")))
    found = detail(read_as(writer, reader, {"customer": {"id": "secret"}}))
    assert found.endswith("customer.tier: not written, no default")


def test_only_the_data_that_needs_it_is_refused() -> None:
    writer, reader = ["null", "string", "long"], ["null", "string"]
    assert read_as(writer, reader, "x") == "x"
    assert "no branch" in detail(read_as(writer, reader, 7))
    assert read_as(enum("a", "b"), enum("a"), "a") == "a"
    assert "symbol the reader does not know" in detail(read_as(enum("a", "b"), enum("a"), "b"))


def test_a_consent_state_this_reader_does_not_know_is_never_guessed() -> None:
    newer = json.loads(json.dumps(LIFECYCLE).replace('["granted", "denied"]', '["granted", "denied", "pending"]'))
    event = {"id": "e", "type": "t", "time": 1, "customer": {"id": "c"}, "consent": {"email": "pending"}}
    assert "symbol" in detail(read_as(newer, LIFECYCLE, event))


def test_defaults_become_what_the_reader_would_have_read() -> None:
    inner = record(field("n", "long", default=3), field("s", "string", default="d"), name="I")
    reader = record(
        field("a", "int"),
        field("b", "bytes", default="\u00ff"),
        field("u", ["null", "string"], default=None),
        field("m", {"type": "map", "values": "bytes"}, default={"k": "\u0001"}),
        field("l", {"type": "array", "items": "double"}, default=[1]),
        field("r", inner, default={"s": "x"}),
    )
    assert read_as(record(field("a", "int")), reader, {"a": 1}) == {
        "a": 1, "b": b"\xff", "u": None, "m": {"k": b"\x01"}, "l": [1.0], "r": {"n": 3, "s": "x"},
    }  # fmt: skip


def test_older_and_newer_producers_of_the_lifecycle_event_are_read() -> None:
    older = json.loads(json.dumps(LIFECYCLE))
    older["fields"] = [each for each in older["fields"] if each["name"] not in ("source", "properties")]
    newer = json.loads(json.dumps(LIFECYCLE))
    newer["fields"].insert(1, field("tenant", ["null", record(field("id", "string"), name="Tenant")], default=None))
    event = {"id": "e", "type": "t", "time": 1, "customer": {"id": "c"}, "consent": {"email": "granted"}}
    whole = {"email": None, "phone": None, "timezone": None, "ids": {}}
    expected = {**event, "customer": {"id": "c", **whole}, "source": {}, "properties": {}}
    assert read_as(older, LIFECYCLE, event) == expected
    assert read_as(newer, LIFECYCLE, {**event, "tenant": {"id": "t-1"}}) == expected


def test_unions_of_records_with_the_same_short_name_keep_apart() -> None:
    union = [record(field("a", "int"), name="one.R"), record(field("b", "int"), name="two.R")]
    assert decode.reader(union)(b"\x02\x08", 0) == {"b": 4}
    assert decode.reader(union, json.loads(json.dumps([*union, "null"])))(b"\x02\x08", 0) == {"b": 4}


def test_recursive_schemas_resolve() -> None:
    old = record(field("next", ["null", "R"]))
    new = record(field("next", ["null", "R"]), field("n", "long", default=1))
    assert read_as(old, new, {"next": {"next": None}}) == {"next": {"next": None, "n": 1}, "n": 1}
