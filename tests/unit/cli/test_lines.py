"""Lines become events that Avro takes as they are, or are refused by number and field, never quoting what they hold."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.adapters.schemas import Folders, packaged
from pipeline.cli import lines
from pipeline.cli.lines import Made, Wrong
from pipeline.config import plain
from pipeline.core import decode
from tests.support.parts import ROOT

SCHEMA = Folders((packaged(),)).readers["hookline.LifecycleEvent"]
CDNOW = ROOT / "tests" / "data" / "cdnow_purchases.txt"

MINIMAL = {"type": "cart.abandoned", "time": "2026-11-23T10:00:00.250+01:00", "customer": {"id": "c-1"}}


def read_cdnow(*texts: str, id_from: str = "line", **consent: str) -> list[Made | Wrong]:
    return list(lines.read((text.encode() for text in texts), lines.cdnow(consent), id_from))


def read_json(*contents: Any, id_from: str = "line") -> list[Made | Wrong]:
    raw = (content if isinstance(content, bytes) else json.dumps(content).encode() for content in contents)
    return list(lines.read(raw, lines.json_lines(SCHEMA), id_from))


def event(found: Made | Wrong) -> dict[str, Any]:
    assert isinstance(found, Made), found
    return found.event


def told(found: Made | Wrong) -> str:
    assert isinstance(found, Wrong), found
    return found.message


# ------------------------------------------------------------------------------------------------------------- CDNOW


def test_a_purchase_becomes_an_event() -> None:
    (found,) = read_cdnow(" 00001 19970101  1   11.77\r\n", email="granted")
    made = event(found)
    assert str(uuid.UUID(made["id"])) == made["id"]
    assert (made["type"], made["time"]) == ("purchase.completed", 852_120_000_000)  # 1997-01-01T12:00:00Z
    assert made["customer"]["id"] == "00001"
    assert made["consent"] == {"email": "granted"}
    assert made["properties"] == {"quantity": 1, "order_value": (1177).to_bytes(2, "big")}
    assert decode.reader(SCHEMA)(decode.encode(SCHEMA)(made), 0) == made


def test_all_of_cdnow_is_read_and_every_id_is_its_own() -> None:
    with CDNOW.open("rb") as source:
        found = list(lines.read(source, lines.cdnow({}), "line"))
    events = [event(each) for each in found]
    assert len(events) == 69_659
    assert len({made["id"] for made in events}) == 69_659
    assert len({made["customer"]["id"] for made in events}) == 23_570
    dollars = sum(int.from_bytes(made["properties"]["order_value"], "big", signed=True) for made in events)
    assert dollars == sum(round(float(line.split()[3]) * 100) for line in CDNOW.read_text().splitlines()[1:])


def test_ids_are_the_same_each_time_or_new_as_asked_for() -> None:
    same = [" 00001 19970101 1 11.77", "00001  19970101 1 11.77"]
    by_line, by_content, by_chance = (
        [event(each)["id"] for each in read_cdnow(*same, id_from=way)] for way in ("line", "content", "random")
    )
    assert by_line == [event(each)["id"] for each in read_cdnow(*same)]
    assert len(set(by_line)) == 2
    assert len(set(by_content)) == 1
    assert not set(by_chance) & {*by_line, *by_content}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("00001 19970101 1", "needs four columns: customer, date, number of CDs, dollars"),
        ("00001 19971301 1 11.77", "date: must be YYYYMMDD"),
        ("00001 1997-01-01 1 11.77", "date: must be YYYYMMDD"),
        ("00001 19970101 one 11.77", "number of CDs: must be a whole number"),
        ("00001 19970101 1 secret", "dollars: must be a decimal number"),
        ("00001 19970101 1 NaN", "dollars: must be a decimal number"),
        ("00001 19970101 1 1e999999999", "dollars: must have at most 2 decimal places and 18 digits"),
        ("00001 19970101 1 1e-999999999", "dollars: must have at most 2 decimal places and 18 digits"),
        ("00001 19970101 1 11.777", "dollars: must have at most 2 decimal places and 18 digits"),
        ("00001 19970101 1 11111111111111111.00", "dollars: must have at most 2 decimal places and 18 digits"),
    ],
)
def test_a_line_that_is_no_purchase_is_refused(text: str, says: str) -> None:
    assert read_cdnow("customer_id date cds dollars", text) == [Wrong(2, says)]


def test_lines_are_numbered_as_an_editor_does() -> None:
    raw = [b"\n", b"\xff\n", b"x" * (lines.LINE_BYTES_MAX + 1), b"1 19970101 1 1\n"]
    found = list(lines.read(raw, lines.cdnow({}), "line"))
    assert [each.line for each in found] == [2, 3, 4]
    assert told(found[0]) == "is not UTF-8"
    assert "longer than" in told(found[1])


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**15), max_value=10**15))
@example(Decimal("-1.28"))
def test_decimals_keep_their_digits(number: Any) -> None:
    raw = plain.unscaled(str(number), 2, 18, "x")
    assert int.from_bytes(raw, "big", signed=True) == int(number * 100)
    assert len(raw) == 1 or int.from_bytes(raw[1:], "big", signed=True) != int.from_bytes(raw, "big", signed=True)


# --------------------------------------------------------------------------------------------------------- JSON lines


def test_a_json_line_may_leave_out_what_has_a_default() -> None:
    (found,) = read_json(MINIMAL)
    made = event(found)
    assert made["time"] == 1_795_424_400_250
    assert made["customer"] == {"id": "c-1", "email": None, "phone": None, "timezone": None, "ids": {}}
    assert (made["consent"], made["source"], made["properties"]) == ({}, {}, {})
    assert decode.reader(SCHEMA)(decode.encode(SCHEMA)(made), 0) == made


def test_every_kind_of_property_reaches_avro() -> None:
    given = {
        "flag": True, "count": 2, "ratio": 0.4, "text": "ü", "gone": None, "total": {"decimal": "129.50"},
        "lines": [{"sku": "A", "price": {"decimal": "-0.01"}}],
    }  # fmt: skip
    (found,) = read_json({**MINIMAL, "id": str(uuid.UUID(int=7)).upper(), "properties": given})
    made = event(found)
    assert made["id"] == str(uuid.UUID(int=7))
    assert decode.reader(SCHEMA)(decode.encode(SCHEMA)(made), 0)["properties"] == {
        **given, "total": (12_950).to_bytes(2, "big"), "lines": [{"sku": "A", "price": b"\xff"}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "7"}, "id: must be a UUID"),
        ({"type": 7}, "type: must be string"),
        ({"type": ""}, "type: must not be empty"),
        ({"time": "yesterday"}, "time: must be an RFC 3339 time with zone"),
        ({"time": "2026-11-23T10:00:00"}, "time: must be an RFC 3339 time with zone"),
        ({"time": 2**63}, "time: does not fit long"),
        ({"time": True}, "time: must be an RFC 3339 time with zone, or a number"),
        ({"customer": {}}, "customer.id: is missing"),
        ({"customer": {"id": ""}}, "customer.id: must not be empty"),
        (
            {"customer": {"id": "c", "emial": "secret"}},
            "customer: has a field that the schema lacks (did you mean email",
        ),
        ({"customer": {"id": "c", "email": 7}}, "customer.email: must be null or string"),
        ({"consent": {"email": True}}, "consent.email: must be enum"),
        ({"consent": {"email": "yes"}}, "consent.email: must be one of: granted, denied"),
        ({"properties": {"a": {"b": 1}}}, "properties.a: must be null or boolean"),
        ({"properties": {"a": {"decimal": 1.5}}}, 'properties.a: must be {"decimal": "…"}'),
        ({"properties": {"a": [{"b": [1]}]}}, "properties.a[0].b: must be null or boolean"),
        ({"properties": {"a": "\ud800"}}, "properties.a: is no valid text"),
        ({"secret": 1}, "has a field that the schema lacks"),
    ],
)
def test_a_json_line_that_is_no_event_is_refused_by_field(change: dict[str, Any], says: str) -> None:
    (found,) = read_json({**MINIMAL, **change})
    assert told(found).startswith(says)
    assert "secret" not in told(found)


@pytest.mark.parametrize("raw", [b"{", b"7", b"[]", b'{"time": NaN}', b"[" * 100_000, b'{"type": "secret" "x"}'])
def test_a_line_that_is_no_json_object_is_refused(raw: bytes) -> None:
    (found,) = read_json(raw)
    assert "secret" not in told(found)


# ------------------------------------------------------------------------------------------------- entries of a table

TABLE = {name: Folders((packaged(),)).readers[f"hookline.{name}"] for name in ("Consent", "Suppression")}
SAID = {"email": {"state": "granted", "at": "2026-11-23T10:00:00Z"}}


def read_entry(content: Any, table: str = "Consent") -> Made | Wrong:
    (found,) = lines.read([json.dumps(content).encode()], lines.entry_lines(TABLE[table]), "line")
    return found


def test_an_entry_has_the_key_of_its_customer_and_name() -> None:
    made = event(read_entry({"customer": "c-1", "entry": "crm", "said": SAID}))
    assert made["key"] == b"c-1\0crm"
    assert made["value"] == {"said": {"email": {"state": "granted", "at": 1_795_428_000_000}}}
    assert event(read_entry({"customer": "c-1", "said": {}}))["key"] == b"c-1"
    gone = event(read_entry({"customer": "c-1", "entry": "ticket:1", "gone": True}, "Suppression"))
    assert (gone["key"], gone["value"]) == (b"c-1\0ticket:1", None)
    stands = {"customer": "c-1", "entry": "x", "scope": "channel", "of": "email", "at": 5}
    assert event(read_entry(stands, "Suppression"))["value"] == {
        "scope": "channel", "of": "email", "at": 5, "until": None, "until_event": "", "match": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"said": SAID}, "customer: must be text without NUL, and not empty"),
        ({"customer": "", "said": SAID}, "customer: must be text without NUL, and not empty"),
        ({"customer": 7, "said": SAID}, "customer: must be text without NUL, and not empty"),
        ({"customer": "c\0x", "said": SAID}, "customer: must be text without NUL, and not empty"),
        ({"customer": "c-1", "entry": "a\0", "said": SAID}, "entry: must be text without NUL"),
        ({"customer": "c-1", "entry": None, "said": SAID}, "entry: must be text without NUL"),
        ({"customer": "\ud800", "said": SAID}, "customer: is no valid text"),
        ({"customer": "c-1"}, "said: is missing"),
        ({"customer": "c-1", "gone": False}, "has a field that the schema lacks (there are: said)"),
        ({"customer": "c-1", "gone": True, "said": SAID}, "has a field that the schema lacks (there are: said)"),
        (
            {"customer": "c-1", "said": {"email": {"state": "yes", "at": 5}}},
            "said.email.state: must be one of: granted, denied",
        ),
        ({"customer": "c-1", "said": {"email": {"state": "granted"}}}, "said.email.at: is missing"),
        ([], "must be a JSON object"),
    ],
)
def test_what_is_no_entry_is_refused_without_quoting_it(content: Any, message: str) -> None:
    assert told(read_entry(content)) == message
