"""Runs a broker inside this process, for the demo: librdkafka's mock cluster. Also tells such a one from a real Kafka.

It keeps records in memory only, at most 5 MB a partition (the oldest are dropped silently), makes a topic with four
partitions when it is first asked about, and knows neither topic settings nor times of records nor group descriptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaException, Producer

from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterable

REACH_S: Final = 10.0
"""Bound on asking it anything."""
_CLUSTER_ID: Final = "mockCluster"
"""How the ID of such a cluster begins (librdkafka, rdkafka_mock.c); a Kafka's own is 22 characters of base64."""


def is_embedded(cluster_id: str | None) -> bool:
    """Whether a cluster of this ID is an embedded broker: questions only a real Kafka answers need not be asked."""
    return cluster_id is not None and cluster_id.startswith(_CLUSTER_ID)


class EmbeddedBroker:
    """One broker on a free port of the loopback interface, until `close`. Other processes connect to it like any."""

    def __init__(self) -> None:
        """Start it; returns once it answers. Raises BrokerError if it does not within REACH_S."""
        # The mock cluster lives and dies with a client that asks for one; `log_level` keeps it off the terminal.
        host = Producer({"bootstrap.servers": "127.0.0.1:9", "test.mock.num.brokers": 1, "log_level": 0})
        self._host: Producer | None = host
        try:
            brokers = host.list_topics(timeout=REACH_S).brokers
        except KafkaException as error:
            raise BrokerError(f"the embedded broker does not answer: {error.args[0].str()}") from error
        self.bootstrap = ",".join(f"{each.host}:{each.port}" for each in brokers.values())

    def make(self, topics: Iterable[str]) -> None:
        """Make topics, by asking about them; existing ones stay as they are. Raises BrokerError."""
        client = Producer({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            for topic in topics:
                client.list_topics(topic, timeout=REACH_S)
        except KafkaException as error:
            raise BrokerError(f"the embedded broker does not answer: {error.args[0].str()}") from error

    def close(self) -> None:
        """End it, and all it kept; idempotent."""
        self._host = None
