"""Tables that are read once say what the last record of each entry says."""

from __future__ import annotations

from types import SimpleNamespace

from pipeline.adapters.tables.once import BATCH_RECORDS, OnceTables
from pipeline.core import tables
from pipeline.model import Record


class Changes:
    """Records whose content is what is kept of them; one without a key names nobody."""

    def change(self, record):
        return record.key and (record.key, tables.CONSENT, b"email", record.value)


def said(granted: str) -> bytes:
    return b'[["email",%s,5]]' % granted.encode()


def test_the_last_word_counts_and_others_know_nothing(tmp_path):
    made = OnceTables(tmp_path / "tables", Changes())
    records = [(b"c-1", said("true")), (None, b""), (b"c-2", said("true")), (b"c-1", said("false"))]
    made.read(Record("t", 0, at, key, value, (), 0) for at, (key, value) in enumerate(records))
    assert made.known("c-1").consent["email"].granted is False
    assert made.known("c-2").consent["email"].granted is True
    assert made.known("c-3").consent == {}
    assert made.known("c-1").stale_ms == 0
    assert made.erasures is False
    made.close()


def test_many_records_are_written_in_batches(tmp_path, monkeypatch):
    made, sizes = OnceTables(tmp_path / "tables", Changes()), []
    monkeypatch.setattr(made, "_store", SimpleNamespace(apply=lambda changes, _: sizes.append(len(changes))))
    made.read(Record("t", 0, at, b"c", said("true"), (), 0) for at in range(BATCH_RECORDS + 2))
    assert sizes == [BATCH_RECORDS, 2]
