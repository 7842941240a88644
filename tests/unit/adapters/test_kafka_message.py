"""adapters/kafka/message: every part of a message, and none that it has not. On real ones: tests/integration."""

from __future__ import annotations

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, TIMESTAMP_NOT_AVAILABLE, Message

from pipeline.adapters.kafka.message import as_record
from pipeline.model import Record


@pytest.mark.parametrize(
    ("timestamp", "ms"),
    [
        ((TIMESTAMP_CREATE_TIME, 5), 5),
        ((TIMESTAMP_LOG_APPEND_TIME, 6), 6),
        ((TIMESTAMP_NOT_AVAILABLE, -1), 0),
    ],
)
def test_a_record_has_what_the_message_has(timestamp, ms) -> None:
    headers = [("a", b"1"), ("a", None)]
    message = Message("in", 3, 0, b"key", b"value", headers, None, timestamp)
    assert as_record(message) == Record("in", 3, 0, b"key", b"value", tuple(headers), ms)


def test_nothing_stays_nothing_and_empty_stays_empty() -> None:
    bare = as_record(Message("in", 0, 7, None, b"", None, None, (TIMESTAMP_CREATE_TIME, 5)))
    assert (bare.key, bare.value, bare.headers) == (None, b"", ())
