"""What records change: read in any framing, and what cannot be read denies."""

from __future__ import annotations

import json

import pytest

from pipeline.adapters.tables.records import READERS_MAX, Records
from pipeline.core import decode, tables
from pipeline.core.tables import CONSENT, SUPPRESSION, UNREADABLE
from pipeline.errors import BrokerError
from pipeline.model import ConsentSaid, Record
from pipeline.ports import Found, Unknown, Unreachable
from tests.support.tables import SHIPPED, Lines, records

TOPICS = ("g.consent", "g.suppressions")
GRANTED = tables.encode(CONSENT, {"said": {"email": {"state": "granted", "at": 5}}})


def record(value: bytes | None, key: bytes | None = b"c-1\0crm", topic: str = TOPICS[0], **over) -> Record:
    return Record(topic, 0, 7, key, value, over.get("headers", ()), 9_000)


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def read(log: Lines) -> Records:
    return records(TOPICS, log)


def test_a_readable_record_is_kept_under_its_customer_and_entry(read: Records):
    change = read.change(record(GRANTED))
    assert change == (b"c-1", CONSENT, b"crm", b'[["email",true,5]]')
    _, key, erased = tables.erasure("c-2", 8)
    found = read.change(record(erased, key, TOPICS[1]))
    assert found is not None
    assert found[:3] == (b"c-2", SUPPRESSION, b"hookline:erased")
    assert tables.known([(SUPPRESSION, b"", found[3])], 0).erased_ms == 8
    assert read.unreadable == 0


@pytest.mark.parametrize(
    "value",
    [
        b"", b"\xc3", b"{}", GRANTED[:-1], GRANTED + b"\0", GRANTED[:2] + bytes(8) + GRANTED[10:], bytes(40),
        b"\xc3\x01" + tables.fingerprint(SUPPRESSION) + b"\xff" * 30,
        GRANTED[:17] + b"\x04" + GRANTED[18:],  # a state that is none
        tables.erasure("c-1", 8)[2],  # on the wrong topic
    ],
)  # fmt: skip
def test_what_cannot_be_read_denies_its_customer(read: Records, log: Lines, value: bytes):
    assert read.change(record(value)) == (b"c-1", CONSENT, b"crm", UNREADABLE)
    assert read.unreadable == 1
    (line,) = log.of("table_record_unreadable")
    assert (line["topic"], line["partition"], line["offset"]) == ("g.consent", 0, 7)
    assert "c-1" not in json.dumps(line)


@pytest.mark.parametrize("key", [None, b"", b"\0email"])
def test_a_record_that_names_no_customer_changes_nothing_and_is_counted(read: Records, key: bytes | None):
    assert read.change(record(GRANTED, key)) is None
    assert read.unreadable == 1


def test_tombstones_take_a_suppression_away_and_deny_consent(read: Records):
    assert read.change(record(None, b"c-1\0ticket:1", TOPICS[1])) == (b"c-1", SUPPRESSION, b"ticket:1", None)
    change = read.change(record(None))
    assert change is not None
    assert callable(change[3])
    content = change[3](b'[["email",true,5]]')
    assert content is not None
    assert tables.known([(CONSENT, b"crm", content)], 0).consent["email"] == ConsentSaid("email", False, 9_000)


def test_a_registrys_framing_and_a_newer_writer_are_read_too(log: Lines):
    newer = json.loads(json.dumps(SHIPPED.readers["hookline.Consent"]))
    newer["fields"].append({"name": "proof", "type": "string", "default": ""})
    body = decode.encode(newer)({"said": {"email": {"state": "denied", "at": 5}}, "proof": "form 7"})
    asked = []

    def fetch(ref):
        asked.append(ref)
        return Found(newer) if ref == 7 else Unknown("no such schema")

    read = Records(TOPICS, [SHIPPED.readers[name] for name in tables.RECORDS], fetch, log)
    for _ in range(3):
        assert read.change(record(decode.confluent(7) + body)) == (b"c-1", CONSENT, b"crm", b'[["email",false,5]]')
    assert asked == [7]
    assert read.change(record(decode.confluent(8) + body)) == (b"c-1", CONSENT, b"crm", UNREADABLE)


def test_a_registry_that_does_not_answer_makes_it_wait_instead(log: Lines):
    read = Records(TOPICS, SHIPPED.readers["hookline.Consent"], lambda _: Unreachable("registry: no answer"), log)
    with pytest.raises(BrokerError, match="no answer"):
        read.change(record(decode.confluent(7)))
    assert read.unreadable == 0


def test_units_of_another_writer_are_not_mixed_up(log: Lines):
    micros = json.loads(json.dumps(SHIPPED.readers["hookline.Consent"]).replace("timestamp-millis", "timestamp-micros"))
    body = decode.encode(micros)({"said": {"email": {"state": "granted", "at": 5}}})
    read = Records(TOPICS, [SHIPPED.readers[name] for name in tables.RECORDS], lambda _: Found(micros), log)
    assert read.change(record(decode.confluent(7) + body)) == (b"c-1", CONSENT, b"crm", UNREADABLE)


def test_readers_kept_are_bounded(log: Lines):
    schema = SHIPPED.readers["hookline.Consent"]
    body = decode.encode(schema)({"said": {}})
    read = Records(TOPICS, [schema, schema], lambda _: Found(schema), log)
    for ref in range(READERS_MAX + 10):
        assert read.change(record(decode.confluent(ref) + body)) == (b"c-1", CONSENT, b"crm", b"[]")
    assert len(read._writers._readers) <= READERS_MAX
