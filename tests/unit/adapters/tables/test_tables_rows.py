"""Rows of look-ups: what a record makes of a file, and what a customer has in it."""

from __future__ import annotations

import io

import fastavro
import pytest

from pipeline.adapters.tables import Folder
from pipeline.adapters.tables.rows import TABLE, FileRows, RowRecords
from pipeline.adapters.tables.store import Store
from pipeline.errors import BrokerError
from pipeline.model import Broken, Record
from pipeline.ports import Found, Unknown, Unreachable
from pipeline.testing.fakes import FakeTelemetry

SCHEMA = {
    "type": "record", "name": "crm.Ids",
    "fields": [
        {"name": "account", "type": ["null", "string"]},
        {"name": "since", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}  # fmt: skip
NOW_MS = 1_795_428_000_000


def value(account: str | None, schema_id: int = 7) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(SCHEMA), {"account": account, "since": 0})
    return b"\x00" + schema_id.to_bytes(4, "big") + out.getvalue()


class Scene:
    def __init__(self, answer: object = None) -> None:
        self.telemetry = FakeTelemetry()
        self.answer = answer or Found(SCHEMA)
        self.records = RowRecords(self.row, lambda _ref: self.answer, self.telemetry.log)  # type: ignore[arg-type,return-value]

    @staticmethod
    def row(plain):
        return {"account": plain["account"]} if plain.get("account") else Broken("#/account required")

    def change(self, key: bytes | None, content: bytes | None):
        return self.records.change(Record("crm.ids", 0, 5, key, content, (), 0))


def test_a_record_becomes_the_row_of_the_customer_its_key_names():
    scene = Scene()
    assert scene.change(b"c-1", value("a-1")) == (b"c-1", TABLE, b"", b'{"account":"a-1"}')
    assert scene.change(b"c-1", None) == (b"c-1", TABLE, b"", None)
    assert scene.records.unreadable == 0


@pytest.mark.parametrize(
    ("content", "answer", "why"),
    [
        (value(None), None, "#/account required"), (b"junk", None, ""), (value("a-1")[:7], None, ""),
        (value("a-1"), Unknown("schema 7 is unknown"), "schema 7 is unknown"), (value("a-1"), Found("string"), ""),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_read_leaves_no_row_and_is_told_without_its_content(content, answer, why):
    scene = Scene(answer)
    assert scene.change(b"c-1", content) == (b"c-1", TABLE, b"", None)
    assert scene.records.unreadable == 1
    [(level, name, fields)] = scene.telemetry.lines
    assert (level, name, fields["offset"]) == ("warning", "table_record_unreadable", 5)
    assert why in fields["detail"]
    assert "a-1" not in str(fields)


def test_a_key_that_names_nobody_changes_nothing():
    scene = Scene()
    assert scene.change(None, value("a-1")) is None
    assert scene.change(b"", value("a-1")) is None


def test_a_registry_that_is_away_is_waited_for():
    with pytest.raises(BrokerError, match="waits for its schema"):
        Scene(Unreachable("no answer")).change(b"c-1", value("a-1"))


async def test_a_row_is_told_while_the_file_is_fresh(tmp_path):
    now_ms = NOW_MS
    store = Store(tmp_path / "tables-0000000000000000.db", create=True)
    store.apply([(b"c-1", TABLE, b"", b'{"account":"a-1"}')], {("crm.ids", 0): 6})
    store.note(caught_up_ms=str(NOW_MS))
    (tmp_path / "current").write_text("tables-0000000000000000.db")
    rows = FileRows(Folder(tmp_path), lambda: now_ms * 1_000_000, FakeTelemetry().log)
    assert rows.row("c-1", 30_000) is None  # nothing was looked at yet
    rows.start()
    try:
        assert rows.row("c-1", 30_000) == {"account": "a-1"}
        assert rows.row("c-2", 30_000) == {}
        now_ms += 30_001
        assert rows.row("c-1", 30_000) is None
    finally:
        rows.close()
        store.close()
