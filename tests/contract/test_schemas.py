"""The schema adapter against a registry's interface: the same tests on the fake and on a real Apicurio."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.schema_registry import (
    Schema,
    SchemaReference,
    SchemaRegistryClient,
    header_schema_id_serializer,
)
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pipeline.adapters.schemas import Folders, KnownSchemas, Registry
from pipeline.core import decode
from pipeline.errors import BrokerError
from pipeline.ports import Found, Unknown, Unreachable
from pipeline.testing.registry import FakeRegistry
from tests.support.apicurio import apicurio
from tests.support.parts import PartMissingError, unavailable
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFECYCLE = json.loads(Path(__file__).parents[2].joinpath("schemas/lifecycle_event.avsc").read_text())
EVENT = {
    "id": "0f8fad5b-d9cb-469f-a165-70867728950e", "type": "purchase.completed", "time": 856_800_000_000,
    "customer": {"id": "c-1", "email": None, "phone": None, "timezone": None, "ids": {}},
    "consent": {"email": "granted"}, "source": {}, "properties": {"quantity": 2, "order_value": b"\x04\x99"},
}  # fmt: skip


@pytest.fixture(scope="module", params=["fake", "apicurio"])
def registry_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "fake":
        with FakeRegistry().in_thread() as url:
            yield url
        return
    try:
        with apicurio(tmp_path_factory.mktemp("apicurio")) as url:
            yield url
    except PartMissingError as error:
        unavailable("Schema Registry", str(error))


@pytest.fixture
def schemas(registry_url: str) -> Iterator[KnownSchemas]:
    known = KnownSchemas(Folders(()), Registry({"url": registry_url}))
    yield known
    known.close()


@pytest.fixture
def client(registry_url: str) -> Iterator[SchemaRegistryClient]:
    with SchemaRegistryClient({"url": registry_url}) as made:
        yield made


@pytest.fixture
def subject() -> str:
    return f"t-{uuid.uuid4()}-value"


def record(name: str, *fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": field, "type": kind} for field, kind in fields]}


async def test_reads_what_confluents_serializer_wrote(
    schemas: KnownSchemas, client: SchemaRegistryClient, subject: str
) -> None:
    serialize = AvroSerializer(client, json.dumps(decode.strip(LIFECYCLE)))
    topic = subject.removesuffix("-value")
    value = serialize(EVENT, SerializationContext(topic, MessageField.VALUE))
    ref, start = decode.locate(value, ())
    found = await schemas.fetch(ref)
    assert isinstance(found, Found)
    assert decode.reader(found.schema, LIFECYCLE)(value, start) == EVENT


async def test_registers_and_finds_by_id(schemas: KnownSchemas, registry_url: str, subject: str) -> None:
    registry = Registry({"url": registry_url})
    schema_id, _ = registry.register(subject, LIFECYCLE)
    assert registry.register(subject, LIFECYCLE)[0] == schema_id
    found = await schemas.fetch(schema_id)
    assert isinstance(found, Found)
    assert decode.fingerprint(found.schema) == decode.fingerprint(LIFECYCLE)
    registry.close()


async def test_two_schemas_have_two_ids(schemas: KnownSchemas, registry_url: str, subject: str) -> None:
    registry = Registry({"url": registry_url})
    written = [record("A", ("x", "long")), record("A", ("x", "long"), ("y", "string"))]
    ids = [registry.register(f"{number}{subject}", schema)[0] for number, schema in enumerate(written)]
    assert ids[0] != ids[1]
    for schema_id, schema in zip(ids, written, strict=True):
        found = await schemas.fetch(schema_id)
        assert isinstance(found, Found)
        assert decode.fingerprint(found.schema) == decode.fingerprint(schema)
    registry.close()


async def test_references_are_written_out(schemas: KnownSchemas, client: SchemaRegistryClient, subject: str) -> None:
    currency = {"type": "enum", "name": "shop.Currency", "symbols": ["EUR", "USD"]}
    money = record("shop.Money", ("amount", "long"), ("currency", "shop.Currency"))
    order = record("shop.Order", ("total", "shop.Money"), ("paid", ["null", "shop.Money"]))
    client.register_schema(f"c{subject}", Schema(json.dumps(currency), "AVRO"))
    to_currency = [SchemaReference("shop.Currency", f"c{subject}", 1)]
    client.register_schema(f"m{subject}", Schema(json.dumps(money), "AVRO", to_currency))
    to_money = [SchemaReference("shop.Money", f"m{subject}", 1)]
    schema_id = client.register_schema(f"o{subject}", Schema(json.dumps(order), "AVRO", to_money))
    found = await schemas.fetch(schema_id)
    assert isinstance(found, Found)
    read = decode.reader(found.schema)
    assert read(b"\x0e\x02\x00", 0) == {"total": {"amount": 7, "currency": "USD"}, "paid": None}


async def test_an_id_nobody_has_is_unknown(schemas: KnownSchemas) -> None:
    assert isinstance(await schemas.fetch(2_000_000_000), Unknown)


async def test_a_wrong_path_holds_instead_of_condemning_every_record(registry_url: str) -> None:
    known = KnownSchemas(Folders(()), Registry({"url": registry_url + "/elsewhere"}))
    assert isinstance(await known.fetch(1), Unreachable)
    known.close()


# ------------------------------------------------------------------------- only the fake can be told to do these


@pytest.fixture
def fake() -> Iterator[tuple[FakeRegistry, str]]:
    registry = FakeRegistry()
    with registry.in_thread() as url:
        yield registry, url


async def test_finds_by_guid(fake: tuple[FakeRegistry, str]) -> None:
    registry = Registry({"url": fake[1]})
    _, guid = registry.register("s", LIFECYCLE)
    assert guid is not None
    known = KnownSchemas(Folders(()), registry)
    found = await known.fetch(guid)
    assert isinstance(found, Found)
    assert found.schema == decode.inline(LIFECYCLE, {})
    assert isinstance(await known.fetch(b"\x00" * 16), Unknown)
    known.close()


async def test_confluents_guid_header_is_read(fake: tuple[FakeRegistry, str]) -> None:
    with SchemaRegistryClient({"url": fake[1]}) as client:
        serialize = AvroSerializer(
            client,
            json.dumps(decode.strip(LIFECYCLE)),
            conf={"schema.id.serializer": header_schema_id_serializer},
        )
        context = SerializationContext("t", MessageField.VALUE, [])
        value = serialize(EVENT, context)
    known = KnownSchemas(Folders(()), Registry({"url": fake[1]}))
    ref, start = decode.locate(value, context.headers)
    found = await known.fetch(ref)
    assert isinstance(found, Found)
    assert decode.reader(found.schema, LIFECYCLE)(value, start) == EVENT
    known.close()


@pytest.mark.parametrize("trouble", ["error", "forbidden", "not_a_registry"])
async def test_trouble_is_no_verdict_on_the_schema(fake: tuple[FakeRegistry, str], trouble: Any) -> None:
    known = KnownSchemas(Folders(()), Registry({"url": fake[1]}))
    fake[0].trouble = trouble
    assert isinstance(await known.fetch(1), Unreachable)
    fake[0].trouble = ""
    assert isinstance(await known.fetch(1), Unknown)
    known.close()


async def test_a_registry_that_says_nothing_is_given_up_on(fake: tuple[FakeRegistry, str]) -> None:
    fake[0].trouble = "slow"
    known = KnownSchemas(Folders(()), Registry({"url": fake[1], "timeout": 0.2}))
    assert isinstance(await known.fetch(1), Unreachable)
    known.close()


async def test_a_registry_that_is_not_there_is_unreachable() -> None:
    known = KnownSchemas(Folders(()), Registry({"url": f"http://127.0.0.1:{free_port()}"}))
    assert isinstance(await known.fetch(1), Unreachable)
    known.close()


async def test_a_password_is_sent_and_never_told(fake: tuple[FakeRegistry, str]) -> None:
    fake[0].user = ("ann", "s3cret")
    right = KnownSchemas(Folders(()), Registry({"url": fake[1], "basic.auth.user.info": "ann:s3cret"}))
    wrong = Registry({"url": fake[1], "basic.auth.user.info": "ann:wr0ng"})
    assert isinstance(await right.fetch(1), Unknown)
    refused = await KnownSchemas(Folders(()), wrong).fetch(1)
    assert refused == Unreachable("registry answered 401")
    with pytest.raises(BrokerError) as caught:
        wrong.register("s", LIFECYCLE)
    assert "wr0ng" not in str(caught.value)
    right.close()
    wrong.close()


async def test_found_schemas_are_kept_and_absent_ones_asked_for_again(fake: tuple[FakeRegistry, str]) -> None:
    known = KnownSchemas(Folders(()), registry := Registry({"url": fake[1]}))
    assert isinstance(await known.fetch(1), Unknown)
    registry.register("s", "long")
    assert isinstance(await known.fetch(1), Found)
    fake[0].trouble = "error"
    assert isinstance(await known.fetch(1), Found)
    known.close()
