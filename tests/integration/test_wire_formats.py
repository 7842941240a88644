"""Every way a value may name its schema, written by others' serializers, through a whole worker to the request."""

from __future__ import annotations

import copy
import io
import json
import struct
import uuid

import fastavro
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pipeline.testing.registry import FakeRegistry
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import SCHEMA, encode, event, step

PAYLOAD = {
    "event_id": "${event.id}", "customer_id": "${event.customer.id}", "properties": "${size(event.properties)}",
    "plan?": "${event.properties.plan}", "campaign?": "${event.source.campaign}",
}  # fmt: skip


@pytest.fixture
def ready(system, receiver):
    """The system with the payload of these tests; schemas, topics and the worker are up to each test."""
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert", payload=PAYLOAD))
    public = ("id", "type", "properties.plan", "properties.n", "source.campaign")
    system.hookline["classes"] = dict.fromkeys(public, "public")
    return system


def older() -> dict:
    """The shape before consent, source and properties were added, with a customer of nothing but an ID."""
    shape = copy.deepcopy(SCHEMA)
    shape["fields"] = [field for field in shape["fields"] if field["name"] in ("id", "type", "time", "customer")]
    customer = next(field for field in shape["fields"] if field["name"] == "customer")["type"]
    customer["fields"] = [field for field in customer["fields"] if field["name"] == "id"]
    return shape


def newer() -> dict:
    """A shape this release does not know yet: fields more, before, between and within those it knows."""
    shape = copy.deepcopy(SCHEMA)
    customer = next(field for field in shape["fields"] if field["name"] == "customer")["type"]
    customer["fields"].insert(0, {"name": "tier", "type": {"type": "enum", "name": "Tier", "symbols": ["gold"]}})
    shape["fields"].insert(0, {"name": "tenant", "type": "string"})
    history = {"type": "record", "name": "Change", "fields": [{"name": "at", "type": "long"}]}
    shape["fields"].insert(3, {"name": "history", "type": {"type": "array", "items": history}})
    return shape


def written(shape: dict, datum: dict) -> bytes:
    """Single-object encoding of any shape (Avro 1.12, "Single object encoding specification")."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(copy.deepcopy(shape)), datum)
    canonical = fastavro.schema.to_parsing_canonical_form(shape)
    return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO")) + out.getvalue()


def serialized(url: str, topic: str, datum: dict, **conf: object) -> Outgoing:
    """One event as confluent-kafka's own serializer writes it for a topic; it registers the schema itself."""
    headers: list[tuple[str, bytes]] = []
    with SchemaRegistryClient({"url": url}) as client:
        serializer = AvroSerializer(client, json.dumps(SCHEMA), conf=conf)
        content = serializer(datum, SerializationContext(topic, MessageField.VALUE, headers))
    return Outgoing(content, datum["customer"]["id"].encode(), headers)


def add_schema(system, version: str, shape: dict) -> None:
    """Put an older or newer shape into the configuration's `schemas/`."""
    folder = system.folder / "schemas"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"hookline.LifecycleEvent@{version}.avsc").write_text(json.dumps(shape))


def expected(datum: dict) -> dict:
    properties = datum.get("properties", {})
    body = {"event_id": datum["id"], "customer_id": datum["customer"]["id"], "properties": len(properties)}
    body |= {"plan": properties["plan"]} if "plan" in properties else {}
    return body | ({"campaign": datum["source"]["campaign"]} if datum.get("source") else {})


def events(number: int) -> list[dict]:
    return [event(n, source={"campaign": f"k-{n}"} if n % 2 else {}) for n in range(number)]


def thin(number: int) -> dict:
    """What a producer of the older shape knows."""
    whole = event(number)
    return {name: whole[name] for name in ("id", "type", "time")} | {"customer": {"id": f"c-{number}"}}


def thick(number: int) -> dict:
    """What a producer of the newer shape knows."""
    whole = event(number, tenant="t-1", history=[{"at": 1}, {"at": 2}])
    whole["customer"]["tier"] = "gold"
    return whole


async def delivered(system, receiver, sent: list[dict]) -> None:
    """Wait for all of it, and compare the bodies."""
    await eventually(lambda: receiver.accepted() >= len(sent), what="every request")
    await eventually(system.settled)
    bodies = [json.loads(seen.body) for seen in receiver.seen]
    order = [each["id"] for each in sent]
    assert sorted(bodies, key=lambda body: order.index(body["event_id"])) == [expected(each) for each in sent]
    assert system.account()["balanced"] is True


async def test_confluents_wire_format_from_a_real_registry(ready, receiver, registry):
    ready.hookline["registry"] = {"url": registry}
    ready.prepare()
    ready.worker()
    sent = events(20)
    records = [serialized(registry, ready.topic, each) for each in sent]
    assert {record.value[:1] for record in records} == {b"\0"}
    ready.feed(records)
    await delivered(ready, receiver, sent)


async def test_the_schemas_guid_in_a_header(ready, receiver):
    with FakeRegistry().in_thread() as url:
        ready.hookline["registry"] = {"url": url}
        ready.prepare()
        ready.worker()
        sent = events(20)
        conf = {"schema.id.serializer": header_schema_id_serializer}
        records = [serialized(url, ready.topic, each, **conf) for each in sent]
        assert all([name for name, _ in record.headers] == ["__value_schema_id"] for record in records)
        ready.feed(records)
        await delivered(ready, receiver, sent)


async def test_older_and_newer_shapes_are_read_as_the_one_of_this_release(ready, receiver):
    add_schema(ready, "v0", older())
    add_schema(ready, "v2", newer())
    ready.prepare()
    ready.worker()
    thins, thicks = [thin(n) for n in range(5)], [thick(n) for n in range(5, 10)]
    ready.feed([written(older(), each) for each in thins] + [written(newer(), each) for each in thicks])
    await delivered(ready, receiver, thins + thicks)


async def test_all_of_them_mixed_in_one_topic(ready, receiver):
    """Also a schema ID the registry does not know: that record alone is a dead letter."""
    add_schema(ready, "v0", older())
    add_schema(ready, "v2", newer())
    with FakeRegistry().in_thread() as other:
        # One registry per configuration: the GUID's schema is asked of the same one as the IDs, so both are its own.
        ready.hookline["registry"] = {"url": other}
        ready.prepare()
        ready.worker()
        sent, records = [], []
        for n in range(0, 40, 4):
            plain, framed, headed = event(n), event(n + 1, source={"campaign": "k"}), event(n + 2)
            old, new = thin(n + 3), thick(n + 100)
            sent += [plain, framed, headed, old, new]
            records += [
                Outgoing(encode(plain), b"k"),
                serialized(other, ready.topic, framed),
                serialized(other, ready.topic, headed, **{"schema.id.serializer": header_schema_id_serializer}),
                Outgoing(written(older(), old), b"k"),
                Outgoing(written(newer(), new), b"k"),
            ]
        foreign = struct.pack(">bI", 0, 4_711) + encode(event(1))[10:]
        unknown = Outgoing(encode(event(2))[10:], b"k", [("__value_schema_id", b"\x01" + uuid.uuid4().bytes)])
        ready.feed([*records[:25], foreign, unknown, *records[25:]])
        await delivered(ready, receiver, sent)
        assert {letter.header("hookline-class") for letter in ready.dead()} == {"undecodable"}
        assert "4711" in {letter.header("hookline-schema-id") for letter in ready.dead()}
        assert ready.ledger() == {"undecodable": 2}
