"""adapters/kafka/admin on a real Kafka: what it tells of topics, offsets and groups is what is there."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from pipeline.adapters.kafka import admin
from pipeline.adapters.kafka.admin import Admin, GroupState
from pipeline.errors import BrokerError, TopicMissing
from tests.support.conditions import wait_until
from tests.support.ports import free_port


def test_watermarks_are_first_and_end_offsets(kafka, topic_factory, unique):
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [b"a", b"b", b"c"])
    found = Admin(kafka.settings).watermarks([topic])
    assert found == {(topic, partition): ends for partition, ends in kafka.ends(topic).items()}
    with pytest.raises(TopicMissing, match=unique):
        Admin(kafka.settings).watermarks([f"{unique}.absent"])


def test_an_unreachable_broker_is_said_so(monkeypatch):
    monkeypatch.setattr(admin, "REQUEST_S", 1.0)
    asked = Admin({"bootstrap.servers": f"127.0.0.1:{free_port()}"})
    with pytest.raises(BrokerError, match="did not answer within 1 s"):
        asked.partitions()
    with pytest.raises(BrokerError, match="did not answer within 1 s"):
        asked.committed("group", ["events"])


def test_members_of_a_group_and_what_they_own(kafka, topic_factory, unique):
    topic = topic_factory(partitions=2)
    consumer = Consumer({**kafka.settings, "group.id": unique, "client.id": "one"})
    consumer.subscribe([topic])
    try:
        wait_until(lambda: consumer.poll(0.05) or consumer.assignment(), what="an assignment")
        state = Admin(kafka.settings).group(unique)
    finally:
        consumer.close()
    assert state.state == "stable"
    (member,) = state.members
    assert (member.client_id, sorted(member.partitions)) == ("one", [(topic, 0), (topic, 1)])


def test_committed_offsets_and_members_of_a_group(kafka, topic_factory, unique):
    topic = topic_factory(partitions=2)
    asked = Admin(kafka.settings)
    assert asked.committed(unique, [topic]) == {}
    assert asked.group(unique) == GroupState("absent", ())

    kafka.commit(unique, topic, {1: (2, "note")})

    assert asked.committed(unique, [topic]) == {(topic, 1): 2}
    assert asked.group(unique) == GroupState("empty", ())


def test_topics_are_described_with_effective_configs(kafka, topic_factory, unique):
    asked = Admin(kafka.settings)
    assert asked.create(f"{unique}.own", 3, {"cleanup.policy": "compact"})
    assert not asked.create(f"{unique}.own", 5, {})

    found = asked.topics([f"{unique}.own", f"{unique}.absent"])

    assert list(found) == [f"{unique}.own"]
    state = found[f"{unique}.own"]
    assert (state.partitions, state.replicas, state.configs["cleanup.policy"]) == (3, 1, "compact")
    assert asked.max_message_bytes([f"{unique}.own"]) == {f"{unique}.own": int(state.configs["max.message.bytes"])}
    assert asked.partitions()[f"{unique}.own"] == 3
