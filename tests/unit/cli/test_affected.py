"""cli/affected: the last word on each delivery, what expires soon, and no customer's name."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.cli.affected import SOON_MS, affected, summary
from pipeline.config.load import load
from pipeline.core.outcome import OutcomeRow
from pipeline.model import Outcome
from tests.support.folder import write_folder

NOW = 1_800_000_000_000
HOUR = 3_600_000


@pytest.fixture
def config(tmp_path):
    return load(write_folder(tmp_path, "g", "events", "nowhere:9"), None)


def row(delivery: str = "d", outcome: Outcome = Outcome.RETRYING, hop: int = 0, **over) -> OutcomeRow:
    made = OutcomeRow(
        journey="welcome", journey_hash="", step="hello", destination="crm", operation="upsert", event_id="e",
        event_type="t", delivery_id=delivery, customer_ref="0123456789abcdef", topic="events", partition=0, offset=0,
        record_time_ms=NOW - HOUR, event_time_ms=NOW - HOUR, deliveries=1, trace_id="", outcome=outcome,
        reason="timeout", status=0, attempts=1, first_attempt_at_ms=0, settled_at_ms=NOW, hop=hop, due_ms=NOW,
        history=(),
    )  # fmt: skip
    return dataclasses.replace(made, **over)


def test_the_last_word_counts_whatever_the_order_of_the_rows(config) -> None:
    taken, again, dead = row("a", Outcome.DELIVERED), row("a", hop=1), row("b", Outcome.DEAD)
    rows = [taken, again, dead, row("b"), row("c"), row("c", hop=1, reason="auth"), row("x", destination="mail"),
            row("y", Outcome.SKIPPED)]  # fmt: skip
    found = affected(rows, config, "crm")
    assert [(each.delivery_id, each.fate, each.cls) for each in found] == [
        ("c", "waiting", "auth"), ("b", "dead", "timeout"),
    ]  # fmt: skip
    assert affected(reversed(rows), config, "crm") == found


def test_expiry_is_the_nearer_of_both_age_limits(config) -> None:
    max_age_ms = config.journeys["welcome"].trigger.max_age_ms
    retry_ms = config.destinations["crm"].retry.max_age_ms
    old = row("old", event_time_ms=NOW - max_age_ms + 5)
    tried = row("tried", event_time_ms=NOW, first_attempt_at_ms=NOW - retry_ms + 7)
    found = {each.delivery_id: each.expires_ms for each in affected([old, tried], config, "crm")}
    assert found["old"] <= NOW + 5
    assert found["tried"] <= NOW + 7


def test_customers_are_masked_references_and_what_expires_is_counted(config) -> None:
    found = affected([row("a"), row("b", customer_ref="f" * 16), row("c")], config, "crm")
    found = [dataclasses.replace(each, expires_ms=NOW + (SOON_MS if each.delivery_id != "b" else 2 * SOON_MS))
             for each in found]  # fmt: skip
    document = summary(found, "crm", NOW - HOUR, NOW, 2, reveal=False)
    assert (document["customers"], document["deliveries"]["waiting"]) == (2, 3)
    assert (document["expiring"]["deliveries"], document["expiring"]["customers"]) == (2, 1)
    assert [each["customer_ref"] for each in document["listed"]] == ["012345...", "ffffff..."]
    revealed = summary(found, "crm", NOW - HOUR, NOW, 1, reveal=True)
    assert revealed["listed"][0]["customer_ref"] == "0123456789abcdef"


def test_nobody_is_affected(config) -> None:
    document = summary([], "crm", NOW, NOW, 2, reveal=False)
    assert (document["customers"], document["oldest_ms"], document["listed"]) == (0, 0, [])
