"""Decides what a dead letter says about itself, in headers beside the original key, bytes and headers.

All header values are UTF-8 text but one. Names and codes only: no value of the event, and of a response nothing but
the excerpt that a destination may ask to be kept (`retain_excerpt`), as the bytes that came.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from pipeline.model import ORIGIN, Delivery, FailureClass, Flight, Outcome, Record

PREFIX: Final = "hookline-"
OVERSIZE: Final = "hookline-oversize"
EXCERPT: Final = "hookline-excerpt"
_GUID_HEADER: Final = "__value_schema_id"
_GUID_BYTES: Final = 17  # version byte and GUID

Headers = list[tuple[str, bytes]]


def original_headers(record: Record) -> Headers:
    """Return the headers the producer of the event wrote; of ours only where it was copied from, if it was."""
    return [(name, content or b"") for name, content in record.headers if not name.startswith(PREFIX) or name == ORIGIN]


def for_position(flight: Flight, cls: FailureClass, detail: str, now_ns: int) -> Headers:
    """Describe a record that never became an event."""
    topic, partition, offset, _ = flight.source
    return _text({
        "class": cls.value, "detail": detail, "outcome": Outcome.DEAD.value,
        "source-topic": topic, "source-partition": partition, "source-offset": offset,
        "schema-id": schema_label(flight.record), "attempts": 0, "first-at": _rfc3339(flight.received_ns),
        "last-at": _rfc3339(now_ns), "trace-id": flight.trace.trace_id,
    })  # fmt: skip


def for_delivery(delivery: Delivery, outcome: Outcome, cls: str, detail: str, now_ns: int) -> Headers:
    """Describe a delivery that ended as `dead` or `rejected`."""
    flight = delivery.run.flight
    event = flight.event
    assert event is not None
    topic, partition, offset, _ = flight.source
    headers = _text({
        "class": cls, "detail": detail, "outcome": outcome.value,
        "source-topic": topic, "source-partition": partition, "source-offset": offset,
        "schema-id": schema_label(flight.record), "attempts": delivery.attempts, "status": delivery.status or "",
        "first-at": _rfc3339(delivery.first_ns or flight.received_ns), "last-at": _rfc3339(now_ns),
        "event-id": event.id, "event-type": event.type, "journey": delivery.step.journey, "step": delivery.step.name,
        "destination": delivery.step.destination, "delivery-id": delivery.id, "trace-id": flight.trace.trace_id,
        "ambiguous": ("yes" if delivery.ambiguous else "no") if delivery.attempts else "",
    })  # fmt: skip
    if delivery.excerpt:
        headers.append((EXCERPT, delivery.excerpt))
    return headers


def schema_label(record: Record) -> str:
    """Name the writer schema as its frame does: registry ID, GUID or fingerprint in hex; "" without a frame."""
    guid = record.header(_GUID_HEADER)
    if guid is not None and len(guid) == _GUID_BYTES:
        return guid[1:].hex()
    content = record.value or b""
    if content[:1] == b"\x00" and len(content) >= 5:  # noqa: PLR2004 - Confluent wire format
        return str(int.from_bytes(content[1:5], "big"))
    if content[:2] == b"\xc3\x01" and len(content) >= 10:  # noqa: PLR2004 - Avro single-object encoding
        return content[2:10].hex()
    return ""


def _text(headers: dict[str, object]) -> Headers:
    return [(PREFIX + name, str(content).encode()) for name, content in headers.items() if content != ""]


def _rfc3339(ns: int) -> str:
    return datetime.fromtimestamp(ns // 1_000_000 / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
