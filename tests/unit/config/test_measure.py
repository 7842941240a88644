"""config/measure: success is told from events of any entry, and what it says is checked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from pipeline.config.compile import check
from pipeline.config.measure import measures
from pipeline.model import Record
from tests.support.system import encode, event
from tests.unit.config.conftest import ORDERS, ORDERS_JOURNEY, PLACED

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "lifecycle_event.avsc").read_text())
SUCCESS = """\
success:
  event: signup.completed
  match: event.properties.plan == trigger.properties.plan
  within: 7d
  value: event.properties.n
"""


def record(**over: Any) -> Record:
    return Record("lifecycle.events", 0, 0, None, encode(event(1, **over)), (), 0)


def test_an_event_is_trigger_and_success_at_once(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", SUCCESS)
    made = measures(folder.load(), {"hookline.LifecycleEvent": SCHEMA}, "lifecycle.events", SCHEMA)
    assert made is not None
    one, other = (made.event(record(properties={"plan": plan, "n": 3}), 10) for plan in ("pro", "basic"))
    assert one is not None
    assert other is not None
    assert one.event.customer_id == "c-1"
    [(journey, match, worth)] = one.successes()
    assert (journey, match, worth) == ("welcome", one.trigger("welcome"), 3.0)
    assert one.trigger("welcome") != other.trigger("welcome")
    lacking = made.event(record(properties={}), 10)
    assert lacking is not None
    assert (lacking.trigger("welcome"), list(lacking.successes())) == (None, [("welcome", None, None)])
    assert lacking.trigger("no such journey") is None
    assert list(made.event(record(type="other"), 10).successes()) == []  # type: ignore[union-attr]


def test_what_is_no_event_and_what_nobody_maps(folder: Folder) -> None:
    folder.add("journeys/welcome.yaml", SUCCESS)
    config = folder.load()
    made = measures(config, {"hookline.LifecycleEvent": SCHEMA}, "lifecycle.events", SCHEMA)
    assert made is not None
    assert made.event(Record("lifecycle.events", 0, 0, None, b"\xc3\x01" + b"0" * 8 + b"\xff", (), 0), 10) is None
    assert measures(config, {}, "elsewhere", SCHEMA) is None
    assert measures(config, {}, "lifecycle.events", "string") is None


@pytest.mark.parametrize(
    ("success", "problem"),
    [
        ("match: event.properties.total == trigger.properties.totl", "match: the event that starts the run has no `tr"),
        ("match: event.properties.totl == trigger.properties.total", "match: `purchase.completed` has no `event.prop"),
        ("value: event.properties.totl", "value: the event has no `totl` here (did you mean total)"),
        ("value: event.properties.state", "value: must be a number, this is string"),
    ],
)
def test_it_is_checked_against_the_schemas(folder: Folder, success: str, problem: str) -> None:
    folder.write("hookline.yaml", ORDERS).write("journeys/welcome.yaml", ORDERS_JOURNEY)
    folder.add("journeys/welcome.yaml", f"success: {{event: purchase.completed, within: 1d, {success}}}\n")
    found = [str(each) for each in check(folder.load(), {"shop.OrderPlaced": PLACED})]
    assert any(f"success.{problem}" in each for each in found), found


def test_a_decimal_is_worth_what_it_says(folder: Folder) -> None:
    folder.write("hookline.yaml", ORDERS).write("journeys/welcome.yaml", ORDERS_JOURNEY)
    folder.add(
        "journeys/welcome.yaml", "success: {event: purchase.completed, within: 1d, value: event.properties.total}\n"
    )
    made = measures(folder.load(), {"shop.OrderPlaced": PLACED}, "shop.orders", PLACED)
    assert made is not None
    out = io.BytesIO()
    order = {
        "order_id": 1, "placed_at": 1_700_000_000_000_000, "buyer": "c-1", "mail": None, "opted_in": True,
        "total": b"\x04\xd2", "state": "paid", "remark": None, "lines": [],
    }  # fmt: skip
    plain = json.loads(json.dumps(PLACED).replace(', "logicalType": "decimal", "precision": 9, "scale": 2', ""))
    fastavro.schemaless_writer(out, fastavro.parse_schema(plain), order)
    found = made.event(Record("shop.orders", 0, 0, None, out.getvalue(), (), 1_700_000_000_000), 0)
    assert found is not None
    assert [worth for _, _, worth in found.successes()] == [12.34]
