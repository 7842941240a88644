"""Reads the newest records of a topic, for a look at them: without a group, without commits, bounded in all ways.

A partition whose leader does not answer is left out: whoever only looks waits for none.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from pipeline.adapters.kafka.message import as_record
from pipeline.adapters.kafka.reader import TUNING
from pipeline.adapters.kafka.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pipeline.model import Record

ANSWER_S: Final = 2.0
"""Bound on one question to the broker."""
BATCH_RECORDS: Final = 500
"""Records yielded at once, at most."""
GATHER_S: Final = 0.2
"""Longest wait for such a batch."""


def newest(
    settings: Mapping[str, str], topic: str, *, partition_records: int, records_max: int, within_s: float
) -> Generator[list[Record]]:
    """Yield batches of the newest records: as many of each partition, and at most `records_max` in all.

    Within a partition in order, partitions interleaved. Blocks for at most `within_s`, and ANSWER_S more at its start;
    ends earlier where all was read. Raises nothing of Kafka: what cannot be read is left out.
    """
    until_s = time.monotonic() + within_s
    # What goes wrong is to be left out, not printed.
    consumer = Consumer({**TUNING, **settings, "error_cb": Trouble().note})
    try:
        ends = _assign(consumer, topic, partition_records, records_max, until_s)
        while ends and time.monotonic() < until_s:
            records: list[Record] = []
            for message in consumer.consume(BATCH_RECORDS, GATHER_S):
                error, partition, offset = message.error(), message.partition(), message.offset()
                end = ends.get(partition if partition is not None else -1)
                if partition is None or end is None:
                    continue
                if error is not None or offset is None or offset + 1 >= end:
                    del ends[partition]  # at its end, or not to be read
                if error is None and offset is not None and offset < end:
                    records.append(as_record(message))
            yield records
    except KafkaException:
        return
    finally:
        consumer.close()


def _assign(consumer: Consumer, topic: str, partition_records: int, records_max: int, until_s: float) -> dict[int, int]:
    """Assign the newest records of each partition; return the ends of those that have any."""
    partitions = sorted(consumer.list_topics(topic, timeout=ANSWER_S).topics[topic].partitions)[:records_max]
    if not partitions:
        return {}
    each = min(partition_records, records_max // len(partitions))
    starts, ends = [], {}
    for partition in partitions:
        if time.monotonic() >= until_s:
            break
        try:
            found = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
        except KafkaException:
            continue
        if found is not None and found[0] < found[1]:
            starts.append(TopicPartition(topic, partition, max(found[0], found[1] - each)))
            ends[partition] = found[1]
    consumer.assign(starts)
    return ends
