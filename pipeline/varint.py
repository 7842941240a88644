"""Variable-length numbers, as Avro and Protocol Buffers write them: seven bits a byte, lowest first (LEB128)."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte, the eighth says that more follow
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
