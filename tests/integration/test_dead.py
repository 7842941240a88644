"""`hookline dead` on a real Kafka, over a dead topic written the way a worker writes it."""

from __future__ import annotations

import io
import json

import fastavro
import pytest

from pipeline.cli import main
from pipeline.core import decode
from tests.support.broker import Outgoing
from tests.support.folder import write_folder

EVENT, DELIVERY = "0190c0de-0000-7000-8000-000000000001", "0190c0de-0000-5000-8000-000000000002"
SCHEMA = {
    "type": "record", "name": "shop.Signup",
    "fields": [
        {"name": "mail", "type": "string"}, {"name": "age", "type": ["null", "int"]},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "notes", "type": {"type": "map", "values": "string"}},
    ],
}  # fmt: skip


def letter(cls: str = "server_error", offset: int = 7, value: bytes | None = b"?", **says: str) -> Outgoing:
    told = {
        "class": cls, "outcome": "dead", "source-topic": "events", "source-partition": "0",
        "source-offset": str(offset), "attempts": "3", "event-id": EVENT, "journey": "welcome", "step": "hello",
        "destination": "crm", "delivery-id": DELIVERY, "status": "503", **says,
    }  # fmt: skip
    headers = [("tenant", b"secret-tenant"), ("traceparent", b"00-ab")]
    headers += [(f"hookline-{name.replace('_', '-')}", text.encode()) for name, text in told.items()]
    return Outgoing(value, key=b"customer-1", headers=headers)


def avro() -> bytes:
    body = io.BytesIO()
    row = {"mail": "ann@example.org", "age": 41, "at": 1_800_000_000_000, "notes": {"ann@example.org": "calls"}}
    fastavro.schemaless_writer(body, SCHEMA, row)
    return decode.single_object(decode.fingerprint(SCHEMA)) + body.getvalue()


@pytest.fixture
def topic(kafka, unique):
    return kafka.create_topic(f"{unique}.dead", 2, message_timestamp_type="LogAppendTime")


@pytest.fixture
def dead(kafka, unique, tmp_path, capsys):
    """Run `hookline dead ...`; returns exit code and output (parsed with --json)."""
    folder = write_folder(tmp_path, unique, f"{unique}.events", kafka.bootstrap)
    (folder / "schemas").mkdir()
    (folder / "schemas" / "shop.Signup.avsc").write_text(json.dumps(SCHEMA))

    def run(*args: str):
        code = main(["dead", *args, "--config", str(folder)])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in args else out + err

    return run


def test_nothing_dead_is_said_so(topic, dead):
    assert dead("list") == (0, "no dead letters\n")
    code, out = dead("show", EVENT)
    assert code == 1
    assert f"no dead letter is named {EVENT}" in out


def test_the_newest_are_listed_and_all_are_counted(topic, dead, kafka):
    kafka.produce(topic, [letter(offset=n) for n in range(5)])
    kafka.produce(topic, [letter("timeout", 9, destination="mail")])

    code, found = dead("list", "--limit", "2", "--json")

    assert code == 0
    assert (found["count"], found["classes"]) == (6, {"server_error": 5, "timeout": 1})
    assert [each["class"] for each in found["letters"]] == ["timeout", "server_error"]
    assert found["letters"][0]["source"] == "events/0/9"
    out = dead("list", "--limit", "2")[1]
    assert "6 dead letters: server_error 5, timeout 1" in out
    assert "the newest 2 are listed" in out


def test_filters_narrow_the_list(topic, dead, kafka):
    kafka.produce(topic, [letter(), letter("timeout", destination="mail"), letter("timeout", journey="other")])
    for args, count in (
        (("--class", "timeout"), 2), (("--destination", "mail"), 1), (("--journey", "other"), 1),
        (("--class", "tls"), 0), (("--since", "1h"), 3), (("--since", "2100-01-01"), 0), (("--until", "1h"), 0),
        (("--until", "2100-01-01"), 3), (("--step", "hello"), 3), (("--step", "bye"), 0), (("--event", EVENT), 3),
    ):  # fmt: skip
        assert dead("list", *args, "--json")[1]["count"] == count, args


def test_values_are_masked_unless_they_may_be_shown(topic, dead, kafka):
    kafka.produce(topic, [letter(value=avro())])

    masked = dead("show", DELIVERY)[1]
    assert "ann@example.org" not in masked
    assert "customer-1" not in masked
    assert "secret-tenant" not in masked
    assert "values are masked" in masked
    _, document = dead("show", EVENT, "--json")
    (shown,) = document["letters"]
    assert shown["event"] == {"mail": "(text)", "age": "(number)", "at": "(text)", "notes": {"(key 1)": "(text)"}}
    assert shown["headers"] == {"tenant": "(13 bytes)", "traceparent": "00-ab"}

    _, document = dead("show", EVENT, "--json", "--reveal")
    (shown,) = document["letters"]
    assert shown["event"] == {
        "mail": "ann@example.org", "age": 41, "at": "2027-01-15T08:00:00.000Z", "notes": {"ann@example.org": "calls"},
    }  # fmt: skip
    assert (shown["key"], shown["headers"]["tenant"]) == ("customer-1", "secret-tenant")


def test_a_letter_is_found_by_the_position_of_its_event(topic, dead, kafka):
    kafka.produce(topic, [letter(offset=7), letter(offset=8)])
    _, document = dead("show", "events/0/7", "--json")
    assert [each["source"] for each in document["letters"]] == ["events/0/7"]


def test_what_cannot_be_decoded_is_shown_by_its_size_and_reason(topic, dead, kafka):
    kafka.produce(topic, [
        letter("undecodable", 1, b"\x09nonsense"), letter("undecodable", 2, b"\xc3\x01" + b"\0" * 12),
        letter("config", 3, None, oversize="5000000"), letter("undecodable", 4, avro()[:-3]),
    ])  # fmt: skip
    shown = {offset: dead("show", f"events/0/{offset}", "--json")[1]["letters"][0]["event"] for offset in (1, 2, 3, 4)}
    assert shown[1].startswith("(9 bytes: ")
    assert shown[2].startswith("(14 bytes: no schema file with fingerprint")
    assert shown[3] == "(5000000 bytes, too large to be kept here: read events/0/3)"
    assert "ann@" not in shown[4]
    assert shown[4].startswith("(")


def test_text_from_outside_cannot_write_to_the_terminal(topic, dead, kafka):
    kafka.produce(topic, [letter(event_id="[/red]\x1b[2J")])
    code, out = dead("list")
    assert code == 0
    assert "[/red]\\x1b" in out
    assert "\x1b[2J" not in out + dead("show", "events/0/7")[1]
