"""What an invalid body is told: path and rule, in the words of the schema, and nothing of the body."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import contract
from pipeline.receiver.schema import VIOLATIONS_MAX, compiled
from pipeline.receiver.values import NOT_JSON

ORDER = {
    "type": "object",
    "required": ["customer", "lines"],
    "properties": {
        "customer": {
            "type": "object",
            "required": ["mail"],
            "properties": {"mail": {"type": "string", "format": "email"}},
        },
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "a/b~c": {"type": "integer"},
    },
    "additionalProperties": {"type": "integer"},
    "$defs": {"line": {"type": "object", "properties": {"sku": {"enum": ["A", "B"]}}}},
}
GOOD = {"customer": {"mail": "a@shop.example"}, "lines": [{"sku": "A"}]}


def broken(body, schema=ORDER):
    refused = compiled(schema)(json.dumps(body).encode())
    return None if refused is None else {(each.path, each.rule) for each in refused.violations}


def test_a_valid_body_passes():
    assert broken(GOOD) is None
    assert broken(GOOD | {"more": 5}) is None


@pytest.mark.parametrize(
    ("change", "violations"),
    [
        ({"customer": {}}, {("/customer/mail", "required")}),
        ({"customer": {"mail": "canary"}}, {("/customer/mail", "format")}),
        ({"lines": [{"sku": "A"}, {"sku": "canary"}]}, {("/lines/1/sku", "enum")}),
        ({"lines": "canary", "customer": 5}, {("/lines", "type"), ("/customer", "type")}),
        ({"a/b~c": "canary"}, {("/a~1b~0c", "type")}),
        ({"canary@shop.example": "x"}, {("/*", "type")}),  # a key the schema does not name may be data
    ],
)
def test_violations_name_path_and_rule(change, violations):
    assert broken(GOOD | change) == violations
    reply = compiled(ORDER)(json.dumps(GOOD | change).encode()).reply()
    assert reply.status == 422
    assert b"canary" not in reply.body


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_value_and_no_unknown_key_is_ever_told(content):
    refused = compiled(ORDER)(json.dumps({"canary-key": content, "customer": content}).encode())
    said = set() if refused is None else {part for each in refused.violations for part in each.path.split("/")}
    assert said <= {"", "*", "customer", "lines", "mail"} | {str(number) for number in range(100)}


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b'{"a":1}x', b"[" * 100_000, b"[" * 2_000 + b"]" * 2_000])
def test_what_is_no_json_is_refused(body):
    assert compiled(True)(body) is NOT_JSON


def test_a_body_of_errors_names_only_some_and_a_large_one_the_first():
    check = compiled({"items": {"type": "string"}})
    some = check(json.dumps(["", *range(1_000)]).encode())
    assert [each.path for each in some.violations] == [f"/{number}" for number in range(1, VIOLATIONS_MAX + 1)]
    large = check(json.dumps(["", *range(100_000)]).encode())
    assert large.violations == some.violations[:1]


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (ORDER, {"customer": {}}),
        (ORDER, GOOD | {"lines": [{"sku": "C"}]}),
        (ORDER, GOOD | {"unknown": "x"}),
        (ORDER, GOOD),
        ({"format": "date-time"}, "yesterday"),
        ({"pattern": "^(a+)+$"}, "a" * 5_000 + "b"),
        (False, 1),
    ],
)
def test_a_contract_of_a_destination_means_the_same_on_this_side(schema, body):
    """The file in `contracts/` can be given to the receiver as it is."""
    ours, theirs = compiled(schema)(json.dumps(body).encode()), contract.compiled(schema).check(body)
    said = "" if ours is None else f"#{ours.violations[0].path} {ours.violations[0].rule}"
    assert said == theirs


def test_false_forbids_and_true_allows():
    assert broken({}, True) is None
    assert broken({"a": 1}, {"properties": {"a": False}}) == {("/a", "falseSchema")}


def test_a_schema_fetches_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        with pytest.raises(ValueError, match=r"."):
            compiled({"$ref": f"http://127.0.0.1:{server.getsockname()[1]}/x.json"})
        with pytest.raises(BlockingIOError):  # nobody has connected
            server.accept()


@pytest.mark.parametrize(
    "schema", [{"type": "objekt"}, {"$ref": "http://127.0.0.1:9/x.json"}, {"$ref": "#/$defs/none"}]
)
def test_a_schema_that_is_none_or_refers_elsewhere_is_refused_at_start(schema):
    with pytest.raises(ValueError, match=r"."):
        compiled(schema)
