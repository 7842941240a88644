"""core/topics_plan: what topics must be like, and what is said about those that are not."""

from __future__ import annotations

import pytest

from pipeline.core import topics_plan
from pipeline.core.topics_plan import HEADROOM_BYTES, Present

HOUR_MS = 3_600_000
INPUT_BYTES = 1_000_000
TABLES = ("g.consent", "g.suppressions")


def plan():
    return topics_plan.inputs(["orders"]) + topics_plan.own(
        ["g.retry.10s"], "g.dead", "g.outcomes", "g.control", TABLES, partitions=4, input_bytes=INPUT_BYTES,
        longest_age_ms=2 * HOUR_MS, dead_ms=14 * 24 * HOUR_MS, outcomes_ms=30 * 24 * HOUR_MS,
    )  # fmt: skip


def as_created():
    return {each.name: Present(each.partitions, topics_plan.configs(each)) for each in plan()}


def findings(**changes):
    """Change configs of topics: `dead={"cleanup.policy": "compact"}`."""
    present = as_created()
    for name, configs in changes.items():
        topic = "orders" if name == "orders" else f"g.{name.replace('retry', 'retry.10s')}"
        present[topic] = Present(present[topic].partitions, {**present[topic].configs, **configs})
    return topics_plan.examine(plan(), present)


def test_what_is_created_has_nothing_wrong():
    assert findings() == ()


def test_own_topics_get_partitions_and_configs():
    wanted = {each.name: each for each in plan()}
    assert {name: each.partitions for name, each in wanted.items()} == {
        "orders": 0, "g.retry.10s": 4, "g.dead": 4, "g.outcomes": 4, "g.control": 1,
        "g.consent": 1, "g.suppressions": 1,
    }  # fmt: skip
    assert topics_plan.configs(wanted["g.retry.10s"]) == {
        "message.timestamp.type": "LogAppendTime", "max.message.bytes": str(INPUT_BYTES + HEADROOM_BYTES),
        "cleanup.policy": "delete", "retention.bytes": "-1", "retention.ms": "-1",
    }  # fmt: skip
    assert topics_plan.configs(wanted["g.dead"])["retention.ms"] == str(14 * 24 * HOUR_MS)
    assert topics_plan.configs(wanted["g.control"])["cleanup.policy"] == "compact"


def test_every_missing_topic_is_named_with_its_remedy():
    found = topics_plan.examine(plan(), {})
    assert [each.topic for each in found] == ["orders", "g.retry.10s", "g.dead", "g.outcomes", "g.control", *TABLES]
    assert "--with-input" in found[0].remedy
    assert {each.remedy for each in found[1:]} == {"hookline topics create"}


@pytest.mark.parametrize(
    ("topic", "key", "value", "said"),
    [
        ("retry", "cleanup.policy", "compact", "cleanup.policy is compact, must be delete"),
        ("retry", "retention.ms", "1000", "retention.ms is 1000, must be -1 (unlimited) or at least 7200000"),
        ("retry", "retention.bytes", "1000", "retention.bytes is 1000, must be -1"),
        ("dead", "message.timestamp.type", "CreateTime", "is CreateTime, must be LogAppendTime"),
        ("dead", "retention.ms", "-1", "retention.ms is -1, must be 1209600000"),
        ("outcomes", "max.message.bytes", "1000000", "max.message.bytes is 1000000, must be at least 1131072"),
        ("control", "cleanup.policy", "delete", "cleanup.policy is delete, must be compact"),
        ("control", "segment.ms", "604800000", "segment.ms is 604800000, must be at most 3600000"),
        ("consent", "cleanup.policy", "compact,delete", "cleanup.policy is compact,delete, must be compact"),
        ("suppressions", "delete.retention.ms", "3600000", "delete.retention.ms is 3600000, must be at least 86400000"),
    ],
)
def test_a_deviation_is_said_with_the_command_that_puts_it_right(topic, key, value, said):
    (finding,) = findings(**{topic: {key: value}})
    assert said in finding.what
    assert finding.serious
    assert f"--entity-name {finding.topic} --add-config {key}=" in finding.remedy


@pytest.mark.parametrize(
    ("topic", "key", "value"),
    [
        ("retry", "retention.ms", str(2 * HOUR_MS)),
        ("retry", "max.message.bytes", "99999999"),
        ("control", "segment.ms", "1000"),
        ("dead", "max.message.bytes", "unheard of"),
    ],
)
def test_roomier_topics_are_left_in_peace(topic, key, value):
    assert findings(**{topic: {key: value}}) == ()


def test_configs_a_broker_does_not_tell_are_not_judged():
    present = {name: Present(each.partitions, {}) for name, each in as_created().items()}
    assert topics_plan.examine(plan(), present) == ()


def test_control_is_one_log():
    present = as_created()
    present["g.control"] = Present(3, present["g.control"].configs)
    (finding,) = topics_plan.examine(plan(), present)
    assert finding.what == "has 3 partitions, must have 1"


def test_a_table_of_several_partitions_is_not_to_be_deleted():
    present = as_created()
    present["g.consent"] = Present(3, present["g.consent"].configs)
    (finding,) = topics_plan.examine(plan(), present)
    assert (finding.topic, finding.what) == ("g.consent", "has 3 partitions, must have 1")
    assert "delete" not in finding.remedy


def test_an_input_that_deletes_by_producers_time_is_noted_not_refused():
    risky = {"message.timestamp.type": "CreateTime", "retention.ms": "604800000", "cleanup.policy": "delete"}
    (note,) = findings(orders=risky)
    assert (note.topic, note.serious) == ("orders", False)
    for safe in ({"retention.ms": "-1"}, {"cleanup.policy": "compact"}, {"message.timestamp.type": "LogAppendTime"}):
        assert findings(orders=risky | safe) == ()


def test_memory_has_the_inputs_partitions_and_forgets_what_nobody_asks_for():
    def with_memory(partitions):
        return topics_plan.own(
            [], "g.dead", "g.outcomes", "g.control", [], partitions=4, input_bytes=INPUT_BYTES, longest_age_ms=1,
            dead_ms=1, outcomes_ms=1, memory="g.memory", memory_ms=400 * 24 * HOUR_MS, memory_partitions=partitions,
        )  # fmt: skip

    wanted = with_memory(6)[-1]
    assert (wanted.name, wanted.role, wanted.partitions) == ("g.memory", "memory", 6)
    configs = topics_plan.configs(wanted)
    assert (configs["cleanup.policy"], configs["retention.ms"]) == ("compact,delete", str(400 * 24 * HOUR_MS))
    present = {each.name: Present(each.partitions, topics_plan.configs(each)) for each in with_memory(6)}
    assert topics_plan.examine(with_memory(6), present) == ()
    (found,) = topics_plan.examine(with_memory(8), present)
    assert (found.topic, found.what) == ("g.memory", "has 6 partitions, must have 8")
    assert "same number" in found.why
    assert topics_plan.examine(with_memory(0), present) == ()  # the input is not there to be counted
