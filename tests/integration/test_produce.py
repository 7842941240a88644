"""`hookline produce` on a real Kafka: every line arrives once, keyed by customer, in every framing."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import cli
from pipeline.adapters.kafka.reader import read_topic
from pipeline.adapters.schemas import Folders, KnownSchemas, Registry, packaged
from pipeline.core import decode, tracecontext
from pipeline.model import Record, Undecodable
from pipeline.ports import Found
from pipeline.testing.registry import FakeRegistry
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.parts import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.support.broker import Broker

CDNOW = ROOT / "tests" / "data" / "cdnow_purchases.txt"
SCHEMA = Folders((packaged(),)).readers["hookline.LifecycleEvent"]


@pytest.fixture
def registry_url() -> Iterator[str]:
    with FakeRegistry().in_thread() as url:
        yield url


@pytest.fixture
def config(tmp_path: Path, kafka: Broker, topic_factory: Callable[..., str], registry_url: str) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    events = {"topic": topic_factory(partitions=4), "record": "hookline.LifecycleEvent"}
    settings = {
        "group": "g",
        "kafka": {"bootstrap": kafka.bootstrap},
        "registry": {"url": registry_url},
        "events": [events],
    }
    (folder / "hookline.yaml").write_text(json.dumps(settings))  # JSON is YAML 1.2
    return folder


def topic_of(config: Path) -> str:
    return str(json.loads((config / "hookline.yaml").read_text())["events"][0]["topic"])


def produce(config: Path, *more: str) -> int:
    return cli.main(["produce", str(CDNOW), "--config", str(config), "--json", *more])


async def read(records: Iterable[Record], schemas: KnownSchemas) -> list[dict[str, Any]]:
    readers: dict[object, Callable[[bytes, int], Any]] = {}
    events = []
    for record in records:
        located = decode.locate(record.value or b"", record.headers)
        assert not isinstance(located, Undecodable)
        ref, start = located
        if ref not in readers:
            found = await schemas.fetch(ref)
            assert isinstance(found, Found)
            readers[ref] = decode.reader(found.schema, SCHEMA)
        event = readers[ref](record.value or b"", start)
        assert isinstance(event, dict)
        events.append(event)
    return events


async def test_purchases_arrive_once_each_keyed_by_customer(
    kafka: Broker, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before_ms = int(time.time() * 1_000) - 1
    assert produce(config, "--limit", "5000", "--consent", "email=granted") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["events"], told["delivered"], told["complete"]) == (5_000, 5_000, True)

    records = list(read_topic(kafka.settings, topic_of(config)))
    schemas = KnownSchemas(Folders((packaged(),)))
    events = await read(records, schemas)
    assert len({event["id"] for event in events}) == len(events) == 5_000
    rows = [line.split() for line in CDNOW.read_text().splitlines()[1:5_001]]
    assert Counter(event["customer"]["id"] for event in events) == Counter(row[0] for row in rows)
    partition_of: dict[bytes | None, int] = {}
    for record, event in zip(records, events, strict=True):
        assert record.key == event["customer"]["id"].encode()
        assert partition_of.setdefault(record.key, record.partition) == record.partition
        assert record.timestamp_ms >= before_ms  # not 1997: retention would delete it
        trace_id, parent_id, _ = tracecontext.parse(record.header(tracecontext.HEADER), "")
        assert (trace_id, len(parent_id)) == (event["id"].replace("-", ""), 16)
        assert event["consent"] == {"email": "granted"}


@pytest.mark.parametrize("wire", ["confluent", "guid"])
async def test_a_registry_names_the_schema(kafka: Broker, config: Path, registry_url: str, wire: str) -> None:
    assert produce(config, "--limit", "3", "--wire", wire) == 0
    records = list(read_topic(kafka.settings, topic_of(config)))
    schemas = KnownSchemas(Folders(()), Registry({"url": registry_url}))
    events = await read(records, schemas)
    assert [event["type"] for event in events] == ["purchase.completed"] * 3
    assert all((record.header(decode.GUID_HEADER) is not None) == (wire == "guid") for record in records)
    schemas.close()


def test_a_missing_topic_is_named_with_the_command_that_makes_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert produce(config, "--topic", "not.there") == 2
    told = capsys.readouterr().err
    assert "not.there" in told
    assert "hookline topics create" in told


def test_what_kafka_refuses_is_counted(
    config: Path, topic_factory: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    topic = topic_factory("small", max_message_bytes="60")
    assert produce(config, "--limit", "2", "--topic", topic) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["delivered"], told["failed"]) == (0, {"MSG_SIZE_TOO_LARGE": 2})


def test_a_rate_is_kept(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert produce(config, "--limit", "5", "--rate", "20/s") == 0
    assert json.loads(capsys.readouterr().out)["seconds"] >= 0.2  # the fifth is due 200 ms after the first


@pytest.mark.parametrize(("sample", "spans"), [("100%", 5), ("0.0001%", 0)])
def test_sampled_events_export_the_span_their_traceparent_names(
    kafka: Broker, config: Path, sample: str, spans: int
) -> None:
    with OtlpReceiver() as collector:
        settings = json.loads((config / "hookline.yaml").read_text())
        settings["telemetry"] = {"sample": sample, "endpoint": collector.url}
        (config / "hookline.yaml").write_text(json.dumps(settings))
        assert produce(config, "--limit", "5") == 0
    topic = topic_of(config)
    sent = {attributes(span.attributes)["event.id"]: span for span in collector.spans()}
    assert len(sent) == spans
    for record in read_topic(kafka.settings, topic):
        trace_id, parent_id, sampled = tracecontext.parse(record.header(tracecontext.HEADER), "")
        assert sampled == bool(spans)
        if sampled:
            span = sent.pop(str(uuid.UUID(trace_id)))
            said = attributes(span.attributes)
            assert (span.name, span.trace_id.hex(), span.span_id.hex()) == (f"send {topic}", trace_id, parent_id)
            assert said["messaging.destination.partition.id"] == str(record.partition)
            assert said["messaging.kafka.offset"] == record.offset
            assert record.key.decode() not in said.values()
    assert not sent
