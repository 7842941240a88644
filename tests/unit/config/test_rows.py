"""config/rows: a step reads what other systems know of its customer; nothing else does."""

from __future__ import annotations

import orjson
import pytest

from pipeline.app.check import checked
from pipeline.config import rows
from pipeline.config.compile import compile as compile_config
from pipeline.config.secrets import Secrets
from pipeline.model import ROWS, Broken, FailureClass, Refused
from tests.unit.config.test_measure import SCHEMA

LOOKUPS = """\
lookups:
  crm_ids:
    topic: crm.customer-ids
    fields:
      account: {at: /ids/account, type: string, class: identifier}
      tier: {at: /tier, type: string, one_of: [gold, silver], optional: true}
      since: {at: /since, type: timestamp, optional: true}
      seats: {at: /seats, type: int, optional: true}
"""


@pytest.fixture
def shop(folder):
    folder.add("hookline.yaml", LOOKUPS)
    return folder.change("journeys/welcome.yaml", "      customer: ${event.customer.id}\n", """\
      account: ${tables.crm_ids.account}
      since?: ${tables.crm_ids.since}
      seats?: ${tables.crm_ids.seats}
    when: '!has(tables.crm_ids.tier) || tables.crm_ids.tier == "gold"'
""")  # fmt: skip


def step(shop):
    plan = compile_config(shop.load(), Secrets(shop.root, {}), {"hookline.LifecycleEvent": SCHEMA}).plan(
        "lifecycle.events", SCHEMA
    )
    return plan.routes["signup.completed"][0].steps[0]


def test_a_step_reads_the_row_of_its_customer(shop):
    made = step(shop)
    assert made.looks_up == ("crm_ids",)
    row = {"account": "a-1", "tier": "gold", "since": "2026-01-02T03:04:05Z", "seats": 3}
    datum = {ROWS: {"crm_ids": row}}
    assert made.when(datum, 0) is True
    assert orjson.loads(made.render(datum, 0)) == {"account": "a-1", "since": "2026-01-02T03:04:05.000Z", "seats": 3}
    assert made.when({ROWS: {"crm_ids": row | {"tier": "silver"}}}, 0) is False


@pytest.mark.parametrize("datum", [{}, {ROWS: {"crm_ids": {}}}, {ROWS: {}}])
def test_a_row_that_is_not_there_is_a_missing_field_and_an_absent_value(shop, datum):
    made = step(shop)
    assert made.when(datum, 0) is True
    assert made.render(datum, 0) == Refused(FailureClass.MISSING_FIELD, "account")


def test_only_steps_of_journeys_that_run_make_a_topic_needed(shop):
    assert list(rows.used(shop.load())) == ["crm_ids"]
    shop.change("journeys/welcome.yaml", "status: live", "status: draft")
    assert rows.used(shop.load()) == {}


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("crm_ids.account", "crm_ids.acount", "the look-up has no `acount` (did you mean account)"),
        ("${tables.crm_ids.account}", "${tables.crm_ids}", "`crm_ids` is a look-up: name a field of it"),
        ('tier == "gold"', 'tier == "golden"', '`tables.crm_ids.tier` is never "golden" (did you mean gold)'),
        ("  max_age: 2h", '  max_age: 2h\n  when: tables.crm_ids.tier == "gold"', "which only steps can read"),
    ],
)
def test_what_is_wrong_in_a_journey_is_told(shop, before, after, problem):
    shop.change("journeys/welcome.yaml", before, after)
    found = [str(each) for each in checked(shop.root, None)[1]]
    assert len(found) == 1, found
    assert problem in found[0]


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (
            ", class: identifier",
            "",
            "sends text of no class (name its class in `class` of the field in hookline.yaml's",
        ),
        ("identifier}", "contact}", "sends a field of class contact, which crm does not receive"),
        ("crm.customer-ids", "shop.control", "lookups.crm_ids.topic: is one of Hookline's own topics"),
        ("at: /tier", "at: tier", "lookups.crm_ids.fields.tier.at: must be a JSON pointer"),
    ],
)
def test_what_is_wrong_with_a_look_up_is_told(shop, before, after, problem):
    shop.change("hookline.yaml", before, after)
    assert any(problem in str(each) for each in checked(shop.root, None)[1]), checked(shop.root, None)[1]


def test_a_name_is_either_a_table_or_a_look_up(shop):
    shop.write("shared/tables.yaml", "tables: {crm_ids: {a: b}}\n")
    assert "lookups.crm_ids: is the name of a table in shared/ (choose another: both are read as" in shop.problem()


def test_a_row_is_what_its_fields_say_or_none(shop):
    made = rows.row(shop.load().lookups["crm_ids"])
    assert made({"ids": {"account": "a-1"}, "more": 1}) == {"account": "a-1"}
    assert made({"ids": {}}) == Broken("#/ids/account required")
    assert made({"ids": {"account": "a-1"}, "tier": "bronze"}) == Broken("#/tier enum")
