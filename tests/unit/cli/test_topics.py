"""cli/topics: the topics a configuration needs, from what is there. The command itself: tests/integration."""

from __future__ import annotations

import pytest

from pipeline.adapters.kafka.admin import TopicState
from pipeline.cli import topics
from pipeline.config.load import load
from pipeline.core.topics_plan import configs
from tests.support.folder import write_folder


@pytest.fixture
def config(tmp_path):
    return load(write_folder(tmp_path, "shop", "events", "broker:9092"), None)


def test_own_topics_follow_the_input_in_partitions_and_size(config):
    there = {"events": TopicState(12, 3, {"max.message.bytes": "5000000"})}
    wanted = {each.name: each for each in topics.wanted(config, there)}
    assert list(wanted) == [
        "events", "shop.retry.10s", "shop.retry.1m", "shop.dead", "shop.outcomes", "shop.control",
        "shop.consent", "shop.suppressions",
    ]  # fmt: skip
    assert (wanted["shop.dead"].partitions, wanted["shop.control"].partitions) == (12, 1)
    assert configs(wanted["shop.dead"])["max.message.bytes"] == str(5_000_000 + 131_072)


def test_without_the_input_kafka_s_defaults_are_assumed(config):
    wanted = {each.name: each for each in topics.wanted(config, {}, input_partitions=4)}
    assert (wanted["events"].partitions, wanted["shop.outcomes"].partitions) == (4, 4)
    assert configs(wanted["shop.dead"])["max.message.bytes"] == str(topics.KAFKA_MAX_MESSAGE_BYTES + 131_072)
    assert {each.name: each.partitions for each in topics.wanted(config, {}, partitions=7)}["shop.outcomes"] == 7


def test_waiting_records_outlive_the_longest_max_age(config):
    (retention,) = [
        each for each in topics.wanted(config, {})[1].demands if each.key == "retention.ms"
    ]  # the journey's 2h is shorter than the destination's 24h
    assert (retention.create, retention.low) == ("-1", 7_200_000)


ONCE = '  once: {key: "${event.id}", per: 1d}\n'


@pytest.fixture
def copying(tmp_path):
    """Two inputs, and a journey that remembers."""
    folder = write_folder(tmp_path, "shop", "carts", "broker:9092")
    for name, before, after in (
        ("hookline.yaml", "purposes:", "  - topic: orders\n    record: hookline.LifecycleEvent\npurposes:"),
        ("journeys/welcome.yaml", "  max_age: 2h\n", "  max_age: 2h\n" + ONCE),
    ):
        path = folder / name
        path.write_text(path.read_text().replace(before, after))
    return load(folder, None)


def partitions(config, **there):
    states = {name.replace("_", "."): TopicState(count, 3, {}) for name, count in there.items()}
    wanted = {each.name: each for each in topics.wanted(config, states)}
    return wanted["shop.events"].partitions, wanted["shop.memory"].partitions


def test_copies_and_memory_have_as_many_partitions_and_the_memory_there_is_decides(copying):
    assert partitions(copying, carts=4, orders=6) == (6, 6)
    assert partitions(copying, carts=4, orders=6, shop_memory=4) == (4, 4)
    assert partitions(copying, carts=4, orders=6, shop_memory=4, shop_events=12) == (12, 12)


def test_copies_stay_until_workers_delete_what_is_settled(copying):
    (copies,) = [each for each in topics.wanted(copying, {}) if each.name == "shop.events"]
    made = configs(copies)
    assert (made["retention.ms"], made["retention.bytes"], made["cleanup.policy"]) == ("-1", "-1", "delete")
    assert made["message.timestamp.type"] == "LogAppendTime"
    assert copies.role == "events"
