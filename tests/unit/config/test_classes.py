"""No whole object leaves in a payload, however it is written, and nothing hides the class of what is in one."""

from __future__ import annotations

import json
import pathlib

import pytest

from pipeline.config.compile import check, sent
from pipeline.config.scope import EventScope
from pipeline.config.shown import Masking
from pipeline.config.steps import JourneyCompiler
from pipeline.core import types
from pipeline.model import FailureClass, Refused
from tests.unit.config.conftest import ORDERS, PLACED

WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"
LIFECYCLE = json.loads(pathlib.Path("schemas/lifecycle_event.avsc").read_text("utf-8"))
TEXT = {"type": "string"}
LINE = {
    "type": "record", "name": "Line", "fields": [
        {"name": "sku", "type": "string", "hookline.class": "public"},
        {"name": "phone", "type": "string", "hookline.class": "contact"},
        {"name": "qty", "type": "int"},
        {"name": "notes", "type": {"type": "array", "items": {
            "type": "record", "name": "Note", "fields": [{"name": "by", "type": "string", "hookline.class": "contact"}],
        }}},
    ],
}  # fmt: skip
RECORD = PLACED | {
    "fields": [
        *(each for each in PLACED["fields"] if each["name"] != "lines"),
        {"name": "lines", "type": {"type": "array", "items": LINE}},
        {"name": "tags", "type": {"type": "array", "items": "string"}, "hookline.class": "public"},
        {"name": "maps", "type": {"type": "array", "items": {"type": "map", "values": "string"}}},
        {"name": "either", "type": [{"type": "record", "name": "A", "fields": [{"name": "a", "type": "int"}]}, "Line"]},
        {"name": "mixed", "type": ["null", "string", {"type": "array", "items": "Line"}]},
    ]
}
EXTRA = """\
      , tags: "${record.tags}", maps: "${record.maps}", either: "${record.either}", mixed: "${record.mixed}",
      kept: "${record.lines.filter(l, l.qty > 0)}", phones: "${record.lines.map(l, l.phone)}",
      both: "${record.state + record.mail}"}
"""
CLASSES = "classes: {properties.lines: public, properties.maps: public, properties.mixed: public}\n"
DATUM = {
    "order_id": 7, "placed_at": 1_795_428_000_000_000, "buyer": "c-1", "mail": "ann@example.org", "opted_in": True,
    "total": (12_950).to_bytes(2, "big"), "state": "paid", "remark": None, "tags": ["a", "b"],
    "lines": [{"sku": "A", "phone": "+4930901820", "qty": 1, "notes": []}], "maps": [{"x": "y"}],
    "either": {"a": 1}, "mixed": [{"sku": "A", "phone": "+4930901820", "qty": 1, "notes": []}],
}  # fmt: skip


@pytest.fixture
def typed(orders):
    """Records of a typed schema, with a telephone number in each line of an order."""
    orders.write("hookline.yaml", ORDERS.rstrip().removesuffix("}") + "\n" + EXTRA + CLASSES)
    return orders


def sending(folder, payload, schema=RECORD):
    """What a payload's step became, and what is wrong with it."""
    text = (folder.root / WELCOME).read_text()
    folder.write(WELCOME, text[: text.index("    payload:")] + f"    payload: {{v: {payload}}}\n")
    config = folder.load()
    scope = EventScope(config, config.events[0], types.tree(schema), strict=True)
    compiler = JourneyCompiler(config, config.journeys["welcome"], scope, strict=True, classes=True)
    [step] = compiler.compile().steps
    return step, [str(each) for each in compiler.problems]


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ("'${event.properties.lines}'", "is a list of whole objects"),
        ("'${event.properties.maps}'", "is a list of whole objects"),
        ("'${event.properties.kept}'", "is a list of whole objects"),
        ("['${event.properties.lines}']", "is a list of whole objects"),
        ("{each: event.properties.lines, as: line, item: '${line}'}", "`line` is a whole object"),
        ("{each: event.properties.lines, as: line, item: '${line.notes}'}", "is a list of whole objects"),
        ("'${event.properties.either}'", "is a whole object"),
        ("'${event.properties.lines + event.properties.lines}'", "makes a list that may hold whole objects"),
        ("'${event.properties.lines.filter(l, l.qty > 0)}'", "makes a list that may hold whole objects"),
        ("'${event.properties.lines.map(l, l)}'", "makes a list that may hold whole objects"),
        ("'${event.properties.lines.map(l, l.sku)}'", "makes a list that may hold whole objects"),
        ("'${[event.properties.lines]}'", "makes a list that may hold whole objects"),
        ("'${[event.properties.mixed]}'", "makes a list that may hold whole objects"),
        ("'${true ? event.properties.lines : []}'", "makes a list that may hold whole objects"),
        ("'${event.properties.lines[0]}'", "makes a whole object"),
        ("'${[{\"a\": event.id}]}'", "makes a list that may hold whole objects"),
    ],
)  # fmt: skip
def test_whole_objects_are_refused(typed, payload, problem):
    step, problems = sending(typed, payload)
    assert len(problems) == 1
    assert problem in problems[0]
    assert "name what is needed" in problems[0] or "makes a whole" in problems[0] or "name the fields" in problems[0]
    assert step.render(DATUM, 0).cls is FailureClass.CONFIG  # what is pinned from before this was refused


@pytest.mark.parametrize(
    ("payload", "becomes"),
    [
        ("'${event.properties.tags}'", ["a", "b"]),
        ("'${event.properties.tags.filter(t, t != \"a\")}'", ["b"]),
        ("'${event.properties.tags + [\"c\"]}'", ["a", "b", "c"]),
        ("'${size(event.properties.lines)}'", 1),
        ("'${event.properties.lines.size() + size(event.properties.lines)}'", 2),
        ("'You left ${size( event.properties.lines )} things'", "You left 1 things"),
        ("'${has(event.properties.lines)}'", True),
        ("{each: event.properties.lines, as: line, item: {sku: '${line.sku}', qty: '${line.qty}'}}",
         [{"sku": "A", "qty": 1}]),
    ],
)  # fmt: skip
def test_what_is_named_goes(typed, payload, becomes):
    step, problems = sending(typed, payload)
    assert problems == []
    assert json.loads(step.render(DATUM, 0)) == {"v": becomes}


@pytest.mark.parametrize(
    "payload",
    [
        "{each: event.properties.lines, as: line, item: '${line.phone}'}",
        "{each: event.properties.lines, as: line, item: {each: line.notes, as: note, item: '${note.by}'}}",
        "{each: event.properties.lines, as: line, item: {each: 'line.notes.filter(n, true)', as: n, item: '${n.by}'}}",
        "{each: 'event.properties.lines.filter(l, true)', as: line, item: '${line.phone}'}",
        "{each: 'event.properties.lines.map(l, l.phone)', as: phone, item: '${phone}'}",
        "{each: 'event.properties.mixed', as: line, item: '${line.phone}'}",
        "'${event.properties.lines[0].phone}'",
        "'${string(event.properties.lines[0].phone)}'",
        "'${int(event.properties.lines[0].phone)}'",
        "'${sha256(string(event.properties.lines[0].phone))}'",
        "'${event.properties.lines.map(l, string(l.phone))}'",
        "'${size(event.properties.lines) > 0 ? string(event.properties.lines[0].phone) : \"\"}'",
        "'${event.properties.both}'",
    ],
)
def test_a_class_outside_does_not_hide_the_one_inside(typed, payload):
    """hookline.yaml calls the list public, its schema calls the number in a line contact; crm receives identifiers."""
    _, problems = sending(typed, payload)
    assert any("sends a field of class contact, which crm does not receive" in each for each in problems), problems
    typed.change(CRM, "receives: [identifier]", "receives: [identifier, contact]")
    assert not any("class" in each for each in sending(typed, payload)[1])


def test_what_a_mapping_computes_has_the_classes_of_what_it_reads(typed):
    payload = "{each: event.properties.phones, as: phone, item: '${phone}'}"
    found = "".join(sending(typed, payload)[1])
    assert "sends text of no class" in found  # for none is named for `record.lines`
    assert "sends a field of class contact" in found
    typed.change("hookline.yaml", "classes: {", "classes: {properties.phones: identifier, ")
    assert sending(typed, payload)[1] == []


def test_the_very_field_is_what_the_configuration_says(typed):
    typed.change("hookline.yaml", "properties.lines: public", "properties.lines.phone: public")
    assert sending(typed, "{each: event.properties.lines, as: line, item: '${line.phone}'}")[1] == []


def test_the_class_of_a_list_is_no_less_than_its_items(typed):
    typed.change("hookline.yaml", "properties.lines: public", "properties.lines: free_text")
    payload = "{each: event.properties.lines, as: line, item: '${line.phone}'}"
    assert [each.partition("of class ")[2].partition(",")[0] for each in sending(typed, payload)[1]] == [
        "free_text", "contact",
    ]  # fmt: skip


def test_source_is_public_but_for_what_the_record_calls_personal(typed):
    typed.change("hookline.yaml", 'source: {shop: "eu"}', 'source: {shop: "${record.mail}", of: "${record.remark}"}')
    assert "class contact" in sending(typed, "'${event.source.shop}'")[1][0]
    assert sending(typed, "'${event.source.of}'")[1] == []


@pytest.mark.parametrize("payload", ["'${event.properties.mixed}'", "'${true ? event.properties.mixed : 1}'"])
def test_what_only_the_event_tells_is_refused_by_the_event(typed, payload):
    typed.change(CRM, "receives: [identifier]", "receives: [identifier, contact]")
    step, problems = sending(typed, payload)
    assert problems == []
    assert json.loads(step.render(DATUM | {"mixed": "words"}, 0)) == {"v": "words"}
    assert step.render(DATUM, 0) == Refused(FailureClass.SCHEMA, "v")


# ------------------------------------------------------------------------- Hookline's own event: properties of any type

CART = {"cart_value": 7, "lines": [{"sku": "A", "gift_note": "call +4930901820"}], "tags": ["a"]}


@pytest.fixture
def own(folder):
    folder.add("hookline.yaml", "classes: {properties.lines.sku: public, properties.cart_value: public}\n")
    return folder


def test_a_list_whose_fields_have_classes_is_known_to_hold_objects(own):
    [problem] = sending(own, "'${event.properties.lines}'", LIFECYCLE)[1]
    assert "`event.properties.lines` is a whole object" in problem
    assert "of a list: map it" in problem


def test_the_fields_of_an_item_have_their_own_classes(own):
    line = "{each: event.properties.lines, as: line, item: '${line.%s}'}"
    step, problems = sending(own, line % "sku", LIFECYCLE)
    assert problems == []
    assert json.loads(step.render({"properties": CART}, 0)) == {"v": ["A"]}
    assert "sends text of no class" in sending(own, line % "gift_note", LIFECYCLE)[1][0]
    own.change("hookline.yaml", "lines.sku: public", "lines: public, properties.lines.gift_note: contact")
    assert "sends a field of class contact" in sending(own, line % "gift_note", LIFECYCLE)[1][0]
    assert "sends a field of class contact" in sending(own, "'${event.properties.lines[0].gift_note}'", LIFECYCLE)[1][0]


@pytest.mark.parametrize(
    "payload",
    [
        "'${event.properties.lines}'",
        "'${event.properties.lines + event.properties.lines}'",
        "'${event.properties.lines[0]}'",
        "'${true ? event.properties.lines : 1}'",
        "['${event.properties.lines}']",
        "{deep: '${event.properties.lines}'}",
    ],
)
def test_nothing_whole_goes_where_no_type_tells(own, payload):
    own.change("hookline.yaml", "properties.lines.sku: public", "properties.lines: public")
    step, problems = sending(own, payload, LIFECYCLE)
    assert problems == []
    made = step.render({"properties": CART}, 0)
    assert isinstance(made, Refused)
    assert made.cls is FailureClass.SCHEMA
    assert made.field.startswith("v")


def test_nothing_whole_goes_in_a_url(own):
    own.change("hookline.yaml", "properties.lines.sku: public", "properties.lines: public")
    own.change(CRM, "{path: /notes}", '{path: "/n", query: {q: "${event.properties.lines}"}}')
    step, problems = sending(own, "1", LIFECYCLE)
    assert problems == []
    assert step.target({"properties": CART}, 0) == Refused(FailureClass.SCHEMA, "query.q")
    assert step.target({"properties": {"lines": "l"}}, 0) == b"/n?q=l"


def test_without_a_schema_the_event_tells(own):
    """As for records whose schema turns up with them: nothing was known when the configuration was checked."""
    step, _ = sending(own, "'${event.properties.cart_value}'", LIFECYCLE)
    assert json.loads(step.render({"properties": CART}, 0)) == {"v": 7}
    for found in ([{"a": 1}], [[{"a": 1}]], {"a": 1}):
        assert types.plain_sent(found) is types.WHOLE
    assert types.plain_sent([1, ["a"]]) == [1, ["a"]]
    assert check(own.load(), {}) == ()


def test_a_contract_that_wants_objects_is_evidence(own):
    own.write("contracts/a.json", json.dumps({"properties": {
        "v": {"type": "array", "items": {"type": "object"}}, "w": {"type": "object"}, "n": {"type": "integer"},
    }}))  # fmt: skip
    own.change(CRM, "{path: /notes}", "{request_schema: contracts/a.json}")
    own.change(
        WELCOME, "      customer: ${event.customer.id}\n",
        "      v: ${event.properties.a}\n      w: ${event.properties.b}\n      n: ${event.properties.c}\n",
    )  # fmt: skip
    assert [(each.field, each.message) for each in own.problems()] == [
        ("steps[0].payload.v", "is one value, and whole objects are not sent"),
        ("steps[0].payload.w", "is one value, and whole objects are not sent"),
    ]
    assert own.problems()[0].hint == "contracts/a.json wants a list of objects: write each, as, item"


def test_a_field_of_a_row_that_is_an_object_is_no_constant_table(folder):
    folder.add(
        "hookline.yaml", "lookups: {crm: {topic: crm.rows, fields: {all: {at: /all, type: map, class: public}}}}\n"
    )
    [problem] = sending(folder, "'${tables.crm.all}'", LIFECYCLE)[1]
    assert "`tables.crm.all` is a whole object" in problem


def test_the_configurations_own_tables_go_whole(folder):
    folder.write("shared/common.yaml", "tables:\n  colours: {red: rouge}\n")
    step, problems = sending(folder, "['${tables.colours}', '${tables.colours.red}']", LIFECYCLE)
    assert problems == []
    assert json.loads(step.render({}, 0)) == {"v": [{"red": "rouge"}, "rouge"]}


def test_what_is_governed_and_masked_has_all_its_classes(typed):
    typed.change(CRM, "receives: [identifier]", "receives: [identifier, contact]")
    payload = "'${string(event.properties.lines[0].sku)}'"
    assert sending(typed, payload)[1] == []
    config = typed.load()
    readers = {"shop.OrderPlaced": RECORD}
    assert {each.cls for each in sent(config, readers)} == {"public", "contact"}
    masking = Masking(config, config.events[0], readers)
    assert not masking.public(payload.strip("'"))
    assert masking.public("${size(event.properties.lines)}")
