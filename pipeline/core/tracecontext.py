"""Decides which trace an event belongs to: the producer's, or one named by the event's own ID.

Source: W3C Trace Context, level 2. Every event's trace can be found with nothing but its ID in hand.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

HEADER: Final = "traceparent"
TRACEPARENT_BYTES_MAX: Final = 512
"""A longer header is ignored: a later version of the standard may add fields, but not without bound."""

_HEX: Final = b"0123456789abcdef"
_DASH: Final = ord("-")
_LENGTH: Final = 55  # of version 00: 2 + 32 + 16 + 2 digits and three dashes
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_UUID_LENGTH: Final = 36
_UUID_BYTES: Final = 16


def parse(traceparent: bytes | None, event_id: str) -> tuple[str, str, bool]:
    """Return (trace ID of 32 lower-case hex digits, parent span ID of 16 or "", whether the producer sampled it).

    An invalid `traceparent` is treated as absent, as the standard demands: version ff, upper-case digits, all-zero IDs,
    a wrong length. Then the event's ID names the trace, see `of_event`. Never raises.
    """
    if traceparent is not None and _valid(traceparent):
        text = traceparent[:_LENGTH].decode("ascii")  # what a later version adds may be any bytes
        trace_id = text[3:35]
        parent_id = text[36:52]
        if trace_id != _NO_TRACE and parent_id != _NO_SPAN:
            return trace_id, parent_id, int(text[53:55], 16) & 1 == 1
    return of_event(event_id), "", False


def of_event(event_id: str) -> str:
    """Return the trace ID an event without a producer's trace gets, as 32 lower-case hex digits.

    That is its UUID (8-4-4-4-12 or 32 digits, any case), or for an ID that is no UUID the first 128 bits of the SHA-256
    of its UTF-8 text. The nil UUID counts as none: an all-zero trace ID is invalid. Never raises.
    """
    digits = event_id
    if len(digits) == _UUID_LENGTH and digits[8] == digits[13] == digits[18] == digits[23] == "-":
        digits = digits.replace("-", "")
    if len(digits) == len(_NO_TRACE) and digits != _NO_TRACE:
        try:
            # Exactly 16 bytes: fromhex skips blanks, so 32 characters with a blank in them make fewer.
            if len(bytes.fromhex(digits)) == _UUID_BYTES:
                return digits.lower()
        except ValueError:  # another alphabet than hex digits: an ID, but no UUID
            pass
    return sha256(event_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def format(trace_id: str, span_id: str, sampled: bool) -> str:  # noqa: A001, FBT001 - reads as tracecontext.format
    """Return the `traceparent` to send, version 00. IDs are lower-case hex of 32 and 16 digits, neither all zeros."""
    return f"00-{trace_id}-{span_id}-01" if sampled else f"00-{trace_id}-{span_id}-00"


def _valid(header: bytes) -> bool:
    """Whether the form is right; that IDs are not all zeros is left to the caller."""
    if len(header) != _LENGTH:
        # Only a version after 00 may be longer, and then goes on with a dash.
        later = _LENGTH < len(header) <= TRACEPARENT_BYTES_MAX and header[:2] != b"00" and header[_LENGTH] == _DASH
        if not later:
            return False
        header = header[:_LENGTH]
    if header[2] != _DASH or header[35] != _DASH or header[52] != _DASH or header[:2] == b"ff":
        return False
    # With every hex digit deleted only the three dashes may be left: one pass in C instead of a regular expression.
    return header.translate(None, _HEX) == b"---"
