"""Turns a message of the client into a record."""

from __future__ import annotations

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Message

from pipeline.model import Record


def as_record(message: Message) -> Record:
    """Return the record of a message without error. A record without timestamp has time 0 (Unix ms).

    Called for each record consumed. The stubs know no consumer without deserializers, nor that what was consumed has
    a position: hence the types ignored, which cost nothing.
    """
    kind, stamp_ms = message.timestamp()
    return Record(
        message.topic(),  # type: ignore[arg-type]
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        message.key(),
        message.value(),
        tuple(message.headers() or ()),  # type: ignore[arg-type]
        0 if kind == TIMESTAMP_NOT_AVAILABLE else stamp_ms,
    )
