"""The compiled reader gives what fastavro gives, and refuses damage that fastavro swallows."""

from __future__ import annotations

import io
import json
import struct
import uuid
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka.schema_registry import (
    dual_schema_id_deserializer,
    header_schema_id_serializer,
    prefix_schema_id_serializer,
)
from confluent_kafka.schema_registry.serde import SchemaId
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import decode
from pipeline.core.decode.reading import DEPTH_MAX, EMPTY_ITEMS_MAX
from pipeline.model import Undecodable

LIFECYCLE = json.loads(Path(__file__).parents[3].joinpath("schemas/lifecycle_event.avsc").read_text())

EVENT = {
    "id": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "type": "purchase.completed",
    "time": 856_800_000_000,
    "customer": {"id": "c-1", "email": "ann@example.org", "phone": None, "timezone": None, "ids": {"crm": "7"}},
    "consent": {"email": "granted", "marketing": "denied"},
    "source": {"campaign": "spring"},
    "properties": {
        "quantity": 2, "order_value": b"\x04\x99", "gift": True, "weight": 1.5, "note": "für Ann", "gone": None,
        "lines": [{"sku": "A", "qty": 2}, {}],
    },
}  # fmt: skip


def detail(found: object) -> str:
    assert isinstance(found, Undecodable), found
    return found.detail


def record(*fields: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields], **more}


# ------------------------------------------------------------------------------------------------------------ locate


def test_locates_confluent_wire_format() -> None:
    framed = prefix_schema_id_serializer(b"body", None, SchemaId("AVRO", 70_000))
    assert decode.locate(framed, ()) == (70_000, 5)
    assert framed == decode.confluent(70_000) + b"body"


def test_locates_a_guid_in_the_header_as_confluents_serializer_writes_it() -> None:
    guid = uuid.uuid4()
    context = SerializationContext("t", MessageField.VALUE, [])
    body = header_schema_id_serializer(b"body", context, SchemaId("AVRO", 1, str(guid)))
    headers = tuple(context.headers)
    assert decode.locate(body, headers) == (guid.bytes, 0)
    assert headers == (decode.guid_header(guid.bytes),)


def test_the_header_wins_over_the_prefix_and_the_last_one_counts() -> None:
    guid = uuid.uuid4().bytes
    prefixed = decode.confluent(7) + b"body"
    assert decode.locate(prefixed, (("x", b"1"), decode.guid_header(guid))) == (guid, 0)
    assert decode.locate(prefixed, (decode.guid_header(b"1" * 16), decode.guid_header(guid))) == (guid, 0)
    assert decode.locate(prefixed, ((decode.GUID_HEADER, None),)) == (7, 5)


def test_reads_headers_that_confluents_own_deserializer_reads() -> None:
    header = [(decode.GUID_HEADER, b"\x00\x00\x00\x00\x07")]
    theirs = SchemaId("AVRO")
    dual_schema_id_deserializer(b"body", SerializationContext("t", MessageField.VALUE, header), theirs)
    assert decode.locate(b"body", header) == (theirs.id, 0)


def test_locates_single_object_encoding() -> None:
    mark = decode.fingerprint(LIFECYCLE)
    assert decode.locate(decode.single_object(mark) + b"body", ()) == (mark, 10)


@pytest.mark.parametrize(
    "value", [b"", b"\x00", b"\x00\x00\x00\x01", b"\xc3\x01", b"\xc3\x011234567", b"{}", b"\xc3\x02"]
)
def test_refuses_what_has_no_frame(value: bytes) -> None:
    assert isinstance(decode.locate(value, ()), Undecodable)


@pytest.mark.parametrize("content", [b"", b"\x01", b"\x01" * 16, b"\x01" * 18, b"\x02" * 17, b"\x00\x01"])
def test_refuses_a_damaged_schema_header(content: bytes) -> None:
    assert "header" in detail(decode.locate(decode.confluent(1) + b"body", ((decode.GUID_HEADER, content),)))


headers_of_any_kind = st.lists(
    st.tuples(st.sampled_from(["a", decode.GUID_HEADER]), st.none() | st.binary(max_size=20))
)


@given(st.binary(max_size=24), headers_of_any_kind)
def test_locate_takes_anything(value: bytes, headers: list[tuple[str, bytes | None]]) -> None:
    found = decode.locate(value, headers)
    assert isinstance(found, Undecodable) or found[1] <= len(value)


def test_describes_references() -> None:
    assert decode.describe(7) == "id 7"
    guid = uuid.UUID("89791762-2336-186f-9674-299b90a802e2")
    assert decode.describe(guid.bytes) == f"guid {guid}"
    assert decode.describe(b"\x01" * 8) == "fingerprint 0101010101010101"


# ------------------------------------------------------------------------------------------------------- fingerprint


@pytest.mark.parametrize(
    ("schema", "rabin"),
    # From the Avro project's own test data: share/test/data/schema-tests.txt.
    [("null", 7195948357588979594), ("boolean", -6970731678124411036), ("int", 8247732601305521295)],
)
def test_fingerprints_are_avros(schema: str, rabin: int) -> None:
    assert decode.fingerprint(schema) == struct.pack("<q", rabin)
    assert decode.fingerprint({"type": schema, "logicalType": "date", "doc": "x"}) == struct.pack("<q", rabin)


def test_strip_leaves_the_schema_it_was_given_alone() -> None:
    before = json.dumps(LIFECYCLE)
    stripped = decode.strip(LIFECYCLE)
    assert "logicalType" not in json.dumps(stripped)
    assert decode.fingerprint(stripped) == decode.fingerprint(LIFECYCLE)
    decode.reader(LIFECYCLE)
    assert json.dumps(LIFECYCLE) == before


# -------------------------------------------------------------------------------------------------------- round trips


def test_reads_a_lifecycle_event() -> None:
    body = decode.encode(LIFECYCLE)(EVENT)
    assert decode.reader(LIFECYCLE, LIFECYCLE)(b"frame" + body, 5) == EVENT


names = st.text("abcdefgh", min_size=1, max_size=3)
primitives = st.sampled_from(["null", "boolean", "int", "long", "float", "double", "string", "bytes"])


@st.composite
def schemas(draw: st.DrawFn) -> Any:
    """Any schema: records, enums and fixed have unique names, unions at most one branch of a kind."""
    taken = iter(range(10_000))

    def make(depth: int) -> Any:  # noqa: PLR0911
        kinds = ["primitive", "enum", "fixed"] + (["array", "map", "record", "union"] if depth else [])
        match draw(st.sampled_from(kinds)):
            case "enum":
                symbols = draw(st.lists(names, min_size=1, max_size=70, unique=True))
                return {"type": "enum", "name": f"E{next(taken)}", "symbols": symbols}
            case "fixed":
                return {"type": "fixed", "name": f"F{next(taken)}", "size": draw(st.integers(0, 9))}
            case "array":
                return {"type": "array", "items": make(depth - 1)}
            case "map":
                return {"type": "map", "values": make(depth - 1)}
            case "record":
                fields = draw(st.lists(names, max_size=4, unique=True))
                return record(*[(field, make(depth - 1)) for field in fields], name=f"R{next(taken)}")
            case "union":
                rest = draw(st.lists(st.sampled_from(["long", "double", "string", "boolean"]), max_size=4, unique=True))
                return ["null", *rest, {"type": "map", "values": make(depth - 1)}]
            case _:
                return draw(primitives)

    return make(3)


def data_of(schema: Any) -> st.SearchStrategy[Any]:  # noqa: C901, PLR0911, PLR0912
    if isinstance(schema, list):
        return st.one_of([data_of(branch) for branch in schema])
    kind = schema if isinstance(schema, str) else schema["type"]
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "float":
            return st.floats(width=32, allow_nan=False)
        case "double":
            return st.floats(allow_nan=False)
        case "string":
            return st.text()
        case "bytes":
            return st.binary()
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(data_of(schema["items"]), max_size=5)
        case "map":
            return st.dictionaries(st.text(max_size=3), data_of(schema["values"]), max_size=5)
        case _:
            return st.fixed_dictionaries({field["name"]: data_of(field["type"]) for field in schema["fields"]})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_reads_whatever_fastavro_writes(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    datum = data.draw(data_of(schema))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), datum)
    body = out.getvalue()
    read = decode.reader(schema)
    assert read(body, 0) == fastavro.schemaless_reader(io.BytesIO(body), schema, None)
    assert detail(read(body + b"\x00", 0)) == "bytes left over after the value"
    cut = data.draw(st.integers(0, len(body)))
    if cut < len(body):
        assert isinstance(read(body[:cut], 0), Undecodable)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2_000), st.integers(1, 255), st.binary(max_size=60))
def test_damage_never_raises_nor_leaks(place: int, flip: int, noise: bytes) -> None:
    read = decode.reader(LIFECYCLE)
    body = bytearray(decode.encode(LIFECYCLE)(EVENT))
    body[place % len(body)] ^= flip
    for damaged in (bytes(body), noise, bytes(body[: place % len(body)]) + noise):
        found = read(damaged, 0)
        if isinstance(found, Undecodable):
            assert "ann@example.org" not in found.detail
            assert "c-1" not in found.detail


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_noise_never_raises_whatever_the_schema(data: st.DataObject) -> None:
    writer, reader = data.draw(schemas()), data.draw(st.none() | schemas())
    noise = data.draw(st.binary(max_size=40))
    found = decode.reader(writer, reader)(noise, 0)
    assert isinstance(found, Undecodable) or len(repr(found)) < 10_000


def test_blocks_of_other_encoders_are_read() -> None:
    # Java's blocking encoder writes negative counts with the block's size, and several blocks.
    body = b"\x01\x02" + b"\x02" + b"\x02" + b"\x04" + b"\x00"
    assert decode.reader({"type": "array", "items": "long"})(body, 0) == [1, 2]
    body = b"\x01\x04" + b"\x02a" + b"\x06" + b"\x02" + b"\x02b" + b"\x08" + b"\x00"
    assert decode.reader({"type": "map", "values": "int"})(body, 0) == {"a": 3, "b": 4}
    assert "block length" in detail(decode.reader({"type": "array", "items": "long"})(b"\x01\x7f\x02\x00", 0))


# ------------------------------------------------------------------------------------------------------------- damage

HUGE = decode.encode("long")(2**60)
NESTED = {"type": "record", "name": "N", "fields": [{"name": "next", "type": ["null", "N"]}]}
TREE = {"type": "record", "name": "T", "fields": [{"name": "below", "type": {"type": "array", "items": "T"}}]}


@pytest.mark.parametrize(
    ("schema", "body", "says"),
    [
        ("string", HUGE + b"abc", "length beyond the end"),
        ("string", b"\x01", "negative length"),
        ("string", b"\x04\xff\xfe", "not UTF-8"),
        ("string", b"\x06\xed\xa0\x80", "not UTF-8"),  # a lone surrogate
        ("string", b"", "truncated"),
        ("bytes", HUGE, "length beyond the end"),
        ({"type": "map", "values": "null"}, b"\x02" + HUGE, "length beyond the end"),
        ({"type": "array", "items": "null"}, HUGE + b"\x00", "more items"),
        ({"type": "array", "items": record()}, HUGE + b"\x00", "more items"),
        ({"type": "array", "items": "string"}, HUGE + b"\x00", "more items"),
        ({"type": "map", "values": "string"}, HUGE + b"\x00", "more items"),
        ({"type": "array", "items": "null"}, (decode.encode("long")(EMPTY_ITEMS_MAX) * 2) + b"\x00", "more items"),
        ({"type": "array", "items": "long"}, decode.encode("long")(-(2**63)) + b"\x00\x00", "more items"),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x01", "enum index"),  # -1
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x03", "enum index"),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, b"\x04", "enum index"),
        (["null", "string"], b"\x01\x00", "union branch"),
        (["null", "string"], b"\x04\x00", "union branch"),
        ([], b"\x00", "union branch"),
        ("boolean", b"\x02", "boolean"),
        ("boolean", b"\xff", "boolean"),
        ("boolean", b"", "truncated"),
        ("float", b"\x00\x00\x00", "truncated"),
        ("double", b"\x00" * 7, "truncated"),
        ("long", b"\xff" * 10 + b"\x01", "ten bytes"),
        ("long", b"\xff" * 9 + b"\x02", "64 bits"),
        ("long", b"\xff" * 9, "truncated"),
        ("int", decode.encode("long")(2**31), "32 bits"),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc", "length beyond the end"),
        ("null", b"\x00", "left over"),
        (NESTED, b"\x02" * 300_000 + b"\x00", f"more than {DEPTH_MAX} levels"),
        (TREE, b"\x02" * 300_000, f"more than {DEPTH_MAX} levels"),
    ],
)
def test_names_the_damage(schema: Any, body: bytes, says: str) -> None:
    assert says in detail(decode.reader(schema)(body, 0))


def test_reads_recursive_values_up_to_the_bound() -> None:
    value: Any = {"next": None}
    for _ in range(DEPTH_MAX - 1):
        value = {"next": value}
    read, write = decode.reader(NESTED), decode.encode(NESTED)
    assert read(write(value), 0) == value
    assert "levels" in detail(read(write({"next": value}), 0))


def test_reads_schemas_nested_deeper_than_python_allows_loops() -> None:
    schema: Any = "long"
    value: Any = 7
    for _ in range(30):
        schema, value = {"type": "array", "items": schema}, [value]
    assert decode.reader(schema)(decode.encode(schema)(value), 0) == value


def test_reads_optional_records_nested_deeper_than_python_allows_indentation() -> None:
    schema: Any = "long"
    value: Any = 7
    for level in range(120):
        schema = ["null", {"type": "record", "name": f"D{level}", "fields": [{"name": "x", "type": schema}]}]
        value = {"x": value}
    assert decode.reader(schema)(decode.encode(schema)(value), 0) == value


def test_a_type_used_in_many_places_is_compiled_once() -> None:
    kinds: Any = {"type": "record", "name": "L0", "fields": [{"name": "x", "type": "long"}]}
    for level in range(1, 25):  # inlined, this would be 2**24 fields
        fields = [{"name": "a", "type": kinds}, {"name": "b", "type": f"L{level - 1}"}]
        kinds = {"type": "record", "name": f"L{level}", "fields": fields}
    assert detail(decode.reader(kinds)(b"", 0)) == "truncated"


def test_a_schema_that_is_none_is_said_for_every_value() -> None:
    for schema in ({"type": "rekord"}, record(("x", "Missing")), 7, {}):
        assert "schema unusable" in detail(decode.reader(schema)(b"\x00", 0))
    deep: Any = "null"
    for _ in range(5_000):
        deep = {"type": "array", "items": deep}
    assert "schema unusable" in detail(decode.reader(deep)(b"\x00", 0))


def test_field_names_never_reach_the_source_as_code() -> None:
    odd = "x': __import__('os').abort(), 'y"
    found = decode.reader({"type": "record", "name": "R", "fields": [{"name": odd, "type": "long"}]})(b"\x02", 0)
    assert isinstance(found, Undecodable) or found == {odd: 1}


def test_the_encoder_names_no_values() -> None:
    with pytest.raises(ValueError, match="does not fit") as caught:
        decode.encode(LIFECYCLE)({**EVENT, "time": "ann@example.org"})
    assert "ann@" not in str(caught.value)


def _with(field: object) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}, field]}


@pytest.mark.parametrize(
    "schema",
    [
        _with({"name": 0.5, "type": "string"}), _with({"name": [], "type": "string"}), _with({"type": "string"}),
        _with({"name": "b\ud800", "type": "string"}), _with({"name": "b", "type": ["null", ["string"]]}),
        _with({"name": "b", "type": {"type": "enum", "name": "E", "symbols": [["x"]]}}),
        _with({"name": "b", "type": {"type": "array", "items": {"type": "enum", "name": "E", "symbols": [5]}}}),
    ],
)  # fmt: skip
def test_what_fastavro_lets_pass_and_no_reader_can_take_is_no_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(decode.SchemaError):
        decode.fingerprint(schema)
