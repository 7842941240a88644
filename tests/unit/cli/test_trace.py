"""How far back `hookline trace` looks, what it compares, and why a position had no delivery."""

import uuid

import pytest

from pipeline.cli import trace
from pipeline.core.outcome import LedgerRow
from pipeline.core.timeline import Letter

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000


def uuid7(ms):
    return str(uuid.UUID(int=(ms << 80) | (7 << 76) | (0b10 << 62) | 12345))


def test_a_uuid7_tells_from_when_to_look():
    made = uuid7(NOW_MS - 40 * DAY_MS)
    for text in (made, made.upper(), made.replace("-", "")):
        assert trace._since(text, NOW_MS) == NOW_MS - 40 * DAY_MS - trace.SKEW_MS


@pytest.mark.parametrize("text", [str(uuid.UUID(int=7, version=4)), "order-1:placed", "", uuid7(NOW_MS + DAY_MS)])
def test_any_other_id_is_looked_for_in_the_last_day(text):
    assert trace._since(text, NOW_MS) == NOW_MS - DAY_MS


def test_an_event_is_known_by_its_id_its_trace_id_and_its_position():
    event_id = uuid7(NOW_MS)
    hexed = event_id.replace("-", "")
    by_id, by_trace = trace._sought(event_id), trace._sought(hexed.upper())
    assert (by_id.event_id, by_id.trace_id, by_id.position) == (event_id, hexed, None)
    assert by_trace.trace_id == hexed
    assert trace._sought("shop.orders/3/1234").position == ("shop.orders", 3, 1234)
    assert trace._sought("shop.orders/3/x").position is None


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ({"event-id": "e-1"}, True),
        ({"trace-id": trace._sought("e-1").trace_id}, True),
        ({"event-id": "e-2"}, False),
        ({}, False),
    ],
)
def test_a_dead_letter_is_the_events_by_its_headers(says, found):
    assert trace._sought("e-1").in_letter(Letter(("g.dead", 0, 1), NOW_MS, says)) is found


def test_a_dead_letter_is_found_by_the_position_it_came_from():
    says = {"source-topic": "t", "source-partition": "2", "source-offset": "5"}
    assert trace._sought("t/2/5").in_letter(Letter(("g.dead", 0, 1), NOW_MS, says))
    assert not trace._sought("t/2/6").in_letter(Letter(("g.dead", 0, 1), NOW_MS, says))


@pytest.mark.parametrize(
    ("position", "reason"),
    [("t/0/4", ""), ("t/0/5", "no_journey"), ("t/0/6", "no_journey"), ("t/0/7", ""), ("t/0/9", "gap"), ("t/1/5", "")],
)
def test_the_ledger_says_why_a_position_had_no_delivery(position, reason):
    ledger = LedgerRow("t", 0, 4, 10, NOW_MS, ((5, 6, "no_journey"), (9, 9, "gap")))
    assert trace._empty(ledger, trace._sought(position)) == reason


def test_nothing_found_says_what_to_do():
    text = trace._nothing("e-1", NOW_MS, trace._sought("e-1"))
    assert "since 2026-09-21 14:13:20 UTC" in text
    assert "--since 7d" in text
    assert "TOPIC/PARTITION/OFFSET" in text
