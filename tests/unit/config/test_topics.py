"""config/topics: names of a group's own topics."""

from __future__ import annotations

from pipeline.config import topics
from pipeline.config.load import load
from tests.support.folder import write_folder


def test_own_topics_begin_with_the_group(tmp_path):
    config = load(write_folder(tmp_path, "shop", "events", "broker:9092"), None)
    names = ("retry.10s", "retry.1m", "dead", "outcomes", "control", "consent", "suppressions")
    assert topics.own(config) == tuple(f"shop.{name}" for name in names)
    assert topics.retry_topics(config) == ("shop.retry.10s", "shop.retry.1m")
    assert topics.memory("shop") == "shop.memory"
    assert topics.inputs(config) == ("events",)
    assert topics.retry_group("shop") == "shop.retry"


def test_a_tier_taken_out_of_the_configuration_is_still_found_on_the_broker(tmp_path):
    config = load(write_folder(tmp_path, "shop", "events", "broker:9092"), None)
    known = [*topics.own(config), "events", "shop.retry.6h", "shop.retry.5m", "shop.retry.other.dead", "shops.retry.2h"]
    assert topics.removed_retry_topics(config, known) == {"shop.retry.5m": 300_000, "shop.retry.6h": 21_600_000}
