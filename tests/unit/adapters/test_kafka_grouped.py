"""What a consumer in a group is told under either protocol, and which errors end its worker."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, KafkaError

from pipeline.adapters.kafka.grouped import BROKER_DECIDES, grouped, refusal

PLAIN = {"bootstrap.servers": "127.0.0.1:1"}
KIP_848 = {**PLAIN, "group.protocol": "consumer"}


@pytest.mark.parametrize("settings", [PLAIN, {**PLAIN, "group.protocol": "classic"}, KIP_848])
def test_librdkafka_takes_what_it_is_told(settings):
    told = grouped(settings)
    Consumer({**told, "group.id": "g", "log_level": 0}).close()
    decided = {key for key in BROKER_DECIDES if key in told}
    assert decided == (set() if settings is KIP_848 else set(BROKER_DECIDES))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (KafkaError._AUTO_OFFSET_RESET, "the committed offset of one, two no longer exists"),
        (KafkaError._FATAL, "Kafka refuses the input consumer"),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "Kafka refuses the input consumer"),
        (KafkaError._ALL_BROKERS_DOWN, ""),
        (KafkaError.UNKNOWN_MEMBER_ID, ""),
    ],
)
def test_only_what_does_not_pass_by_itself_ends_a_worker(code, said):
    refused = refusal(KafkaError(code), PLAIN, "input", ["one", "two"])
    assert refused.startswith(said)
    assert bool(refused) == bool(said)
    assert "group_protocol" not in refused


def test_a_refusal_under_the_newer_protocol_names_the_remedy():
    assert "stop all of them" in refusal(KafkaError(KafkaError._FATAL), KIP_848, "input", [])
