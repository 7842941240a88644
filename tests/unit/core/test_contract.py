"""Contracts: what breaks one is named by place and keyword, and of a response only what is declared is kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import contract
from pipeline.core.contract import Contract, Field, Flawed, compiled, pointer, reader, tokens
from pipeline.model import Answer, Broken, FailureClass, Refused

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["email"],
    "properties": {
        "email": {"type": "string", "format": "email"},
        "age": {"type": "integer", "minimum": 18},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "a/b~c": {"const": 1},
    },
    "additionalProperties": {"type": "string"},
    "$defs": {"line": {"type": "object", "required": ["sku"], "properties": {"sku": {"pattern": "^[A-Z]+$"}}}},
}


def check(document, schema=SCHEMA):
    made = compiled(schema)
    assert isinstance(made, Contract), made
    return made.check(document)


GOOD = {"email": "a@example.org"}


@pytest.mark.parametrize(
    ("document", "flaw"),
    [
        (GOOD, ""),
        (GOOD | {"lines": [{"sku": "A"}], "age": 18.0}, ""),
        ([], "# type"),
        ({}, "#/email required"),
        ({"email": "hush"}, "#/email format"),
        (GOOD | {"age": 17}, "#/age minimum"),
        (GOOD | {"age": "hush"}, "#/age type"),
        (GOOD | {"lines": [{"sku": "A"}, {}]}, "#/lines/1/sku required"),
        (GOOD | {"lines": [{"sku": "hush"}]}, "#/lines/0/sku pattern"),
        (GOOD | {"a/b~c": 2}, "#/a~1b~0c const"),
        (GOOD | {"hush@example.org": 1}, "#/* type"),
        (GOOD | {"age": "\ud800"}, "# json"),
    ],
)
def test_what_breaks_a_contract_is_named_by_place_and_keyword_and_never_quoted(document, flaw):
    assert check(document) == flaw


@pytest.mark.parametrize(
    ("schema", "flawed"),
    [
        ([], ("#", "must be an object, or true or false")),
        ({"$schema": "http://json-schema.org/draft-07/schema#"}, ("#/$schema", "must be the draft 2020-12")),
        ({"properties": {"a": {"type": "objekt"}}}, ("#/properties/a/type", "is not what draft 2020-12 allows here")),
        ({"required": "a"}, ("#/required", "is not what draft 2020-12 allows here")),
        ({"$ref": "#/$defs/gone"}, ("#/$ref", "leads nowhere")),
        ({"$ref": "https://example.org/x"}, ("#/$ref", "must stay inside the file, and so begin with #")),
        ({"properties": {"x": {"$ref": "other.json"}}}, ("#/properties/x/$ref", "must stay inside the file")),
        ({"allOf": [{"$dynamicRef": "file:/etc/passwd"}]}, ("#/allOf/0/$dynamicRef", "must stay inside the file")),
        ({"properties": {"a": {"pattern": "(?=x)y"}}}, ("#/properties/a/pattern", "is no regular expression of the")),
    ],
)
def test_what_cannot_be_a_contract_is_placed(schema, flawed):
    made = compiled(schema)
    assert isinstance(made, Flawed)
    assert (made.pointer, made.message[: len(flawed[1])]) == flawed


def test_data_in_a_schema_is_no_schema():
    schema = {"const": {"$ref": "x"}, "enum": [{"$ref": "x"}], "properties": {"$ref": {"type": "string"}}}
    assert check({"$ref": "x"}, schema) == ""


def test_a_pattern_takes_linear_time_on_what_was_made_to_take_more():
    assert check("a" * 50_000 + "!", {"pattern": "^(a+)+$"}) == "# pattern"


def test_a_part_of_a_contract_can_be_asked_alone():
    made = compiled(SCHEMA)
    line = made.at(("$defs", "line"))
    assert (line({"sku": "A"}), line({})) == ("", "#/sku required")
    assert made.at(("properties", "lines"))([1]) == "#/0 type"
    assert made.at(("properties", "a/b~c"))(2) == "# const"
    assert made.at(())({}) == "#/email required"
    other_base = {"$id": "b.json", "properties": {"x": {"$id": "c.json", "$ref": "#/$defs/q", "$defs": {"q": False}}}}
    assert compiled(other_base).check({"x": 1}) == "#/x falseSchema"
    assert compiled(other_base).at(("properties", "x"))(1) == ""


@given(st.lists(st.text() | st.integers(0, 99), max_size=5))
def test_pointers_can_be_read_back(path):
    assert tokens(pointer(path)[1:]) == tuple(map(str, path))


@pytest.mark.parametrize("text", ["a", "a/b", "/~", "/a~2", "#/a"])
def test_what_is_no_pointer(text):
    assert tokens(text) is None


# ----------------------------------------------------------------------------------------------------------- responses


def answer(document, **more):
    return Answer(200, "", json.dumps(document).encode(), **more)


def kept(document, type_="string", at="/data/x", **more):
    return reader(None, [Field("x", tokens(at), type_, **more)])(answer(document))


def test_only_declared_fields_are_kept():
    fields = [
        Field("stage", ("data", "stage"), "string", ("won", "lost")),
        Field("owner", ("data", "owner"), "string", (), optional=True),
        Field("second", ("list", "1"), "int"), Field("whole", (), "map"),
    ]  # fmt: skip
    document = {"data": {"stage": "won", "owner": None, "phone": "hush"}, "list": [1, 2]}
    assert reader(None, fields[:3])(answer(document)) == {"stage": "won", "second": 2}
    assert reader(None, fields[3:])(answer(document)) == {"whole": document}
    assert reader(None, [])(answer(document)) == {}


@pytest.mark.parametrize(
    ("type_", "given", "expected"),
    [
        ("string", "a", "a"), ("int", 5, 5), ("int", 5.0, 5), ("number", 5, 5), ("number", 0.5, 0.5),
        ("bool", False, False), ("list", [1], [1]), ("map", {}, {}),
        ("timestamp", "2026-11-23T11:00:00.5+01:00", datetime(2026, 11, 23, 10, 0, 0, 500_000, UTC)),
        ("timestamp", "2026-11-23t10:00:00z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_values_have_their_types(type_, given, expected):
    made = kept({"data": {"x": given}}, type_)["x"]
    assert (made, type(made)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("type_", "given", "keyword"),
    [
        ("string", 1, "type"), ("int", True, "type"), ("int", 1.5, "type"), ("number", True, "type"),
        ("bool", 1, "type"), ("list", {}, "type"), ("map", [], "type"), ("timestamp", 1, "type"),
        ("timestamp", "2026-11-23", "format"), ("timestamp", "2026-13-23T10:00:00Z", "format"),
        ("timestamp", "0001-01-01T00:00:00+23:00", "format"),
        ("string", None, "required"),
    ],
)  # fmt: skip
def test_a_wrong_value_breaks_the_contract(type_, given, keyword):
    assert kept({"data": {"x": given}}, type_) == Broken(f"#/data/x {keyword}")


@pytest.mark.parametrize("document", [{}, {"data": []}, {"data": {}}, "text", None])
def test_a_missing_value_breaks_the_contract_unless_it_may_be_missing(document):
    assert kept(document) == Broken("#/data/x required")
    assert kept(document, optional=True) == {}


@pytest.mark.parametrize(("given", "fits"), [(1, True), (True, False), (2, False)])
def test_one_of(given, fits):
    made = kept({"data": {"x": given}}, "bool" if given is True else "int", one_of=(1, 3))
    assert made == ({"x": given} if fits else Broken("#/data/x enum"))


@pytest.mark.parametrize(
    ("at", "found"), [("/a/0", 1), ("/a/00", None), ("/a/2", None), ("/a/-", None), ("/a/-1", None)]
)
def test_an_index_leads_into_a_list(at, found):
    assert kept({"a": [1]}, "int", at, optional=True) == ({"x": 1} if found else {})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>Sign in</html>", "# json"),
        (b"", "# json"),
        (b"[" * 100_000, "# json"),
        (b'{"email": "\xff"}', "# json"),
        (b'{"email": 1}', "#/email type"),
        (b"{}", "#/email required"),
    ],
)
def test_what_is_not_the_promised_json_breaks_the_contract(body, detail):
    read = reader(compiled(SCHEMA).check, [])
    assert read(Answer(200, "", body)) == Broken(detail)


def test_a_cut_response_breaks_the_contract_and_a_byte_order_mark_does_not():
    read = reader(compiled(SCHEMA).check, [])
    assert read(answer(GOOD, cut=True)) == Broken("# too_long")
    assert read(Answer(200, "", b"\xef\xbb\xbf" + json.dumps(GOOD).encode())) == {}


def test_a_literal_is_of_its_type():
    assert contract.is_of("int", 1)
    assert not contract.is_of("int", True)


def test_a_default_that_sends_an_identifier_that_is_none_names_it():
    made = contract.fallback({}, [(Field("to", ("to",), "string"), lambda datum, _now_ms: datum)])
    assert made("ann@example.org", 0) == {"to": "ann@example.org"}
    invalid = FailureClass.INVALID_IDENTIFIER
    assert made(Refused(invalid, ""), 0) == Refused(invalid, "default.to")
