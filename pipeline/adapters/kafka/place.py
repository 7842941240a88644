"""Asks the broker which cluster and which topic these are: commit metadata counts only where it was written.

A name can be another topic tomorrow (deleted and made anew, or mirrored to another cluster); its ID cannot. Asked on a
handle of its own, never on the consumer's: this is called inside the consumer's rebalance callback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from pipeline.adapters.kafka.embedded import is_embedded
from pipeline.core import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REQUEST_S: Final = 5.0
"""Bound on one question; without an answer nothing is stored or restored until the next assignment."""
_NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""Sixteen zero bytes: a broker before Kafka 2.8 has no topic IDs."""

_Key = tuple[str, int]


def places(settings: Mapping[str, str], group: str, keys: Iterable[_Key]) -> dict[_Key, bytes]:
    """Return what binds the metadata of these partitions; empty if the broker has no topic IDs.

    Blocks, for twice REQUEST_S at most. Raises KafkaException or TimeoutError if it does not answer.
    """
    keys = list(keys)
    client = AdminClient({**settings, "log_level": 0})
    cluster_id: str | None = client.list_topics(keys[0][0], timeout=REQUEST_S).cluster_id
    if cluster_id is None or is_embedded(cluster_id):
        return {}
    ids = _ids(client, {topic for topic, _ in keys})
    return {key: progress.identity(cluster_id, ids[key[0]], group, key[1]) for key in keys if key[0] in ids}


def topic_ids(settings: Mapping[str, str], topics: Iterable[str]) -> dict[str, str]:
    """Return the topics' IDs; topics of a broker without any are left out. Blocks and raises as `places`."""
    return _ids(AdminClient({**settings, "log_level": 0}), topics)


def _ids(client: AdminClient, topics: Iterable[str]) -> dict[str, str]:
    asked = client.describe_topics(TopicCollection(sorted(topics)), request_timeout=REQUEST_S)
    found = {name: str(future.result(REQUEST_S).topic_id) for name, future in asked.items()}
    return {name: topic_id for name, topic_id in found.items() if topic_id and topic_id != _NO_ID}
