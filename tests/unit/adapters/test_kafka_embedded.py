"""The embedded broker: records go in and come out, and what it cannot know is not asked."""

import pytest

from pipeline.adapters.kafka.admin import Admin
from pipeline.adapters.kafka.embedded import EmbeddedBroker, is_embedded
from pipeline.adapters.kafka.feed import Feed
from pipeline.adapters.kafka.reader import read_topic


@pytest.fixture
def settings():
    broker = EmbeddedBroker()
    broker.make(["t"])
    yield {"bootstrap.servers": broker.bootstrap}
    broker.close()


def test_records_come_out_as_they_went_in_whatever_the_time_asked_for(settings):
    feed = Feed(settings, "t")
    for number in range(20):
        feed.send(b"k%d" % number, None if number == 7 else b"v%d" % number, [("h", b"x")])
    assert feed.finish() == 0
    for since_ms in (None, 1_000):
        records = list(read_topic(settings, "t", since_ms=since_ms))
        assert {(each.key, each.value) for each in records} == {
            (b"k%d" % number, None if number == 7 else b"v%d" % number) for number in range(20)
        }
        assert records[0].headers == (("h", b"x"),)


def test_limits_it_does_not_know_are_unknown(settings):
    admin = Admin(settings)
    assert admin.partitions() == {"t": 4}
    assert admin.max_message_bytes(["t"]) == {}
    assert admin.topics(["t"])["t"].configs == {}
    assert admin.watermarks(["t"]) == {("t", number): (0, 0) for number in range(4)}


@pytest.mark.parametrize(
    ("cluster", "embedded"), [("mockCluster155b4a2", True), ("5L6g3nShT-eMCtK--X86sw", False), (None, False)]
)
def test_a_real_kafka_is_no_embedded_broker(cluster, embedded):
    assert is_embedded(cluster) is embedded
