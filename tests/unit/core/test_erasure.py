"""What an erasure leaves behind, and until when."""

from __future__ import annotations

from pipeline.core.erasure import FOREVER, holdings

ROLES = {
    "shop.events": "input", "crm.events": "input", "log.events": "input", "g.retry.10s": "retry", "g.dead": "dead",
    "g.outcomes": "outcomes", "g.suppressions": "table", "g.memory": "memory",
}  # fmt: skip


def test_every_topic_there_is_says_how_long():
    configs = {
        "shop.events": {"cleanup.policy": "delete", "retention.ms": "604800000"},
        "crm.events": {"cleanup.policy": "compact", "retention.ms": "604800000"},
        "log.events": {"cleanup.policy": "delete", "retention.ms": "-1"},
        "g.retry.10s": {"cleanup.policy": "delete", "retention.ms": "-1"},
        "g.dead": {"retention.ms": "1209600000"},
        "g.suppressions": {"cleanup.policy": "compact"},
        "g.memory": {"cleanup.policy": "compact,delete", "retention.ms": "34560000000"},
    }
    found = {each.topic: each.until_ms for each in holdings(ROLES, configs, 7_200_000)}
    assert found == {
        "shop.events": 604_800_000, "crm.events": FOREVER, "log.events": FOREVER, "g.retry.10s": 7_200_000,
        "g.dead": 1_209_600_000, "g.suppressions": FOREVER, "g.memory": 34_560_000_000,
    }  # fmt: skip


def test_a_broker_that_tells_no_settings_leaves_it_open():
    (found,) = holdings({"g.dead": "dead"}, {"g.dead": {}}, 0)
    assert (found.until_ms, found.what) == (FOREVER, "events that could not be delivered")
    (found,) = holdings({"g.dead": "dead"}, {"g.dead": {"retention.ms": "unheard of"}}, 0)
    assert found.until_ms == FOREVER


def test_consent_that_was_taken_away_stays_until_compaction_and_its_tombstone_a_while_longer():
    configs = {"cleanup.policy": "compact", "max.compaction.lag.ms": "3600000", "delete.retention.ms": "86400000"}
    (found,) = holdings({"g.consent": "consent"}, {"g.consent": configs}, 0)
    assert found.until_ms == 3_600_000 + 86_400_000
    for unbounded in ({"max.compaction.lag.ms": str(2**63 - 1)}, {"max.compaction.lag.ms": "-1"}):
        (found,) = holdings({"g.consent": "consent"}, {"g.consent": configs | unbounded}, 0)
        assert found.until_ms == FOREVER


def test_a_look_up_keeps_a_row_until_its_owner_takes_it_away():
    (found,) = holdings({"crm.ids": "lookup"}, {"crm.ids": {"cleanup.policy": "compact"}}, 0)
    assert found.until_ms == FOREVER
    assert "owner" in found.what
