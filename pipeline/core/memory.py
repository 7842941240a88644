"""Decides how what is remembered of customers is kept: one Kafka record an entry, few bytes in memory, each its end.

An entry is a fact that stays true, so that every worker may write its own and all who read come to the same: whichever
of two entries under one key has the later time counts. Key of a record: the customer's ID, a NUL byte, and what tells
the entry from the customer's others. Value: schemas/memory.avsc in Avro single-object encoding.
"""

from __future__ import annotations

import io
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import fastavro
from fastavro import schema as avro

from pipeline.model import Contact, Entered, Happened, Memory, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ENTRIES_MAX: Final = 500
"""Entries kept of one customer; with one more, the one that ends first goes."""
NAMES_MAX: Final = 65_536
"""Different journeys, event types and categories a partition can tell apart; what has one more is not remembered."""
TEXT_CHARS_MAX: Final = 1_000
"""Longest text in an entry; event IDs end at 200 characters."""
HASH_DIGITS: Final = 16
LAST_MS: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: readers of Avro know no later time."""

Entry: TypeAlias = Contact | Happened | Entered

_SCHEMA: Final[dict[str, Any]] = {
    "type": "record",
    "name": "hookline.Remembered",
    "fields": [
        {
            "name": "kind",
            "type": {
                "type": "enum", "name": "hookline.RememberedKind", "symbols": ["contact", "happened", "entered"],
            },
        },
        {"name": "name", "type": "string"}, {"name": "mark", "type": "string"}, {"name": "at", "type": "long"},
        {"name": "until", "type": "long"}, {"name": "by", "type": "string"},
    ],
}  # fmt: skip
# Core reads no files: this is the schema without its documentation. A test holds it to schemas/memory.avsc.
_PARSED: Final = avro.parse_schema(_SCHEMA)
_HEAD: Final = b"\xc3\x01" + bytes.fromhex(avro.fingerprint(avro.to_parsing_canonical_form(_SCHEMA), "CRC-64-AVRO"))
_KINDS: Final = ("contact", "happened", "entered")
_CONTACT, _HAPPENED, _ENTERED = range(3)


@value
class Row:
    """An entry as it is written; `kind` is an index of the schema's symbols, times are Unix ms."""

    kind: int
    name: str
    mark: str
    at_ms: int
    until_ms: int
    by: str

    def key(self) -> str:
        """Return what tells the entry from the customer's others."""
        if self.kind == _HAPPENED:  # the latest says all that is asked
            return f"h{self.name}/{self.mark}"
        return f"{'c' if self.kind == _CONTACT else 'e'}{self.name}/{self.mark}/{self.by}"


def row(entry: Entry, at_ms: int, until_ms: int) -> Row:
    """Return an entry as it is written. `at_ms` is its time, from `until_ms` on nothing asks for it."""
    until_ms = min(until_ms, LAST_MS)
    if type(entry) is Contact:
        return Row(_CONTACT, entry.category, entry.channel, at_ms, until_ms, entry.delivery)
    if type(entry) is Happened:
        return Row(_HAPPENED, entry.event, entry.match, at_ms, until_ms, entry.id)
    assert type(entry) is Entered
    return Row(_ENTERED, entry.journey, entry.key, at_ms, until_ms, entry.event)


def digest(secret: bytes, *parts: bytes) -> str:
    """Return the hash of values: 16 hex digits. Two of the same parts are equal, and the parts cannot be read back.

    `secret` is at most 64 bytes.
    """
    hashed = blake2b(digest_size=HASH_DIGITS // 2, key=secret)
    for part in parts:
        hashed.update(len(part).to_bytes(4, "big"))
        hashed.update(part)
    return hashed.hexdigest()


# ------------------------------------------------------------------------------------------------------ records


def record_key(customer_id: str, entry: str = "") -> bytes:
    """Return the key of an entry's record; without `entry`, of the record that forgets all of the customer."""
    return f"{customer_id}\0{entry}".encode() if entry else customer_id.encode()


def encode(entry: Row) -> bytes:
    """Return the value of an entry's record."""
    out = io.BytesIO()
    out.write(_HEAD)
    fastavro.schemaless_writer(
        out,
        _PARSED,
        {
            "kind": _KINDS[entry.kind], "name": entry.name, "mark": entry.mark, "at": entry.at_ms,
            "until": entry.until_ms, "by": entry.by,
        },
    )  # fmt: skip
    return out.getvalue()


def decode(content: bytes) -> Row | None:
    """Read the value of an entry's record; None for anything that is not one. Never raises."""
    if not content.startswith(_HEAD):
        return None
    body = io.BytesIO(content)
    body.seek(len(_HEAD))
    try:
        read: Any = fastavro.schemaless_reader(body, _PARSED, None)
    except Exception:  # noqa: BLE001 - damage: EOFError, IndexError, UnicodeDecodeError, ValueError
        return None
    if body.read(1) or max(map(len, (read["name"], read["mark"], read["by"]))) > TEXT_CHARS_MAX:
        return None
    return Row(_KINDS.index(read["kind"]), read["name"], read["mark"], read["at"], read["until"], read["by"])


# --------------------------------------------------------------------------------------------------- a partition

_PACKED: Final = struct.Struct(">BHqqHH")
"""Kind, number of the name, at, until, length of mark, length of what by follows; the two follow."""
_RAW: Final = 0x8000
"""Set in a length: what follows are the bytes that hexadecimal digits stood for."""
_UUID: Final = 0x4000
"""Set beside it: they had hyphens, as UUIDs have."""
_LENGTH: Final = 0x3FFF


def _raw(text: str) -> tuple[int, bytes]:
    """Return the shortest form of a hash, a UUID, or any other text."""
    digits, flags = text, _RAW
    if len(text) == 36 and text[8] == text[13] == text[18] == text[23] == "-":  # noqa: PLR2004 - a UUID
        digits, flags = text.replace("-", ""), _RAW | _UUID
    if digits and len(digits) in (HASH_DIGITS, 32) and digits.isascii() and digits.isalnum():
        try:
            raw = bytes.fromhex(digits)
        except ValueError:
            raw = b""
        if raw and _text(flags, raw) == text:
            return flags | len(raw), raw
    raw = text.encode()
    return len(raw), raw


def _text(flags: int, raw: bytes) -> str:
    if not flags & _RAW:
        return raw.decode()
    digits = raw.hex()
    if not flags & _UUID:
        return digits
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


class Shelf:
    """What is remembered of the customers of one partition. Owner: run/memory.

    Each customer's entries are one `bytes`: objects would take five times as much.
    """

    __slots__ = ("_names", "_numbers", "_of", "bytes")

    def __init__(self) -> None:
        self._of: dict[bytes, bytes] = {}
        self._names: list[str] = []
        self._numbers: dict[str, int] = {}
        self.bytes = 0
        """Of keys and entries, without what Python's objects add: about 170 bytes a customer."""

    def customers(self) -> int:
        """Return of how many customers anything is remembered."""
        return len(self._of)

    def put(self, customer_id: str, entry: Row) -> tuple[bool, list[str]]:
        """Remember; return whether it is new, and the keys of entries that had to go for it.

        An entry under the same key that is later, or the very same, stays: then nothing is new.
        """
        if len(self._names) == NAMES_MAX and entry.name not in self._numbers:
            return False, []
        customer = customer_id.encode()
        key = entry.key()
        rows = list(self._rows(self._of.get(customer, b"")))
        for index, known in enumerate(rows):
            if known.key() == key:
                if known.at_ms > entry.at_ms or known == entry:
                    return False, []
                del rows[index]
                break
        else:
            if len(rows) < ENTRIES_MAX:
                self._add(customer, entry)
                return True, []
        rows.append(entry)
        gone = []
        while len(rows) > ENTRIES_MAX:
            first = min(rows[:-1], key=_end)
            rows.remove(first)
            gone.append(first.key())
        self._set(customer, rows)
        return True, gone

    def drop(self, customer_id: str, key: str = "") -> list[str]:
        """Forget an entry, or all of a customer; return the keys of what was forgotten."""
        customer = customer_id.encode()
        rows = list(self._rows(self._of.get(customer, b"")))
        gone = [each.key() for each in rows if not key or each.key() == key]
        if gone:
            self._set(customer, [each for each in rows if key and each.key() != key])
        return gone

    def of(self, customer_id: str) -> Memory:
        """Return what is remembered of a customer, the expired too as long as it is there."""
        packed = self._of.get(customer_id.encode())
        if packed is None:
            return _NOTHING
        contacts: list[Contact] = []
        happened: list[Happened] = []
        entered: list[Entered] = []
        for each in self._rows(packed):
            if each.kind == _CONTACT:
                contacts.append(Contact(each.name, each.mark, each.at_ms, each.by))
            elif each.kind == _HAPPENED:
                happened.append(Happened(each.name, each.mark, each.at_ms, each.by))
            else:
                entered.append(Entered(each.name, each.mark, each.until_ms, each.by))
        return Memory(contacts, happened, entered)

    def keys(self) -> list[bytes]:
        """Return the customers, for `expire`: eight bytes each."""
        return list(self._of)

    def expire(self, now_ms: int, customers: Iterable[bytes]) -> list[tuple[str, str]]:
        """Forget what has ended by then, of these customers; return `(customer ID, entry's key)` of it."""
        gone: list[tuple[str, str]] = []
        for customer in customers:
            rows = list(self._rows(self._of.get(customer, b"")))
            ended = [each for each in rows if each.until_ms <= now_ms]
            if ended:
                self._set(customer, [each for each in rows if each.until_ms > now_ms])
                name = customer.decode()
                gone += ((name, each.key()) for each in ended)
        return gone

    def _set(self, customer: bytes, rows: list[Row]) -> None:
        before = self._of.get(customer)
        if before is not None:
            self.bytes -= len(customer) + len(before)
        if not rows:
            self._of.pop(customer, None)
            return
        packed = b"".join(map(self._pack, rows))
        self._of[customer] = packed
        self.bytes += len(customer) + len(packed)

    def _add(self, customer: bytes, entry: Row) -> None:
        """Put one more entry behind a customer's: the others stay packed."""
        before, packed = self._of.get(customer), self._pack(entry)
        self._of[customer] = packed if before is None else before + packed
        self.bytes += len(packed) + (len(customer) if before is None else 0)

    def _pack(self, entry: Row) -> bytes:
        mark_length, mark = _raw(entry.mark)
        by_length, by = _raw(entry.by)
        number = self._numbers.get(entry.name)
        if number is None:
            number = self._numbers[entry.name] = len(self._names)
            self._names.append(entry.name)
        packed = _PACKED.pack(entry.kind, number, entry.at_ms, entry.until_ms, mark_length, by_length)
        return packed + mark + by

    def _rows(self, packed: bytes) -> Iterator[Row]:
        at, names = 0, self._names
        while at < len(packed):
            kind, number, at_ms, until_ms, mark_length, by_length = _PACKED.unpack_from(packed, at)
            at += _PACKED.size
            end = at + (mark_length & _LENGTH)
            mark = _text(mark_length, packed[at:end])
            at = end
            end = at + (by_length & _LENGTH)
            yield Row(kind, names[number], mark, at_ms, until_ms, _text(by_length, packed[at:end]))
            at = end


_NOTHING: Final = Memory()


def _end(entry: Row) -> int:
    return entry.until_ms
