"""adapters/kafka/reader on a real Kafka: reading ends by itself, whatever lies on the topic."""

from __future__ import annotations

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from pipeline.adapters.kafka import reader
from pipeline.adapters.kafka.reader import read_topic
from pipeline.errors import BrokerError, TopicMissing
from pipeline.model import Record
from tests.support.broker import Outgoing
from tests.support.ports import free_port


def test_every_record_of_every_partition_comes_once_and_in_order(kafka, topic_factory):
    topic = topic_factory(partitions=3)
    kafka.produce(topic, [Outgoing(str(n).encode(), key=b"k", partition=n % 3) for n in range(3_000)])

    seen: list[tuple[int, int]] = []
    records = list(read_topic(kafka.settings, topic, progress=lambda done, total: seen.append((done, total))))

    assert sorted(int(record.value or b"") for record in records) == list(range(3_000))
    for partition in range(3):
        assert [record.offset for record in records if record.partition == partition] == list(range(1_000))
    assert seen[-1] == (3_000, 3_000)
    assert sorted(seen) == seen


def test_a_record_comes_back_whole(kafka, topic_factory):
    topic = topic_factory()
    headers = [("a", b"1"), ("none", None)]
    kafka.produce(topic, [Outgoing(None, key=b"k", headers=headers, timestamp_ms=86_400_000), Outgoing(b"")])

    first, second = read_topic(kafka.settings, topic)

    assert first == Record(topic, 0, 0, b"k", None, (("a", b"1"), ("none", None)), 86_400_000)
    assert (second.key, second.value, second.headers) == (None, b"", ())


def test_an_empty_topic_has_no_records(kafka, topic_factory):
    assert list(read_topic(kafka.settings, topic_factory(partitions=2))) == []


def test_transaction_markers_and_aborted_records_are_gaps_not_a_stall(kafka, topic_factory, unique):
    topic = topic_factory()
    producer = Producer({**kafka.settings, "transactional.id": unique})
    producer.init_transactions(10)
    for content, keep in ((b"kept", True), (b"dropped", False)):
        producer.begin_transaction()
        producer.produce(topic, content)
        producer.flush(10)
        producer.commit_transaction(10) if keep else producer.abort_transaction(10)

    assert kafka.ends(topic) == {0: (0, 4)}
    assert [record.value for record in read_topic(kafka.settings, topic)] == [b"kept"]


def test_reading_may_end_before_the_end_and_leave_partitions_out(kafka, topic_factory):
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [Outgoing(b"%d" % n, partition=n % 2) for n in range(20)])
    read = [(each.partition, each.offset) for each in read_topic(kafka.settings, topic, begin={0: 3}, end={0: 5})]
    assert read == [(0, 3), (0, 4)]
    assert list(read_topic(kafka.settings, topic, begin={1: 10}, end={1: 12})) == [], "nothing is there yet"


def test_reading_since_a_time_or_an_offset_leaves_out_what_is_before(kafka, topic_factory):
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [Outgoing(b"%d" % n, partition=0, timestamp_ms=1_000 * n) for n in range(1, 11)])
    kafka.produce(topic, [Outgoing(b"old", partition=1, timestamp_ms=1_000)])

    assert [record.value for record in read_topic(kafka.settings, topic, since_ms=8_000)] == [b"8", b"9", b"10"]
    assert list(read_topic(kafka.settings, topic, since_ms=99_000)) == []
    later = read_topic(kafka.settings, topic, begin={0: 8, 1: 5})
    assert [record.value for record in later] == [b"9", b"10"]


def test_deleted_records_are_passed_over(kafka, topic_factory):
    topic = topic_factory()
    kafka.produce(topic, [b"%d" % n for n in range(5)])
    client = AdminClient(kafka.settings)  # kept: a future of a collected client never ends
    client.delete_records([TopicPartition(topic, 0, 3)])[TopicPartition(topic, 0)].result(10)

    assert [record.offset for record in read_topic(kafka.settings, topic, begin={0: 1})] == [3, 4]


def test_a_missing_topic_is_named(kafka, unique):
    with pytest.raises(TopicMissing, match=unique):
        list(read_topic(kafka.settings, unique))


def test_an_unreachable_broker_is_said_so(monkeypatch):
    monkeypatch.setattr(reader, "REACH_S", 1.0)
    settings = {"bootstrap.servers": f"127.0.0.1:{free_port()}"}
    with pytest.raises(BrokerError, match="did not answer within 1 s"):
        list(read_topic(settings, "events"))
