"""Payloads name the fields they send; what only looks like a value is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

WELCOME = "journeys/welcome.yaml"
LEAF = "customer: ${event.customer.id}"


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (
            "a: event.customer.id",
            "15:10: steps[0].payload.a: is text as it stands, not a value (write ${…} around an expression)",
        ),
        (
            "a: steps.x.outcome",
            "15:10: steps[0].payload.a: is text as it stands, not a value (write ${…} around an expression)",
        ),
        (
            "a: {b: [1, event.id]}",
            "15:18: steps[0].payload.a.b[1]: is text as it stands, not a value (write ${…} around an expression)",
        ),
        (
            "a: ${event}",
            "15:10: steps[0].payload.a: sends a whole object (name the fields that are needed, one by one)",
        ),
        (
            'a: "${ event.customer }"',
            "15:10: steps[0].payload.a: sends a whole object (name the fields that are needed, one by one)",
        ),
        (
            "a: it was ${event.properties}",
            "15:10: steps[0].payload.a: sends a whole object (name the fields that are needed, one by one)",
        ),
        (
            "a: ${steps.x.response}",
            "15:10: steps[0].payload.a: sends a whole object (name the fields that are needed, one by one)",
        ),
        ("'${event.type}': 1", "15:7: steps[0].payload.${event.type}: a key cannot be computed"),
        ("12: 1", "15:7: steps[0].payload[12]: must be text (put it in quotes)"),
        ("{1: 2}", "15:8: steps[0].payload[1]: must be text (put it in quotes)"),
        ("a: {1: 2}", "15:11: steps[0].payload.a[1]: a key must be text (put it in quotes)"),
        ("'?': 1", "15:7: steps[0].payload.?: a key must not be empty"),
        ("{a: 1, a?: 2}", "15:14: steps[0].payload.a?: `a` is here as well"),
        (
            "a: {each: event.properties.lines, as: line}",
            "15:10: steps[0].payload.a: a list mapping needs `item` ({each: LIST, as: NAME, item: {…}})",
        ),
        (
            "a: {each: event.x, as: line, item: {}, max: 3}",
            "15:46: steps[0].payload.a.max: is no key of a list mapping (each, as, item)",
        ),
        (
            'a: {each: "${event.x}", as: line, item: {}}',
            "15:17: steps[0].payload.a.each: must be a CEL expression (write it without ${ })",
        ),
        (
            "a: {each: event.x, as: event, item: {}}",
            "15:30: steps[0].payload.a.as: must be a name of its own (such as line)",
        ),
        ("[1, 2]", "15:7: steps[0].payload: must be a mapping (key: value)"),
        ("text", "15:7: steps[0].payload: must be a mapping (key: value)"),
        (
            "a: 1\n      include: touchpoint",
            "16:16: steps[0].payload.include: must be a list of fragments of shared/*.yaml",
        ),
    ],
)
def test_refused(folder: Folder, leaf: str, expected: str) -> None:
    assert folder.change(WELCOME, LEAF, leaf).problem() == f"{WELCOME}:{expected}"


def test_literals_keep_their_types(folder: Folder) -> None:
    folder.change(
        WELCOME, LEAF, "a: {on: off, b: 1.50, c: ~, d: [NO, 0123, true], 'e?': '', f: event fired, g: \"$${x}\"}"
    )
    assert folder.load().journeys["welcome"].steps[0].payload == {
        "a": {"on": "off", "b": 1.5, "c": None, "d": ["NO", 123, True], "e?": "", "f": "event fired", "g": "$${x}"}
    }


def test_a_list_mapping(folder: Folder) -> None:
    folder.change(WELCOME, LEAF, 'lines: {each: event.properties.lines, as: line, item: {sku: "${line.sku}"}}').load()


SHARED = """\
fragments:
  touchpoint:
    customer_id: ${event.customer.id}
    at: event.time
tables:
  stage: {signup.completed: new}
"""


def test_fragments_are_expanded_where_they_are_included(folder: Folder) -> None:
    folder.write("shared/common.yaml", SHARED.replace("event.time", "${event.time}"))
    config = folder.change(WELCOME, LEAF, "kind: web\n      include: [touchpoint]").load()
    assert config.journeys["welcome"].steps[0].payload == {
        "customer_id": "${event.customer.id}",
        "at": "${event.time}",
        "kind": "web",
    }
    assert config.tables == {"stage": {"signup.completed": "new"}}
    assert config.where(WELCOME, ("steps", 0, "payload", "at"))[:2] == ("shared/common.yaml", 4)


def test_a_problem_of_a_fragment_stands_in_its_own_file(folder: Folder) -> None:
    folder.write("shared/common.yaml", SHARED)
    problem = folder.change(WELCOME, LEAF, "include: [touchpoint]").problem()
    assert problem.startswith("shared/common.yaml:4:9: steps[0].payload.at: is text as it stands")


@pytest.mark.parametrize(
    ("leaf", "expected"),
    [
        (
            "include: [touchpiont]",
            "15:17: steps[0].payload.include[0]: there is no such fragment (did you mean touchpoint)",
        ),
        (
            "include: [touchpoint]\n      at?: 1",
            "15:17: steps[0].payload.include[0]: brings `at`, which the payload has already",
        ),
    ],
)
def test_includes_that_are_refused(folder: Folder, leaf: str, expected: str) -> None:
    folder.write("shared/common.yaml", SHARED.replace("event.time", "${event.time}"))
    assert folder.change(WELCOME, LEAF, leaf).problem() == f"{WELCOME}:{expected}"


def test_a_name_is_shared_once(folder: Folder) -> None:
    shared = SHARED.replace("event.time", "${event.time}")
    folder.write("shared/a.yaml", shared).write("shared/b.yaml", shared)
    assert [str(each) for each in folder.problems()] == [
        "shared/b.yaml:2:3: fragments.touchpoint: is defined already (in shared/a.yaml)",
        "shared/b.yaml:6:3: tables.stage: is defined already",
    ]


def test_a_table_holds_plain_values(folder: Folder) -> None:
    folder.write("shared/a.yaml", "tables: {stage: {a: [1]}}\n")
    assert folder.problem() == "shared/a.yaml:1:21: tables.stage.a: must be text, a number, true or false"


def test_an_expression_in_a_flow_mapping_needs_quotes(folder: Folder) -> None:
    problem = folder.change(WELCOME, LEAF, "{a: ${event.id}}").problem()
    assert problem.startswith(f"{WELCOME}:15:12: not YAML: ")
    assert problem.endswith("(inside { } and [ ] put ${…} in quotes)")
