"""Records come back whole, and in the order of time."""

from __future__ import annotations

from pipeline.adapters.spool import BATCH_RECORDS, Spool
from pipeline.model import Record


def test_records_come_back_whole_oldest_first():
    spool = Spool()
    records = [
        Record("b", 1, 7, b"k", b"\x00\xff", (("h", b"\x01"), ("gone", None)), 30),
        Record("a", 0, 2, None, None, (), 10),
        Record("a", 1, 1, b"", b"x", (), 20),
        Record("a", 0, 1, None, b"y", (), 10),
    ]
    for each in records:
        spool.add(each)
    assert spool.count == 4
    assert [each for batch in spool.batches() for each in batch] == [records[3], records[1], records[2], records[0]]
    spool.close()
    spool.close()


def test_batches_are_bounded():
    spool = Spool()
    for number in range(2 * BATCH_RECORDS + 1):
        spool.add(Record("a", 0, number, None, b"x", (), 1))
    assert [len(batch) for batch in spool.batches()] == [BATCH_RECORDS, BATCH_RECORDS, 1]
    spool.close()
