"""Decides the commit metadata of one partition: which positions above the committed offset are finished already.

Read back after a crash or a move, it spares their deliveries a repeat. It is trusted only where it was written: a
digest binds it to cluster, topic ID, group, partition and committed offset. docs/reference/commit-metadata.md has every
byte.
"""

from __future__ import annotations

import binascii
import hashlib
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

from pipeline.model import value
from pipeline.varint import varint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHARS_MAX: Final = 4_000
"""Of one partition's metadata: a broker takes 4,095 by default (offset.metadata.max.bytes 4096)."""
INFLATED_BYTES_MAX: Final = 65_536
"""Of a payload, inflated: what was written by this module never had more."""
PREFIX: Final = "hl1:"
_FAMILY: Final = "hl"
_DIGEST_BYTES: Final = 8
_HEAD_BYTES_MAX: Final = 64
"""Kept for flags, base, digest and fields to come, when asking whether a payload will fit."""
_PACKED: Final = 1
_DEFLATED: Final = 2
_DEFLATE_FROM_BYTES: Final = 24
_OFFSET_MAX: Final = 1 << 63
_FULL_GROUPS_MIN: Final = 4
"""A shorter stretch of finished groups costs less among the literal ones than as a token of its own."""
_VARINT_BITS_MAX: Final = 63

Run = tuple[int, int]
"""Finished positions: first, and next after the last."""


@value
class Ignored:
    """Metadata that says nothing to us, and why: docs/reference/commit-metadata.md has the reasons."""

    reason: str


class _DamagedError(Exception):
    """The bytes are not what encode writes."""


def identity(cluster_id: str, topic_id: str, group: str, partition: int) -> bytes:
    """Return what binds metadata to the place it was written for: 32 bytes."""
    fields = (cluster_id.encode(), topic_id.encode(), group.encode(), str(partition).encode())
    return hashlib.sha256(b"".join(len(each).to_bytes(4, "big") + each for each in fields)).digest()


def payload_bytes(chars: int) -> int:
    """Return how many payload bytes fit metadata of so many characters, whatever its head; negative for none."""
    return (chars - len(PREFIX)) * 3 // 4 - _HEAD_BYTES_MAX


def encode(place: bytes, base: int, runs: Sequence[Run], chars_max: int = CHARS_MAX) -> str:
    """Return metadata to be committed with `base`; "" if nothing is finished above it.

    `runs` ascend, do not touch and do not begin below `base`. Of what does not fit, the lowest runs are kept: that
    happens only where a broker turned out to take less than `payload_bytes` was asked for. O(runs).
    """
    text = _encode(place, base, runs)
    if len(text) <= chars_max:
        return text
    fit, over = 0, len(runs)
    while over - fit > 1:
        middle = (fit + over) // 2
        if len(_encode(place, base, runs[:middle])) <= chars_max:
            fit = middle
        else:
            over = middle
    return _encode(place, base, runs[:fit])


def _encode(place: bytes, base: int, runs: Sequence[Run]) -> str:
    if not runs:
        return ""
    candidates = [(0, _lengths(base, runs))]
    packed = _pack(base, runs)
    if packed is not None:
        candidates.append((_PACKED, packed))
    for flags, raw in candidates[:]:
        if _DEFLATE_FROM_BYTES <= len(raw) <= INFLATED_BYTES_MAX:
            candidates.append((flags | _DEFLATED, zlib.compress(raw, 9, -zlib.MAX_WBITS)))
    flags, payload = min(candidates, key=lambda each: len(each[1]))
    head = bytes((flags, 0)) + varint(base)  # 0: no bytes of fields to come
    body = head + _digest(place, head, payload) + payload
    return PREFIX + urlsafe_b64encode(body).decode().rstrip("=")


def decode(place: bytes, base: int, text: str) -> tuple[Run, ...] | Ignored:
    """Return the runs `encode` was given for this place and base, or why the text is ignored. Never raises."""
    if not text:
        return ()
    if not text.startswith(PREFIX):
        newer = text.startswith(_FAMILY) and text[2:4].rstrip(":").isdigit()
        return Ignored("newer" if newer else "foreign")
    try:
        return _decode(place, base, text)
    except _DamagedError as error:
        return Ignored(str(error) or "unproven")


def within(runs: tuple[Run, ...], end: int) -> tuple[Run, ...] | Ignored:
    """Return the runs if their log, which ends at `end` (negative: unknown), still has them; else why not.

    A log is cut below what was finished when a broker becomes its leader that did not have all of it, or loses what was
    not on disk yet. The offsets are given to new records then, and which of them were finished before cannot be told.
    """
    if not runs or runs[-1][1] <= end:
        return runs
    return Ignored("truncated" if end >= 0 else "unchecked")


def _decode(place: bytes, base: int, text: str) -> tuple[Run, ...]:
    if len(text) > 2 * CHARS_MAX:
        raise _DamagedError
    body = _body(text)
    flags = body[0]
    extra, at = _read_varint(body, 1)
    said, at = _read_varint(body, at + extra)
    payload = body[at + _DIGEST_BYTES :]
    if body[at : at + _DIGEST_BYTES] != _digest(place, body[:at], payload):
        raise _DamagedError
    if said != base:
        raise _DamagedError("moved")
    if flags & ~(_PACKED | _DEFLATED):
        raise _DamagedError("newer")
    if flags & _DEFLATED:
        payload = _inflate(payload)
    return tuple(_unpack(base, payload) if flags & _PACKED else _read_lengths(base, payload))


def _body(text: str) -> bytes:
    encoded = text[len(PREFIX) :]
    try:
        body = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (binascii.Error, ValueError) as error:
        raise _DamagedError from error
    if not body or urlsafe_b64encode(body).decode().rstrip("=") != encoded:
        raise _DamagedError
    return body


def _inflate(payload: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(payload, INFLATED_BYTES_MAX + 1)
    except zlib.error as error:
        raise _DamagedError from error
    if len(inflated) > INFLATED_BYTES_MAX or not inflater.eof:
        raise _DamagedError
    return inflated


def _digest(place: bytes, head: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(place + head + payload).digest()[:_DIGEST_BYTES]


# ------------------------------------------------------------------------------------------------- lengths of runs


def _lengths(base: int, runs: Sequence[Run]) -> bytes:
    """By turns: how many are open, how many finished. Best where few are open."""
    numbers: list[int] = []
    at = base
    for first, end in runs:
        numbers += (first - at, end - first)
        at = end
    out = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:  # noqa: PLR2004 - seven bits a byte, lowest first, the eighth says that more follow
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _read_lengths(base: int, payload: bytes) -> list[Run]:
    runs: list[Run] = []
    at, end = 0, base
    while at < len(payload):
        opened, at = _read_varint(payload, at)
        finished, at = _read_varint(payload, at)
        if finished == 0 or (opened == 0 and runs) or end + opened + finished > _OFFSET_MAX:
            raise _DamagedError
        runs.append((end + opened, end + opened + finished))
        end = runs[-1][1]
    return runs


# ----------------------------------------------------------------------------------------------- eight to a byte


def _pack(base: int, runs: Iterable[Run]) -> bytes | None:
    """Groups of eight positions (by offset // 8), a bit each, 1 finished; stretches of finished groups are counted.

    Best where many are open close together. None if it would be far too large.
    """
    out, literal = bytearray(), bytearray()
    group, byte = base >> 3, (1 << (base & 7)) - 1
    for first, end in runs:
        if first >> 3 != group:
            literal.append(byte)
            between = (first >> 3) - group - 1
            if between > INFLATED_BYTES_MAX:
                return None
            literal += bytes(between)
            group, byte = first >> 3, 0
        last = end >> 3
        if last == group:
            byte |= (1 << (end & 7)) - (1 << (first & 7))
            continue
        byte |= 0x100 - (1 << (first & 7))
        full = last - group - 1
        if byte == 0xFF:  # noqa: PLR2004 - all eight
            full += 1
        else:
            literal.append(byte)
        if full < _FULL_GROUPS_MIN:
            literal += b"\xff" * full
        else:
            if literal:
                out += varint(len(literal) << 1) + literal
                literal.clear()
            out += varint(full << 1 | 1)
        group, byte = last, (1 << (end & 7)) - 1
    if byte:
        literal.append(byte)
    if literal:
        out += varint(len(literal) << 1) + literal
    return bytes(out)


def _unpack(base: int, payload: bytes) -> list[Run]:
    runs: list[Run] = []
    at, offset = 0, base & ~7
    while at < len(payload):
        token, at = _read_varint(payload, at)
        groups = token >> 1
        if groups == 0 or offset + groups * 8 > _OFFSET_MAX or (not token & 1 and at + groups > len(payload)):
            raise _DamagedError
        if token & 1:
            _extend(runs, max(offset, base), offset + groups * 8)
        else:
            bits = int.from_bytes(payload[at : at + groups], "little")
            at += groups
            for bit in range(groups * 8):
                if bits >> bit & 1:
                    _extend(runs, max(offset + bit, base), offset + bit + 1)
        offset += groups * 8
    return runs


def _extend(runs: list[Run], first: int, end: int) -> None:
    if runs and runs[-1][1] == first:
        runs[-1] = (runs[-1][0], end)
    elif first < end:
        runs.append((first, end))


def worst_bytes(base: int, runs: Sequence[Run], end: int) -> int:
    """Return a bound on the payload, in whatever order what is open below `end` finishes. O(runs).

    Every group with an open position counts as a literal byte; finishing one never makes the packed form longer.
    """
    marked = runs if runs and runs[-1][1] >= end else (*runs, (end, end + 1))
    packed = _pack(base, marked)
    return INFLATED_BYTES_MAX if packed is None else len(packed)


# ---------------------------------------------------------------------------------------------------------- varints


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(content) or shift >= _VARINT_BITS_MAX:
            raise _DamagedError
        byte = content[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - see _lengths
            return number, at
