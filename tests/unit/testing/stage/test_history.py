"""A backtest counts what would have come of past records, at their own times, and keeps nothing."""

from __future__ import annotations

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config.load import load
from pipeline.core import decode
from pipeline.model import NOTHING, ConsentSaid, Record
from pipeline.testing.fakes import FakeTables
from pipeline.testing.stage.history import History

START_MS = 1_795_428_000_000
DAY_MS = 86_400_000


@pytest.fixture
def parts(folder):
    return load(folder, None), dict(Folders((packaged(), folder / "schemas")).readers)


class Past:
    """Writes orders as they lay on the topic."""

    def __init__(self, readers) -> None:
        self.schema = readers["shop.OrderPlaced"]
        self.ref = decode.fingerprint(self.schema)
        self._encode = decode.encode(self.schema)
        self._offset = 0

    def order(self, at_ms: int, age_ms: int = 1_000, buyer: str = "c-1", **other) -> Record:
        datum = {
            "order_id": self._offset, "placed_at": (at_ms - age_ms) * 1_000, "buyer": buyer, "mail": "ann@example.org",
            "total": (12_950).to_bytes(2, "big"), "state": "paid",
        } | other  # fmt: skip
        self._offset += 1
        return Record(
            "shop.orders", 0, self._offset, b"k", decode.single_object(self.ref) + self._encode(datum), (), at_ms
        )


def granted(*customers: str) -> FakeTables:
    tables = FakeTables()
    for each in customers:
        tables.of[each] = NOTHING.__class__(**{
            **{name: getattr(NOTHING, name) for name in NOTHING.__slots__},
            "consent": {"email": ConsentSaid("email", granted=True, at_ms=1)},
        })  # fmt: skip
    return tables


def test_nothing_was_there(parts):
    report = History(*parts, ["thanks"], None).close()
    assert (report.records, report.outcomes, report.without) == (0, {}, {})


def test_without_consent_nothing_would_be_sent(parts):
    history, past = History(*parts, ["thanks"], None), Past(parts[1])
    history.take([past.order(START_MS + number) for number in range(3)], {past.ref: past.schema})
    report = history.close()
    assert report.outcomes == {
        ("thanks", "mail"): {"skipped(consent)": 3}, ("thanks", "paid"): {"skipped(consent)": 3},
    }  # fmt: skip
    assert (report.records, report.runs, report.busiest) == (3, {"thanks": 3}, {})


def test_records_come_at_their_own_times_over_weeks(parts):
    history, past = History(*parts, ["thanks"], None), Past(parts[1])
    for day in range(30):
        at_ms = START_MS + day * DAY_MS
        history.take([past.order(at_ms), past.order(at_ms + 1, age_ms=3 * DAY_MS)], {past.ref: past.schema})
    report = history.close()
    assert report.outcomes["thanks", "mail"] == {"skipped(consent)": 30, "skipped(stale)": 30}
    assert (report.first_ms, report.last_ms) == (START_MS, START_MS + 29 * DAY_MS + 1)


def test_what_starts_nothing_is_counted_by_reason(parts):
    history, past = History(*parts, ["thanks"], None), Past(parts[1])
    cheap = past.order(START_MS, total=b"\x01")
    history.take([cheap, Record("shop.orders", 0, 9, None, b"junk", (), START_MS)], {past.ref: past.schema})
    assert history.close().without == {"condition_false": 1, "undecodable": 1}


def test_memory_is_bounded_by_what_is_under_way(parts):
    history, past = History(*parts, ["thanks"], None), Past(parts[1])
    for number in range(20):
        history.take([past.order(START_MS + number * 10_000 + each) for each in range(50)], {past.ref: past.schema})
        broker = history._worker.broker
        assert sum(len(log.records) for log in broker.logs.values()) < 200
    assert history.close().outcomes["thanks", "mail"] == {"skipped(consent)": 1_000}
