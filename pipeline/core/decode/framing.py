"""Decides where in a record the writer schema is named, and where the Avro body starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.model import SchemaRef, Undecodable

if TYPE_CHECKING:
    from collections.abc import Iterable

GUID_HEADER: Final = "__value_schema_id"
"""Header of Confluent's newer serializers: 0x01 and a 16-byte GUID, or 0x00 and a 4-byte ID; the value is bare Avro."""

SINGLE_OBJECT: Final = b"\xc3\x01"
"""Marker of Avro single-object encoding (Avro 1.12 specification, "Single-object encoding")."""

_CONFLUENT_BYTES: Final = 5
_SINGLE_OBJECT_BYTES: Final = 10
_HEADER_GUID_BYTES: Final = 17

_NO_FRAME: Final = Undecodable("neither a schema header, nor Confluent wire format, nor Avro single-object encoding")
_TRUNCATED: Final = Undecodable("truncated before the Avro body")
_BAD_HEADER: Final = Undecodable("schema header is neither 0x00 with an ID nor 0x01 with a GUID")


def locate(  # noqa: C901, PLR0911 - one line for each of three framings and for each way to damage it
    value: bytes, headers: Iterable[tuple[str, bytes | None]]
) -> tuple[SchemaRef, int] | Undecodable:
    """Return the schema reference and the offset of the Avro body in `value`; never raises.

    The last non-null schema header wins over the value's prefix, as in Confluent's deserializers. A reference is an int
    (registry ID), 16 bytes (GUID) or 8 bytes (CRC-64-AVRO fingerprint, little endian as on the wire).
    """
    named: bytes | None = None
    for name, content in headers:
        if name == GUID_HEADER and content is not None:
            named = content
    if named is not None:
        if len(named) == _HEADER_GUID_BYTES and named[0] == 1:
            return named[1:], 0
        if len(named) == _CONFLUENT_BYTES and named[0] == 0:
            return int.from_bytes(named[1:], "big"), 0
        return _BAD_HEADER
    if not value:
        return _TRUNCATED
    if value[0] == 0:
        if len(value) < _CONFLUENT_BYTES:
            return _TRUNCATED
        return int.from_bytes(value[1:5], "big"), _CONFLUENT_BYTES
    if value[:2] == SINGLE_OBJECT:
        if len(value) < _SINGLE_OBJECT_BYTES:
            return _TRUNCATED
        return value[2:10], _SINGLE_OBJECT_BYTES
    return _NO_FRAME


def single_object(fingerprint: bytes) -> bytes:
    """Return the ten bytes before a body in single-object encoding; `fingerprint` is eight bytes, little endian."""
    return SINGLE_OBJECT + fingerprint


def confluent(schema_id: int) -> bytes:
    """Return the five bytes before a body in Confluent wire format: zero, then the ID as four bytes, big endian."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def guid_header(guid: bytes) -> tuple[str, bytes]:
    """Return the record header that names a schema by GUID (16 bytes); the value is then bare Avro."""
    return GUID_HEADER, b"\x01" + guid


def describe(ref: SchemaRef) -> str:
    """Return a reference as a person writes it: `id 7`, `guid 89791762-…` or `fingerprint 8a8f25cc…`."""
    if isinstance(ref, int):
        return f"id {ref}"
    text = ref.hex()
    if len(ref) == _HEADER_GUID_BYTES - 1:
        return f"guid {text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return f"fingerprint {text}"
