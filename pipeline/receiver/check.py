"""Decides whether a request is accepted: by signature, delivery ID and schema. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from pipeline.core import tracecontext
from pipeline.model import Trace
from pipeline.receiver.values import NAMELESS, Accepted, Refused

if TYPE_CHECKING:
    from pipeline.receiver.schema import Validate
    from pipeline.receiver.signatures import Verify

ID_CHARS_MAX: Final = 256
TEXT_CHARS_MAX: Final = 1_024
"""Of a `hookline-` header; the rest is cut off."""

TRACESTATE_CHARS_MAX: Final = 512
"""W3C Trace Context, section 3.3.1.5: what everybody has to pass on; a longer one is dropped."""

_NO_TRACE: Final = Trace("", "", sampled=False)

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Check:
    """What one endpoint asks of a request. Stateless, never waits, never raises."""

    def __init__(
        self, verify: Verify, *, validate: Validate | None = None, id_header: str = "webhook-id", needs_id: bool = True
    ) -> None:
        self._verify = verify
        self._validate = validate
        self._id_header = id_header.lower()
        self._needs_id = needs_id

    def __call__(self, headers: Headers, body: bytes, now_s: float) -> Accepted | Refused:
        """Return the accepted request, or why not. `now_s` is Unix time; header names may have any case."""
        named = _by_name(headers)
        refused = self._verify(named, body, now_s)
        if refused is not None:
            return refused
        delivery_id = named.get(self._id_header, "")
        if len(delivery_id) > ID_CHARS_MAX or not (delivery_id or not self._needs_id):
            return NAMELESS
        refused = self._validate(body) if self._validate is not None else None
        return refused if refused is not None else _accepted(named, delivery_id, body)


def _accepted(headers: Mapping[str, str], delivery_id: str, body: bytes) -> Accepted:
    def text(name: str) -> str:  # Hookline percent-encodes what is not printable ASCII
        return unquote(headers.get(name, "")[:TEXT_CHARS_MAX])

    return Accepted(
        delivery_id=delivery_id,
        event_id=text("hookline-event-id"),
        event_type=text("hookline-event-type"),
        event_time=text("hookline-event-time"),
        journey=text("hookline-journey"),
        step=text("hookline-step"),
        trace=_trace(headers),
        body=body,
    )


def _trace(headers: Mapping[str, str]) -> Trace:
    given = headers.get(tracecontext.HEADER, "").strip()
    trace_id, parent_id, sampled = tracecontext.parse(given.encode("utf-8", "replace"), "")
    if not parent_id:
        return _NO_TRACE
    state = headers.get("tracestate", "")
    return Trace(trace_id, parent_id, sampled, state if len(state) <= TRACESTATE_CHARS_MAX else "")


def _by_name(headers: Headers) -> dict[str, str]:
    """Names in lower case; what came several times is joined by commas, as RFC 9110, section 5.3 has it."""
    named: dict[str, str] = {}
    for name, content in headers.items() if isinstance(headers, Mapping) else headers:
        lowered = name.lower()
        named[lowered] = f"{named[lowered]}, {content}" if lowered in named else content
    return named
