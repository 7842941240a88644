"""The contract of the topics: all of them, with the schemas there are; references lead somewhere."""

from __future__ import annotations

import copy
import json
import pathlib
from typing import TYPE_CHECKING, Any

import fastavro
import pytest

from pipeline.config import asyncapi, topics
from tests.unit.config.conftest import PLACED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.config.conftest import Folder

OWN = [json.loads(path.read_text("utf-8")) for path in pathlib.Path("schemas").glob("*.avsc")]
SCHEMAS = {f"{each['namespace']}.{each['name']}": each for each in OWN} | {"shop.OrderPlaced": PLACED}


def at(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (part for key, part in node.items() if key == "$ref")
        for part in node.values():
            yield from references(part)
    elif isinstance(node, list):
        for part in node:
            yield from references(part)


def test_every_topic_is_there(orders: Folder) -> None:
    config = orders.load()
    made = asyncapi.document(config, SCHEMAS)
    assert made["asyncapi"] == "3.0.0"
    assert {each["address"] for each in made["channels"].values()} == {*topics.inputs(config), *topics.own(config)}
    for reference in references(made):
        assert at(made, reference)
    assert made["operations"]["receive_shop_orders"]["action"] == "receive"
    assert made["operations"]["send_shop_outcomes"]["action"] == "send"
    assert {"send_shop_retry_10s", "receive_shop_retry_10s"} <= made["operations"].keys()


def test_every_own_topic_is_described(orders: Folder) -> None:
    config = orders.load()
    for topic in topics.own(config):
        role = topic.removeprefix(f"{config.group}.").partition(".")[0]
        assert role in asyncapi.OWN
        assert all(name in SCHEMAS for name in asyncapi.OWN[role][2])


def test_schemas_are_avro_with_names_and_namespaces_apart(orders: Folder) -> None:
    full = copy.deepcopy(PLACED) | {"name": "shop.OrderPlaced"}
    full.pop("namespace", None)
    made = asyncapi.document(orders.load(), SCHEMAS | {"shop.OrderPlaced": full})
    [message] = made["channels"]["shop_orders"]["messages"].values()
    schema = message["payload"]["schema"]
    assert message["payload"]["schemaFormat"].startswith("application/vnd.apache.avro")
    assert (schema["namespace"], schema["name"]) == ("shop", "OrderPlaced")
    parsed = fastavro.parse_schema(copy.deepcopy(schema))
    assert parsed["name"] == "shop.OrderPlaced"  # type: ignore[call-overload, index]


def test_a_schema_only_the_registry_knows_is_named_and_left_out(orders: Folder) -> None:
    [message] = asyncapi.document(orders.load(), {})["channels"]["shop_orders"]["messages"].values()
    assert message == {"name": "shop.OrderPlaced", "contentType": "avro/binary"}


@pytest.mark.parametrize(
    ("bootstrap", "host"), [("broker:9092", "broker:9092"), ("env:KAFKA_BOOTSTRAP", "{bootstrap}")]
)
def test_the_brokers(orders: Folder, bootstrap: str, host: str) -> None:
    orders.change("hookline.yaml", "bootstrap: broker:9092", f"bootstrap: {bootstrap}")
    assert asyncapi.document(orders.load(), {})["servers"]["kafka"]["host"] == host
