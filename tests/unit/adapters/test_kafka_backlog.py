"""adapters/kafka/backlog: fetching waits for records and for bytes."""

from __future__ import annotations

from pipeline.adapters.kafka.backlog import BACKLOG_BYTES, BACKLOG_RECORDS, Backlog
from pipeline.model import Record


def records(number: int, size: int) -> list[Record]:
    content = bytes(size)
    return [Record("in", 0, offset, None, content, (), 0) for offset in range(number)]


def test_many_small_records_fill_it() -> None:
    backlog = Backlog()
    backlog.post(records(BACKLOG_RECORDS, 1))
    assert backlog.level() >= 1
    assert backlog.wait() > 0
    backlog.take(BACKLOG_RECORDS)
    assert backlog.level() == 0
    assert backlog.wait() == 0


def test_few_large_records_fill_it() -> None:
    backlog = Backlog()
    for _ in range(4):
        backlog.post(records(1, BACKLOG_BYTES // 4))
    assert backlog.level() >= 1
    backlog.take(3)
    assert backlog.level() == 0.25
    backlog.take(1)
    assert backlog.level() == 0
