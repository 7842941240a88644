"""On the stage events have the shape conditions see, with the types that their records' mapping gives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config import staged
from pipeline.config.compile import compile as compile_config
from pipeline.config.plain import NoEventError
from pipeline.config.secrets import Secrets
from pipeline.core import decode
from tests.unit.config.conftest import DESTINATION, JOURNEY, ORDERS, ORDERS_JOURNEY, PLACED

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

ORDER: dict[str, Any] = {
    "id": "7:placed", "type": "purchase.completed", "time": "2026-11-23T10:00:00Z", "customer": {"id": "c-1"},
    "consent": {"marketing.email": "granted"},
    "properties": {"total": "129.50", "state": "paid", "lines": [{"sku": "A", "price": "1.00"}]},
}  # fmt: skip
CRM = DESTINATION.replace("[identifier]", "[identifier, contact]")


def stage(folder: Folder) -> staged.Staged:
    return staged.stage(folder.load(), dict(Folders((packaged(), folder.root / "schemas")).readers))


@pytest.fixture
def orders(folder: Folder) -> Folder:
    (folder.root / "schemas").mkdir()
    (folder.root / "schemas/placed.avsc").write_text(json.dumps(PLACED))
    folder.write("hookline.yaml", ORDERS).write("destinations/crm.yaml", CRM)
    return folder.write("journeys/welcome.yaml", ORDERS_JOURNEY)


def test_a_mapped_record_keeps_its_types(orders: Folder) -> None:
    shape = stage(orders).shape("purchase.completed")
    datum = shape.datum(ORDER)
    assert datum["properties"]["total"] == (12950).to_bytes(2, "big")
    assert datum["properties"]["lines"][0]["price"] == (100).to_bytes(1, "big")
    assert decode.encode(shape.schema)(datum)


@pytest.mark.parametrize(
    ("part", "given", "said"),
    [
        ("state", "lost", "properties.state: must be one of: open, paid"),
        ("totl", 1, "properties: has a field that the schema lacks (did you mean total)"),
        ("total", "many", "properties.total: must be a decimal number"),
    ],
)
def test_what_the_mapping_does_not_make_is_refused(orders: Folder, part: str, given: object, said: str) -> None:
    event = ORDER | {"properties": ORDER["properties"] | {part: given}}
    with pytest.raises(NoEventError) as error:
        stage(orders).shape("purchase.completed").datum(event)
    assert str(error.value) == said


def test_the_staged_configuration_compiles_without_secrets_and_reads_what_was_written(orders: Folder) -> None:
    secret = CRM.replace("idempotency", "auth: {bearer: {token: env:NOT_SET}}\nproxy: env:NOR_THIS\nidempotency")
    orders.write("destinations/crm.yaml", secret)
    made = stage(orders)
    compiled = compile_config(made.config, Secrets(orders.root, {}), made.schemas)
    shape = made.shape("purchase.completed")
    plan = compiled.plan(shape.topic, shape.schema)
    datum = plan.read(decode.encode(shape.schema)(shape.datum(ORDER)), 0)
    (route,) = plan.routes["purchase.completed"]
    assert route.condition(datum, 0) is True
    body = json.loads(route.steps[0].render(datum, 0))
    assert body["total"] == "129.50"
    assert body["shop"] == "eu"  # a constant of the entry needs no word in a case
    assert body["lines"] == [{"sku": "A", "price": "1.00", "order": "7:placed"}]


def test_the_lifecycle_event_takes_money_as_text_or_marked(folder: Folder) -> None:
    folder.write("journeys/welcome.yaml", JOURNEY).write("destinations/crm.yaml", DESTINATION)
    shape = stage(folder).shape("anything")
    event = ORDER | {"id": "5b0d1f8e-9c53-5c0a-8a5e-3f1d6f0b7c21"}
    datum = shape.datum(event)
    assert datum["properties"]["total"] == (12950).to_bytes(2, "big")
    assert shape.datum(event | {"properties": {"total": {"decimal": "129.50"}}})["properties"] == {
        "total": datum["properties"]["total"]
    }
    assert shape.datum(event | {"properties": {"sku": "129.5", "n": 3, "f": 1.5}})["properties"] == {
        "sku": "129.5", "n": 3, "f": 1.5,
    }  # fmt: skip
    assert decode.encode(shape.schema)(datum)


def test_cases_with_events_that_cannot_be_are_placed(orders: Folder) -> None:
    orders.write(
        "tests/welcome.yaml",
        "journey: welcome\nevent:\n  type: purchase.completed\n  time: 2026-11-23T10:00:00Z\n  customer: {id: c-1}\n"
        "  properties: {total: many}\ncases:\n  - {case: a, expect: {outcomes: {}}}\n"
        "  - {case: b, event: {properties: {total: '1.00', state: lost}}, expect: {outcomes: {}}}\n"
        "  - {case: c, event: {type: cart.lost}, expect: {outcomes: {}}}\n",
    )
    readers = dict(Folders((packaged(), orders.root / "schemas")).readers)
    assert [str(each) for each in staged.check(orders.load(), readers)] == [
        "tests/welcome.yaml:6:23: event.properties.total: must be a decimal number",
        "tests/welcome.yaml:9:58: cases[1].event.properties.state: must be one of: open, paid",
        "tests/welcome.yaml:10:29: cases[2].event.type: no `events` entry of hookline.yaml makes this type",
    ]
