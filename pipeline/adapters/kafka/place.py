"""Asks the broker what commit metadata is held against: which cluster and which topic these are, where logs end.

A name can be another topic tomorrow (deleted and made anew, or mirrored to another cluster); its ID cannot. Asked on a
handle of its own, never on the consumer's: this is called inside the consumer's rebalance callback.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from pipeline.adapters.kafka.embedded import is_embedded
from pipeline.core import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REQUEST_S: Final = 5.0
"""Bound on one question."""
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


def log_ends(settings: Mapping[str, str], keys: Iterable[_Key]) -> dict[_Key, int]:
    """Return the offset the next record of each partition can be read at; left out where nobody says that now.

    One question to each leader. What consumers were ever given is below the last stable offset, and a leader that does
    not know yet how much it has (KIP-207) does not answer: so what ends lower than before was truncated.
    """
    client = AdminClient({**settings, "log_level": 0})
    latest = {TopicPartition(*key): OffsetSpec.latest() for key in keys}  # type: ignore[no-untyped-call]
    asked = client.list_offsets(latest, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=REQUEST_S)
    ends: dict[_Key, int] = {}
    for each, future in asked.items():
        with contextlib.suppress(KafkaException, TimeoutError):
            ends[each.topic, each.partition] = future.result(REQUEST_S).offset
    return ends


def _ids(client: AdminClient, topics: Iterable[str]) -> dict[str, str]:
    asked = client.describe_topics(TopicCollection(sorted(topics)), request_timeout=REQUEST_S)
    found = {name: str(future.result(REQUEST_S).topic_id) for name, future in asked.items()}
    return {name: topic_id for name, topic_id in found.items() if topic_id and topic_id != _NO_ID}
