"""Decides the bytes of an outcome and of a ledger, and reads them back.

Written by hand because every delivery writes one: fastavro's writer costs 4 µs more. What is the same for all
deliveries of a step is made once (`prefix`); small numbers come from a table, long ones from a table for their low 14
bits and a memo for the rest, which time stamps share for eight seconds. Layout: Avro 1.12 specification, "Binary
Encoding" and "Single-object encoding"; the schemas are schemas/outcome.avsc and schemas/ledger.avsc.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import fastavro
from fastavro import schema as avro

from pipeline.model import Attempt, Outcome, value
from pipeline.varint import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AttemptRow", "LedgerRow", "OutcomeRow", "decode", "encode", "encode_ledger", "prefix"]


def _record(name: str, **fields: Any) -> dict[str, Any]:
    rows = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": f"hookline.{name}", "fields": rows}


def _array(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


# Core reads no files: these are the schemas without their documentation. A test holds them to the .avsc files.
_OUTCOME_SCHEMA: Final = _record(
    "DeliveryOutcome",
    journey="string", journey_hash="string", step="string", destination="string", operation="string",
    event_id="string", event_type="string", delivery_id="string", customer_ref="string",
    topic="string", partition="int", offset="long", record_time="long", event_time="long", deliveries="int",
    trace_id="string",
    outcome={"type": "enum", "name": "hookline.Outcome", "symbols": [each.value for each in Outcome]},
    reason="string", status="int", attempts="int", first_attempt_at="long", settled_at="long", hop="int", due="long",
    history=_array(_record("Attempt", number="int", started_at="long", duration_us="long", status="int",
                           **{"class": "string"}, span_id="string")),
)  # fmt: skip
_LEDGER_SCHEMA: Final = _record(
    "Ledger",
    topic="string", partition="int", first="long", next="long", at="long",
    empty=_array(_record("EmptyRange", first="long", last="long", reason="string")),
)  # fmt: skip

_MARKER: Final = b"\xc3\x01"


def _head(schema: dict[str, Any]) -> bytes:
    return _MARKER + bytes.fromhex(avro.fingerprint(avro.to_parsing_canonical_form(schema), "CRC-64-AVRO"))


_OUTCOME_HEAD: Final = _head(_OUTCOME_SCHEMA)
_LEDGER_HEAD: Final = _head(_LEDGER_SCHEMA)
_OUTCOME_PARSED: Final = avro.parse_schema(_OUTCOME_SCHEMA)
_LEDGER_PARSED: Final = avro.parse_schema(_LEDGER_SCHEMA)


# ------------------------------------------------------------------------------------------------------------- rows


@value
class AttemptRow:
    """One HTTP exchange. `started_at_us` is Unix µs; `status` 0 means no answer; `cls` "" means it succeeded."""

    number: int
    started_at_us: int
    duration_us: int
    status: int
    cls: str
    span_id: str


@value
class OutcomeRow:
    """One outcome record as read back; the fields are documented in schemas/outcome.avsc. Times are Unix ms."""

    journey: str
    journey_hash: str
    step: str
    destination: str
    operation: str
    event_id: str
    event_type: str
    delivery_id: str
    customer_ref: str
    topic: str
    partition: int
    offset: int
    record_time_ms: int
    event_time_ms: int
    deliveries: int
    trace_id: str
    outcome: Outcome
    reason: str
    status: int
    attempts: int
    first_attempt_at_ms: int
    settled_at_ms: int
    hop: int
    due_ms: int
    history: tuple[AttemptRow, ...]


@value
class LedgerRow:
    """One ledger record as read back: positions [first, next); `empty` holds (first, last included, reason)."""

    topic: str
    partition: int
    first: int
    next: int
    at_ms: int
    empty: tuple[tuple[int, int, str], ...]


# --------------------------------------------------------------------------------------------------------- encoding

_SMALL_MAX: Final = 8_192
_SHORT_MAX: Final = 63
_LONG_MIN: Final = -(1 << 63)
_LONG_MAX: Final = (1 << 63) - 1


_varint: Final = lru_cache(maxsize=4_096)(varint)
_LOW: Final = tuple(bytes((low & 127 | 128, low >> 7 | 128)) for low in range(1 << 14))
_SHORT: Final = tuple(chr(length << 1) for length in range(_SHORT_MAX + 1))
"""The length byte of strings up to 63 bytes, as the character that encodes to it."""


def _long(number: int) -> bytes:
    """Encode an int or long, zig-zag; what does not fit 64 bits is cut to the nearest that does."""
    if _SMALL_MAX <= number <= _LONG_MAX:
        return _LOW[number << 1 & 16_383] + _varint(number >> 13)
    number = max(_LONG_MIN, min(_LONG_MAX, number))
    return _varint(number << 1 if number >= 0 else ~(number << 1))


class _Longs(dict[int, bytes]):
    """Encodings by number: a table for 0 to 8,191, made on the spot (and not kept) for others."""

    def __missing__(self, number: int) -> bytes:
        return _long(number)


_LONGS: Final = _Longs({number: _long(number) for number in range(_SMALL_MAX)})


def _string(text: str) -> bytes:
    raw = text.encode()
    return _LONGS[len(raw)] + raw


_name: Final = lru_cache(maxsize=1_024)(_string)
"""Strings of which there are few: reasons, failure classes."""


@lru_cache(maxsize=1_024)
def _place(topic: str, partition: int) -> bytes:
    return _string(topic) + _long(partition)


_OUTCOMES: Final = tuple(Outcome)
_DELIVERED: Final = _long(_OUTCOMES.index(Outcome.DELIVERED)) + _string("")


def _settled(outcome: Outcome, reason: str) -> bytes:
    return _LONGS[_OUTCOMES.index(outcome)] + _name(reason)


def _texts(*texts: str) -> bytes:
    return b"".join(map(_string, texts))


def prefix(journey: str, journey_hash: str, step: str, destination: str, operation: str) -> bytes:
    """Return how every outcome of a step begins, single-object header included."""
    return _OUTCOME_HEAD + _texts(journey, journey_hash, step, destination, operation)


def encode(
    prefix: bytes,
    event_id: str,
    event_type: str,
    delivery_id: str,
    customer_ref: str,
    topic: str,
    partition: int,
    offset: int,
    record_time_ms: int,
    event_time_ms: int,
    deliveries: int,
    trace_id: str,
    outcome: Outcome,
    reason: str,
    status: int,
    attempts: int,
    first_attempt_at_ms: int,
    settled_at_ms: int,
    hop: int,
    due_ms: int,
    history: Sequence[Attempt],
) -> bytes:
    """Return one outcome record. Times are Unix ms, 0 for none; counts fit 31 bits. Does not raise for valid text."""
    small, short = _LONGS, _SHORT
    trace = trace_id.encode()
    try:
        text = (
            f"{short[len(event_id)]}{event_id}{short[len(event_type)]}{event_type}"
            f"{short[len(delivery_id)]}{delivery_id}{short[len(customer_ref)]}{customer_ref}"
        )
        texts = text.encode() if text.isascii() else _texts(event_id, event_type, delivery_id, customer_ref)
    except IndexError:  # one of them is longer than 63
        texts = _texts(event_id, event_type, delivery_id, customer_ref)
    return b"".join(
        (
            prefix, texts, _place(topic, partition), _long(offset), _long(record_time_ms), _long(event_time_ms),
            small[deliveries], small[len(trace)], trace,
            _DELIVERED if outcome is Outcome.DELIVERED and not reason else _settled(outcome, reason),
            small[status], small[attempts], _long(first_attempt_at_ms), _long(settled_at_ms), small[hop], small[due_ms],
            _history(history) if history else b"\x00",
        ),
    )  # fmt: skip


def _history(history: Sequence[Attempt]) -> bytes:
    parts = [_long(len(history))]
    for each in history:
        parts += (
            _long(each.number), _long(each.started_ns // 1_000), _long((each.ended_ns - each.started_ns) // 1_000),
            _long(each.status), _name(each.cls), _string(each.span_id),
        )  # fmt: skip
    parts.append(b"\x00")
    return b"".join(parts)


def encode_ledger(
    topic: str, partition: int, first: int, next_offset: int, ranges: Sequence[tuple[int, int, str]], at_ms: int
) -> bytes:
    """Return one ledger record for [first, next_offset); `ranges` are `(first, last included, reason)`, ascending."""
    parts = [_LEDGER_HEAD, _place(topic, partition), _long(first), _long(next_offset), _long(at_ms)]
    if ranges:
        parts.append(_long(len(ranges)))
        for low, high, reason in ranges:
            parts += (_long(low), _long(high), _name(reason))
    parts.append(b"\x00")
    return b"".join(parts)


# --------------------------------------------------------------------------------------------------------- decoding


def decode(content: bytes) -> OutcomeRow | LedgerRow | None:
    """Read a record of the outcomes topic; None for anything that is not one of the two, damaged ones included."""
    head, body = content[: len(_OUTCOME_HEAD)], io.BytesIO(content[len(_OUTCOME_HEAD) :])
    try:
        if head == _OUTCOME_HEAD:
            row: Any = fastavro.schemaless_reader(body, _OUTCOME_PARSED, None)
            decoded: OutcomeRow | LedgerRow = _outcome_row(row)
        elif head == _LEDGER_HEAD:
            row = fastavro.schemaless_reader(body, _LEDGER_PARSED, None)
            decoded = _ledger_row(row)
        else:
            return None
    except Exception:  # noqa: BLE001 - damage: EOFError, IndexError, UnicodeDecodeError, ValueError, StopIteration
        return None
    return None if body.read(1) else decoded


def _outcome_row(row: dict[str, Any]) -> OutcomeRow:
    history = tuple(AttemptRow(*attempt.values()) for attempt in row.pop("history"))
    row["outcome"] = Outcome(row["outcome"])
    fields: list[Any] = [*row.values(), history]
    return OutcomeRow(*fields)


def _ledger_row(row: dict[str, Any]) -> LedgerRow:
    empty = tuple((each["first"], each["last"], each["reason"]) for each in row["empty"])
    return LedgerRow(row["topic"], row["partition"], row["first"], row["next"], row["at"], empty)
