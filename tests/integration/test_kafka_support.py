"""The real Kafka other tests lean on: it starts, keeps its data over restarts and crashes, and checks credentials."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient

from tests.support.broker import Broker, Outgoing
from tests.support.conditions import wait_until


def test_records_come_back_with_key_headers_and_time(kafka, topic_factory):
    topic = topic_factory(partitions=3)
    sent = [
        Outgoing(
            b"one", key=b"k", headers=[("traceparent", b"00-ab"), ("empty", None)], partition=2, timestamp_ms=86_400_000
        ),
        Outgoing(None, key=b"k", partition=0),
    ]

    places = kafka.produce(topic, sent)

    assert places == [(2, 0), (0, 0)]
    tombstone, record = kafka.records(topic)
    assert (tombstone.partition, tombstone.value, tombstone.headers) == (0, None, ())
    assert (record.key, record.value, record.timestamp_ms) == (b"k", b"one", 86_400_000)
    assert record.headers == (("traceparent", b"00-ab"), ("empty", None))
    assert record.header("traceparent") == "00-ab"
    assert record.header("absent") is None


def test_a_group_s_commits_are_seen(kafka, topic_factory, unique):
    topic = topic_factory(partitions=2)
    kafka.produce(topic, [Outgoing(b"x", partition=1) for _ in range(3)])
    assert kafka.committed(unique, topic) == {}
    assert kafka.lag(unique, topic) == 3

    kafka.commit(unique, topic, {1: (2, "note")})

    assert kafka.committed(unique, topic) == {1: (2, "note")}
    assert kafka.lag(unique, topic) == 1


def test_topics_are_never_created_by_accident(kafka, unique):
    with pytest.raises(AssertionError, match="UNKNOWN_TOPIC"):
        kafka.produce(unique, [b"x"])
    assert kafka.partitions(unique) == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_and_ports_outlive_a_restart(kafka_private, end):
    topic = kafka_private.create_topic("events", cleanup_policy="delete")
    kafka_private.produce(topic, [b"before"])
    first = kafka_private.pid

    getattr(kafka_private, end)()
    assert not kafka_private.reachable(0.2)
    kafka_private.start()

    assert kafka_private.pid != first
    wait_until(lambda: kafka_private.partitions(topic) == [0], what="the topic's return")
    kafka_private.produce(topic, [b"after"])
    assert [record.value for record in kafka_private.records(topic)] == [b"before", b"after"]


@pytest.mark.parametrize("kind", ["plain", "scram", "tls", "scram_tls"])
def test_security_settings_reach_a_secured_listener(kafka_secured, kind):
    settings = dict(getattr(kafka_secured.security, kind))
    client = Broker(settings.pop("bootstrap.servers"), settings)

    topic = client.create_topic(f"events-{kind}")
    client.produce(topic, [b"through"])

    assert [record.value for record in client.records(topic)] == [b"through"]


@pytest.mark.parametrize(
    "wrong", [{"sasl.password": "wrong"}, {"sasl.mechanisms": "SCRAM-SHA-256", "sasl.password": "wrong"}]
)
def test_wrong_credentials_are_refused(kafka_secured, wrong):
    codes = []
    client = AdminClient(
        {**kafka_secured.security.plain, **wrong, "error_cb": lambda error: codes.append(error.code())}
    )

    wait_until(lambda: client.poll(0.05) or KafkaError._AUTHENTICATION in codes, what="the refusal")


def test_an_unknown_certificate_is_refused(kafka_secured):
    settings = dict(kafka_secured.security.tls)
    del settings["ssl.ca.location"]
    client = Broker(settings.pop("bootstrap.servers"), settings)

    assert not client.reachable(1.0)
