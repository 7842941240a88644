"""Asks for a partition's first offset and its end, again and again while the broker asked does not know it yet."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from confluent_kafka import Consumer

AGAIN_S: Final = 0.2
"""Between two questions."""
MOVING: Final = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the client's public name for it
)
"""What passes by itself: a partition was made a moment ago, or its leader moved."""


def watermarks(consumer: Consumer, topic: str, partition: int, bound_s: float) -> tuple[int, int]:
    """Return `(first offset, end)`. Blocks, up to twice `bound_s`.

    Raises BrokerError without an answer, KafkaException for what does not pass by itself.
    """
    until_s = time.monotonic() + bound_s
    while True:
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=bound_s)
        except KafkaException as error:
            if error.args[0].code() not in MOVING or time.monotonic() > until_s:
                raise
            time.sleep(AGAIN_S)
            continue
        if found is None:
            raise BrokerError(f"Kafka did not tell the offsets of {topic}/{partition} within {bound_s:.0f} s")
        low, high = found
        return low, high
