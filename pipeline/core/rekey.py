"""Decides how a record of an input is copied under its customer's ID, and what a copy says of where it came from.

A copy has the original bytes and headers, the customer's ID as its key, and two headers of ours: the position it was
copied from, and the original key. Without these two it is again the record that was consumed.
"""

from __future__ import annotations

import re
from typing import Final

from pipeline.model import ORIGIN, ORIGINAL_KEY, Record

_ORIGIN: Final = re.compile(rb"([A-Za-z0-9._-]{1,249})/(\d{1,10})/(\d{1,19})/(-?\d{1,19})", re.ASCII)


def name(record: Record) -> str:
    """Return what names a consumed record: its topic, partition and offset, with slashes between."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def headers(record: Record) -> list[tuple[str, bytes]]:
    """Return the headers of a record's copy; its value is the record's own, its key the customer's ID."""
    made = [(name, content or b"") for name, content in record.headers if name not in (ORIGIN, ORIGINAL_KEY)]
    made.append((ORIGIN, f"{name(record)}/{record.timestamp_ms}".encode()))
    if record.key is not None:
        made.append((ORIGINAL_KEY, record.key))
    return made


def consumed(copy: Record) -> Record | None:
    """Return the record a copy was made of, as it was consumed; None if it does not say of which."""
    found = _ORIGIN.fullmatch(copy.header(ORIGIN) or b"")
    if found is None:
        return None
    topic, partition, offset, stamp_ms = found.groups()
    return Record(
        topic.decode(), int(partition), int(offset), copy.header(ORIGINAL_KEY), copy.value, copy.headers, int(stamp_ms)
    )


def taken(copy: Record, original: Record) -> Record:
    """Return a copy as it is taken up: at its own place, with what the original had; of our headers the origin only.

    Retry records and dead letters are made of it, so they have the original key, too.
    """
    kept = tuple(each for each in copy.headers if each[0] != ORIGINAL_KEY)
    return Record(copy.topic, copy.partition, copy.offset, original.key, copy.value, kept, original.timestamp_ms)


# ------------------------------------------------------------------------------------------------------ partitions

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_WORD: Final = 0xFFFFFFFF


def partition(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's own partitioner gives a key: murmur2 without its sign, modulo the partitions.

    As in Java's BuiltInPartitioner and in librdkafka's `murmur2_random`. For what is moved, not for each record.
    """
    return (_murmur2(key) & 0x7FFFFFFF) % partitions


def _murmur2(data: bytes) -> int:
    """Austin Appleby's MurmurHash2 for 32 bits, with Kafka's seed (org.apache.kafka.common.utils.Utils.murmur2)."""
    hashed = _SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * _M & _WORD
        word = (word ^ word >> 24) * _M & _WORD
        hashed = (hashed * _M & _WORD) ^ word
    if rest := data[whole:]:
        hashed = (hashed ^ int.from_bytes(rest, "little")) * _M & _WORD
    hashed = (hashed ^ hashed >> 13) * _M & _WORD
    return hashed ^ hashed >> 15
