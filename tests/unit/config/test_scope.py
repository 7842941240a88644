"""Paths of expressions lead where the schema and the `events:` entry say, with types and personal-data classes."""

from __future__ import annotations

import pytest

from pipeline.config.scope import PUBLIC, EventScope, ItemScope, RecordScope
from pipeline.core import types
from pipeline.core.envelope import POSITION
from pipeline.core.expressions import Unknown, Variable
from pipeline.model import ABSENT
from tests.unit.config.conftest import PLACED

TREE = types.tree(PLACED)
DATUM = {"order_id": 7, "placed_at": 1_795_428_000_000_000, "buyer": "c-1", "mail": None, "state": "paid",
         "lines": [{"sku": "A"}, {"sku": "B"}]}  # fmt: skip


def scope(folder, *, strict=True):
    config = folder.load()
    return EventScope(config, config.events[0], TREE, strict=strict)


def found(of, path):
    variable = of(tuple(path.split(".")))
    assert isinstance(variable, Variable), variable
    return variable


def test_a_field_of_the_record_has_its_schemas_type_and_class():
    buyer = found(RecordScope(TREE, strict=True), "record.buyer")
    assert (buyer.cel, buyer.text, buyer.leaf, buyer.cls) == ("string", True, True, "identifier")
    assert buyer.get_json(DATUM, 0) == "c-1"
    state = found(RecordScope(TREE, strict=True), "record.state")
    assert (state.symbols, state.text) == (("open", "paid"), False)


def test_a_field_that_is_not_there_is_a_flaw_or_absent():
    assert RecordScope(TREE, strict=True)(("record", "byer")) == Unknown(
        1, "there is no field `byer`", tuple(each["name"] for each in PLACED["fields"])
    )
    missing = found(RecordScope(TREE, strict=False), "record.byer")
    assert (missing.cel, missing.get_json(DATUM, 0)) == ("dyn", ABSENT)


def test_a_mapping_reads_the_record_and_a_journey_the_event(orders):
    assert RecordScope(TREE, strict=True)(("event", "id")) == Unknown(0, "here only `record` and `now` are known")
    assert scope(orders)(("record", "buyer")) == Unknown(0, "journeys read the event, not the record", ("event",))
    assert scope(orders)(("size",)) is None  # none of ours: a function, or a macro's variable


def test_the_events_path_leads_through_the_entry_into_the_record(orders):
    event = scope(orders)
    buyer = found(event, "event.customer.id")
    assert (buyer.path, buyer.get_json(DATUM, 0), buyer.cls) == ("event.customer.id", "c-1", "identifier")
    assert found(event, "event.time").get_json(DATUM, 0) == "2026-11-23T10:00:00.000Z"
    assert found(event, "event.source.shop").get_json(DATUM, 0) == "eu"
    assert found(event, "event.customer.email").get_json(DATUM, 0) is ABSENT
    # made by an expression of the entry: `id: ${record.order_id}:placed`
    assert found(event, "event.id").get_json(DATUM, 0) == "7:placed"


@pytest.mark.parametrize(
    ("path", "at", "message"),
    [
        ("event.customer.mail", 2, "the event has no `mail` here"),
        ("event.properties", 1, "names a whole object"),
        ("event.id.x", 2, "`id` has no fields"),
        ("steps.a.outcome", 0, "only a step can read the steps before it"),
        ("trigger.id", 0, "only a `match` knows the event that started the run as `trigger`; elsewhere it is `event`"),
        ("tables", 0, "`tables` needs the name of a table"),
        ("tables.none", 1, "there is no table `none`"),
        ("now.year", 1, "`now` has no fields"),
    ],
)
def test_a_path_that_leads_nowhere_says_from_where_on(orders, path, at, message):
    unknown = scope(orders)(tuple(path.split(".")))
    assert isinstance(unknown, Unknown)
    assert (unknown.at, unknown.message) == (at, message)


def test_the_configurations_class_wins_over_the_schemas(orders):
    orders.add("hookline.yaml", "classes: {customer.id: contact}\n")
    assert found(scope(orders), "event.customer.id").cls == "contact"


def test_facts_of_no_class_are_public_and_properties_are_not(orders):
    assert found(scope(orders), "event.time").cls == PUBLIC
    assert found(scope(orders), "event.properties.remark").cls == ""


def test_a_position_is_told_by_the_envelope(orders):
    orders.change("hookline.yaml", '"${record.order_id}:placed"', "position")
    assert found(scope(orders), "event.id").get_json({POSITION: "t/0/7"}, 0) == "t/0/7"


def test_tables_are_whole_or_by_entry(folder):
    folder.write("shared/common.yaml", "tables:\n  names: {paid: Paid}\n")
    assert found(scope(folder), "tables.names").cel == "map(string, dyn)"
    assert found(scope(folder), "tables.names.paid").get_json({}, 0) == "Paid"


def test_now_is_what_the_run_says():
    now = found(RecordScope(TREE, strict=True), "now")
    assert now.get_json(DATUM, 1_795_428_000_000) == "2026-11-23T10:00:00.000Z"


def test_an_items_paths_lead_into_the_item_and_all_others_outside(orders):
    outer = scope(orders)
    listed = outer.listed(("event", "properties", "lines"))
    assert listed is not None
    assert listed.get(DATUM, 0) == DATUM["lines"]
    inner = ItemScope(outer, "line", listed, strict=True)
    pair = (DATUM, DATUM["lines"][1])
    assert (found(inner, "line.sku").get_json(pair, 0), found(inner, "line.sku").cls) == ("B", "public")
    assert found(inner, "event.customer.id").get_json(pair, 0) == "c-1"
    assert isinstance(inner(("line", "skew")), Unknown)


def test_what_is_no_list_is_not_listed(orders):
    assert scope(orders).listed(("event", "customer", "id")) is None
    assert scope(orders).listed(("tables", "names")) is None
