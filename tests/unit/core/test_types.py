"""What a field of a record is, and how its value reaches JSON and CEL: held to fastavro on whole records."""

import io
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import decode, types
from pipeline.model import ABSENT

ORDER = {
    "type": "record",
    "name": "Order",
    "namespace": "shop",
    "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "exact", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "clock", "type": {"type": "int", "logicalType": "time-millis"}},
        {"name": "fine", "type": {"type": "long", "logicalType": "time-micros"}},
        {"name": "total", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}},
        {
            "name": "tax",
            "type": {
                "type": "fixed", "name": "Tax", "size": 8, "logicalType": "decimal", "precision": 18, "scale": 4,
            },
        },
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["open", "paid"]}},
        {"name": "note", "type": ["null", "string"], "hookline.class": "free_text"},
        {"name": "photo", "type": "bytes"},
        {"name": "share", "type": "double"},
        {"name": "gift", "type": "boolean"},
        {"name": "count", "type": "int"},
        {
            "name": "buyer",
            "hookline.class": "identifier",
            "type": {
                "type": "record",
                "name": "Buyer",
                "fields": [
                    {"name": "id", "type": "string"},
                    {"name": "mail", "type": ["null", "string"], "hookline.class": "contact"},
                    {"name": "state", "type": "State"},
                    {"name": "inviter", "type": ["null", "Buyer"], "default": None},
                ],
            },
        },
        {"name": "ids", "type": {"type": "map", "values": "string"}},
        {"name": "seen", "type": {"type": "array", "items": {"type": "long", "logicalType": "timestamp-millis"}}},
        {
            "name": "props",
            "type": {
                "type": "map",
                "values": [
                    "null", "boolean", "long", "double", "string",
                    {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2},
                    {"type": "array", "items": {"type": "map", "values": ["null", "string", "long"]}},
                ],
            },
        },
    ],
}  # fmt: skip
TREE = types.tree(ORDER)
WHEN = datetime(2026, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)


def order(**changes):
    given = {
        "id": "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d", "at": WHEN, "exact": WHEN, "day": date(2026, 11, 23),
        "clock": time(10, 0, 1), "fine": time(10, 0, 1), "total": Decimal("129.50"), "tax": Decimal("-0.0125"),
        "state": "paid", "note": None, "photo": b"\x00\xff", "share": 0.5, "gift": True, "count": 7,
        "buyer": {"id": "c-1", "mail": None, "state": "open", "inviter": {
            "id": "c-0", "mail": "a@example.org", "state": "paid", "inviter": None}},
        "ids": {"crm": "0035g"}, "seen": [WHEN],
        "props": {"n": 3, "x": 2.5, "t": "text", "d": Decimal("-0.05"), "none": None, "yes": True,
                  "lines": [{"sku": "A", "qty": 2, "gone": None}]},
    } | changes  # fmt: skip
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(ORDER), given)
    return decode.reader(ORDER)(out.getvalue(), 0)


def read(path, datum, form=types.JSON):
    found = types.find(TREE, tuple(path.split(".")))
    assert isinstance(found, types.Found), found
    return types.getter(found, form)(datum, 0)


@pytest.mark.parametrize(
    ("path", "json"),
    [
        ("id", "0197b6d2-1c5e-7a3b-8c4d-5e6f7a8b9c0d"),
        ("at", "2026-11-23T10:00:00.123Z"),
        ("exact", "2026-11-23T10:00:00.123Z"),
        ("day", "2026-11-23"),
        ("clock", "10:00:01.000"),
        ("fine", "10:00:01.000"),
        ("total", "129.50"),
        ("tax", "-0.0125"),
        ("state", "paid"),
        ("note", ABSENT),
        ("photo", "AP8="),
        ("share", 0.5),
        ("gift", True),
        ("count", 7),
        ("buyer.id", "c-1"),
        ("buyer.mail", ABSENT),
        ("buyer.state", "open"),
        ("buyer.inviter.mail", "a@example.org"),
        ("buyer.inviter.inviter.mail", ABSENT),
        ("ids.crm", "0035g"),
        ("ids.erp", ABSENT),
        ("seen", ["2026-11-23T10:00:00.123Z"]),
        ("props.n", 3),
        ("props.x", 2.5),
        ("props.t", "text"),
        ("props.d", "-0.05"),
        ("props.none", ABSENT),
        ("props.yes", True),
        ("props.other", ABSENT),
        ("props.lines", [{"sku": "A", "qty": 2}]),
        (
            "buyer",
            {"id": "c-1", "state": "open", "inviter": {"id": "c-0", "mail": "a@example.org", "state": "paid"}},
        ),
    ],
)
def test_json_form(path, json):
    assert read(path, order()) == json


@pytest.mark.parametrize(
    ("path", "cel"),
    [
        ("at", WHEN.replace(microsecond=123000)),
        ("exact", WHEN),
        ("total", 129.5),
        ("tax", -0.0125),
        ("photo", b"\x00\xff"),
        ("day", "2026-11-23"),
        ("seen", [WHEN.replace(microsecond=123000)]),
        ("props.d", -0.05),
        ("note", ABSENT),
    ],
)
def test_cel_form(path, cel):
    assert read(path, order(), types.CEL) == cel


@pytest.mark.parametrize(
    ("path", "cel"),
    [
        ("at", "timestamp"),
        ("total", "double"),
        ("state", "string"),
        ("note", "string"),
        ("seen", "list(timestamp)"),
        ("ids", "map(string, string)"),
        ("props", "map(string, dyn)"),
        ("props.n", "dyn"),
        ("buyer", "map(string, dyn)"),
        ("gift", "bool"),
        ("count", "int"),
        ("photo", "bytes"),
    ],
)
def test_cel_types(path, cel):
    found = types.find(TREE, tuple(path.split(".")))
    assert isinstance(found, types.Found)
    assert types.cel_type(found.type) == cel


@pytest.mark.parametrize(
    ("path", "cls"), [("note", "free_text"), ("buyer.id", "identifier"), ("buyer.mail", "contact"), ("total", "")]
)
def test_a_class_holds_for_all_below(path, cls):
    found = types.find(TREE, tuple(path.split(".")))
    assert isinstance(found, types.Found)
    assert found.cls == cls


def test_a_missing_field_names_those_there_are():
    missing = types.find(TREE, ("buyer", "emial"))
    assert missing == types.Missing(1, ("id", "mail", "state", "inviter"))
    assert isinstance(types.find(TREE, ("total", "x")), types.Missing)


def test_null_anywhere_on_the_way_is_absent():
    datum = order(buyer={"id": "c", "mail": None, "state": "open", "inviter": None})
    assert read("buyer.inviter", datum) is ABSENT
    assert read("buyer.inviter.mail", datum) is ABSENT
    nullable = types.tree(
        {"type": "record", "name": "R", "fields": [
            {"name": "a", "type": ["null", {"type": "map", "values": {"type": "map", "values": "int"}}]}]}
    )  # fmt: skip
    for names in (("a",), ("a", "b"), ("a", "b", "c")):
        found = types.find(nullable, names)
        assert isinstance(found, types.Found)
        for datum in ({"a": None}, {"a": {}}, {"a": {"b": {}}}, {"a": {"b": {"c": 1}}}):
            for form in (types.JSON, types.CEL, types.DYN, types.RAW):
                types.getter(found, form)(datum, 0)
    assert types.getter(found)({"a": {"b": {"c": 1}}}, 0) == 1
    assert types.getter(found)({"a": {}}, 0) is ABSENT


def test_values_out_of_range_are_absent_and_never_raise():
    datum = order()
    for units in (2**63 - 1, -(2**63)):
        datum |= {"at": units, "exact": units, "day": 2**31 - 1, "clock": -1, "fine": units, "seen": [units]}
        for form in (types.JSON, types.CEL):
            assert [read(p, datum, form) for p in ("day", "clock", "fine")] == [ABSENT] * 3
        assert read("at", datum) is ABSENT
        assert read("seen", datum) == [None]
    datum |= {"share": float("nan"), "total": b"\x7f" * 5_000}
    assert read("share", datum) is ABSENT
    assert read("total", datum) is ABSENT
    assert read("total", datum, types.CEL) is ABSENT


def test_what_cannot_be_told_apart_is_not_guessed():
    both = types.tree(["int", {"type": "long", "logicalType": "timestamp-millis"}])
    assert types.ambiguous(both)
    assert types.getter(types.Found(both, (), 0, ""), types.JSON)(5, 0) is ABSENT
    assert not types.ambiguous(types.tree(["null", "long", "double", "string", "boolean", "bytes"]))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 9},
        {"type": "bytes", "logicalType": "decimal"},
        {"type": "bytes", "logicalType": "unheard-of"},
    ],
)
def test_an_unusable_logical_type_is_ignored(schema):
    assert types.getter(types.Found(types.tree(schema), (), 0, ""))(b"\x01", 0) == "AQ=="


def test_a_uuid_of_16_bytes_is_its_text():
    schema = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
    some = uuid.uuid4()
    assert types.getter(types.Found(types.tree(schema), (), 0, ""))(some.bytes, 0) == str(some)


def test_without_a_schema_the_value_decides():
    found = types.find(types.ANYTHING, ("a", "b"))
    assert isinstance(found, types.Found)
    get = types.getter(found)
    assert get({"a": {"b": [b"x", float("inf"), {"c": None, "d": 1}]}}, 0) == ["eA==", None, {"d": 1}]
    assert get({"a": None}, 0) is ABSENT
    assert get({"a": 3}, 0) is ABSENT


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15))
def test_decimals_keep_their_digits(amount):
    assert read("total", order(total=amount)) == format(amount or abs(amount), ".2f")


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_rfc3339_is_what_datetime_says(ms):
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    assert types.rfc3339(ms) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
