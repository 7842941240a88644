"""Decides what the records of the consent and suppression topics say of a customer, and the bytes of those we write.

A customer has any number of entries in each table, one record each: `customer ID, NUL, name of the entry`. Who writes
an entry owns it, so no writer undoes what another one wrote. What nobody can read denies. The schemas are
schemas/consent.avsc and schemas/suppression.avsc; the layout of keys is described in docs/reference/tables.md.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import fastavro
import orjson
from fastavro import schema as avro

from pipeline.model import ConsentSaid, Known, Suppress, Unsuppress

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.model import Datum, Mark

CONSENT: Final = 0
SUPPRESSION: Final = 1
"""The two tables."""
RECORDS: Final = ("hookline.Consent", "hookline.Suppression")
"""The Avro record of each table, by its number."""
SEPARATOR: Final = "\0"
"""Between customer ID and entry; no customer ID has it."""
OURS: Final = "hookline:"
"""How the names of entries begin that only Hookline writes."""
ERASED: Final = "hookline:erased"
"""The entry of an erased customer among the suppressions."""
UNREADABLE: Final = b""
"""What is kept of an entry whose record cannot be read: it denies."""


# --------------------------------------------------------------------------------------------------------------- keys


def split(key: bytes | None) -> tuple[bytes, bytes] | None:
    """Return the customer ID and the entry's name, as bytes; None for a key that names no customer."""
    customer, _, name = (key or b"").partition(b"\0")
    return (customer, name) if customer else None


def key(customer_id: str, name: str) -> bytes:
    """Return the key of an entry."""
    return f"{customer_id}{SEPARATOR}{name}".encode()


# ------------------------------------------------------------------------------------------------- what is kept of them


def kept(table: int, datum: Datum) -> bytes:
    """Return what is kept of a decoded record; `known` reads it back."""
    if table == CONSENT:
        flags = datum["said"].items()
        return orjson.dumps([[flag, word["state"] == "granted", word["at"]] for flag, word in flags])
    until_ms = datum["until"]
    return orjson.dumps([datum["scope"], datum["of"], datum["until_event"], datum["match"], until_ms or 0, datum["at"]])


def gone(name: bytes, before: bytes | None, at_ms: int) -> bytes | None:
    """Return what is kept of a consent entry that was taken away: denials as of then. None: there is nothing to deny.

    `before` is what was kept of it. An entry may be named like its flag, with `hookline:` before it or not, so that its
    end is understood by a reader who never saw it.
    """
    named = name.decode(errors="replace").removeprefix(OURS)
    flags = {named: None} if named else {}
    if before:
        flags |= dict.fromkeys(flag for flag, _, _ in orjson.loads(before))
    return orjson.dumps([[flag, False, at_ms] for flag in flags]) if flags else None


def known(entries: Iterable[tuple[int, bytes, bytes]], stale_ms: int) -> Known:
    """Put together what the entries (table, name, kept content) of one customer say.

    Of several words on one flag the newest counts; of equally new ones the denial.
    """
    consent: dict[str, ConsentSaid] = {}
    suppressions = []
    erased_ms = 0
    unreadable = False
    for table, name, content in entries:
        if content == UNREADABLE:
            unreadable = True
        elif table == CONSENT:
            for flag, granted, at_ms in orjson.loads(content):
                word = consent.get(flag)
                if word is None or at_ms > word.at_ms or (at_ms == word.at_ms and not granted):
                    consent[flag] = ConsentSaid(flag, granted, at_ms)
        else:
            scope, of, until_event, match, until_ms, at_ms = orjson.loads(content)
            if scope == "erased":
                erased_ms = max(erased_ms, at_ms, 1)
            else:
                reason = name.decode(errors="replace")
                suppressions.append(Suppress(reason, scope, of, until_event, match, until_ms, at_ms))
    return Known(consent, tuple(suppressions), erased_ms, stale_ms, unreadable)


# ------------------------------------------------------------------------------------------------------ what we write


def _record(name: str, **fields: Any) -> dict[str, Any]:
    rows = [{"name": field, "type": kind} for field, kind in fields.items()]
    return {"type": "record", "name": f"hookline.{name}", "fields": rows}


def _enum(name: str, *symbols: str) -> dict[str, Any]:
    return {"type": "enum", "name": f"hookline.{name}", "symbols": list(symbols)}


# Core reads no files: these are the schemas without their documentation. A test holds them to the .avsc files.
_CONSENT_SCHEMA: Final = _record(
    "Consent",
    said={"type": "map",
          "values": _record("ConsentFlag", state=_enum("ConsentState", "granted", "denied"), at="long")},
)  # fmt: skip
_SUPPRESSION_SCHEMA: Final = _record(
    "Suppression",
    scope=_enum("SuppressionScope", "category", "channel", "journey", "erased"),
    of="string", at="long", until=["null", "long"], until_event="string", match="string",
)  # fmt: skip
SCHEMAS: Final = (_CONSENT_SCHEMA, _SUPPRESSION_SCHEMA)
_PARSED: Final = tuple(avro.parse_schema(schema) for schema in SCHEMAS)


def fingerprint(table: int) -> bytes:
    """Return the CRC-64-AVRO fingerprint of a table's schema, as on the wire."""
    return bytes.fromhex(avro.fingerprint(avro.to_parsing_canonical_form(SCHEMAS[table]), "CRC-64-AVRO"))


_HEADS: Final = tuple(b"\xc3\x01" + fingerprint(table) for table in (CONSENT, SUPPRESSION))


def encode(table: int, datum: Datum) -> bytes:
    """Return a record's value in Avro single-object encoding. Raises ValueError for text that is no Unicode."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, _PARSED[table], datum)
    return _HEADS[table] + out.getvalue()


def written(customer_id: str, mark: Mark, now_ms: int) -> tuple[int, bytes, bytes | None] | None:
    """Return (table, key, value) of the record that a mark becomes, or None if it cannot be one.

    That is so if the customer ID has a NUL, a reason's ID is empty or begins like our own, or a text is no Unicode.
    """
    if not customer_id or SEPARATOR in customer_id:
        return None
    try:
        if isinstance(mark, ConsentSaid):
            word = {"state": "granted" if mark.granted else "denied", "at": mark.at_ms}
            return CONSENT, key(customer_id, OURS + mark.key), encode(CONSENT, {"said": {mark.key: word}})
        if not mark.id or mark.id.startswith(OURS):
            return None
        name = key(customer_id, mark.id)
        if isinstance(mark, Unsuppress):
            return SUPPRESSION, name, None
        datum = {
            "scope": mark.scope, "of": mark.of, "at": mark.at_ms or now_ms, "until": mark.until_ms or None,
            "until_event": mark.until_event, "match": mark.match,
        }  # fmt: skip
        return SUPPRESSION, name, encode(SUPPRESSION, datum)
    except ValueError:
        return None


def erasure(customer_id: str, at_ms: int) -> tuple[int, bytes, bytes]:
    """Return (table, key, value) of the record that marks a customer as erased. Raises ValueError for a NUL in it."""
    if not customer_id or SEPARATOR in customer_id:
        raise ValueError("a customer ID is not empty and has no NUL")
    datum = {"scope": "erased", "of": "", "at": at_ms, "until": None, "until_event": "", "match": ""}
    return SUPPRESSION, key(customer_id, ERASED), encode(SUPPRESSION, datum)
