"""What a payload can never keep of its contract is said before any event comes, with its place."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CONTRACT = {
    "type": "object",
    "required": ["customer", "kind"],
    "additionalProperties": False,
    "properties": {
        "customer": {"type": "string"},
        "kind": {"enum": ["note", "call"]},
        "n": {"type": "integer", "maximum": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "address": {"$ref": "#/$defs/address"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "a%b/c": {"allOf": [{"type": "string"}, {"minLength": 2}]},
        "never": False,
        "tree": {"$ref": "#/$defs/tree"},
        "either": {"anyOf": [{"type": "string"}, {"required": ["x"]}]},
        "open": {"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False},
    },
    "$defs": {
        "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}},
        "line": {"type": "object", "required": ["sku"], "properties": {"sku": {}, "qty": {"type": "integer"}}},
        "tree": {"type": "object", "properties": {"below": {"$ref": "#/$defs/tree"}, "leaf": {"type": "integer"}}},
    },
}
GOOD = "{customer: '${event.customer.id}', kind: note"


def folder_with(folder: Folder, payload: str) -> Folder:
    folder.write("contracts/a.json", json.dumps(CONTRACT))
    folder.change("destinations/crm.yaml", "/notes}", "/notes, request_schema: contracts/a.json}")
    before = "payload:\n      customer: ${event.customer.id}\n"
    return folder.change("journeys/welcome.yaml", before, f"payload: {payload}\n")


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ("^{customer: '${event.customer.id}'}", ": lacks `kind`, which its contract requires (see required"),
        (GOOD + ", ^extra: 1}", ".extra: is a key its contract does not have (contracts/a.json has: customer, "),
        (GOOD + ", ^adress: 1}", ".adress: is a key its contract does not have (did you mean address)"),
        (GOOD + ", ^extra?: '${event.id}'}", ".extra?: is a key its contract does not have"),
        ("{customer: ^7, kind: note}", ".customer: breaks its contract: type (contracts/a.json: # type)"),
        ("{customer: a, kind: ^mail}", ".kind: breaks its contract: enum (contracts/a.json: # enum)"),
        (GOOD + ", n: ^6}", ".n: breaks its contract: maximum"),
        (GOOD + ", n?: ^6}", ".n?: breaks its contract: maximum"),
        (GOOD + ", tags: [a, ^1]}", ".tags[1]: breaks its contract: type"),
        (GOOD + ", tags: ^[a, b, c]}", ".tags: breaks its contract: maxItems"),
        (GOOD + ", tags: ^'${event.id} x'}", ".tags: is text, which breaks its contract (contracts/a.json wants"),
        (GOOD + ", n: ^'no ${event.id}'}", ".n: is text, which breaks its contract (contracts/a.json wants integer)"),
        (GOOD + ", n: ^{a: '${event.id}'}}", ".n: is an object, which breaks its contract"),
        (GOOD + ", n: ^{each: event.properties, as: line, item: 1}}", ".n: is a list, which breaks its contract"),
        (GOOD + ", address: ^{street: '${event.id}'}}", ".address: lacks `city`"),
        (GOOD + ", address: {city: ^1}}", ".address.city: breaks its contract: type"),
        (GOOD + ", lines: {each: event.properties, as: line, item: {sku: 1, qty: ^a}}}", ".lines.item.qty: breaks"),
        (GOOD + ", lines: {each: event.properties, as: line, item: ^{qty: '${line.q}'}}}", ".lines.item: lacks `sku`"),
        (GOOD + ", a%b/c: ^x}", ".a%b/c: breaks its contract: minLength"),
        (GOOD + ", never: ^'${event.id}'}", ".never: is forbidden by its contract (contracts/a.json)"),
        (GOOD + ", tree: {below: {below: {leaf: ^x}}}}", ".tree.below.below.leaf: breaks its contract: type"),
    ],
)  # fmt: skip
def test_what_can_never_be_kept(folder: Folder, payload: str, problem: str) -> None:
    column = len("    payload: ") + payload.index("^") + 1  # the mark stands before what is wrong
    found = folder_with(folder, payload.replace("^", "")).problem()
    assert found.startswith(f"journeys/welcome.yaml:14:{column}: steps[0].payload{problem}")


@pytest.mark.parametrize(
    "more",
    [
        "", ", n: 5", ", 'n?': '${event.properties.n}'", ", tags: [a, '${event.id}']",
        ", address: {city: '${event.id}', x: 1}",
        ", lines: {each: event.properties, as: line, item: {sku: 1, 'qty?': '${line.q}'}}",
        ", tree: {below: {below: {leaf: '${event.properties.n}'}}}", ", either: {y: '${event.id}'}",
        ", open: {xy: '${event.id}'}",
        ", tags: ['$${x}']",
    ],
)  # fmt: skip
def test_what_may_be_kept(folder: Folder, more: str) -> None:
    folder_with(folder, GOOD + more + "}").load()
