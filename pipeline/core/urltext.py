"""Decides how values are written in a URL and in a form: path and query of a request, and a form body.

Sources: RFC 3986 (percent-encoding), WHATWG URL Standard, section 5 (application/x-www-form-urlencoded). A value never
changes the structure of what it is put into.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Final, TypeAlias
from urllib.parse import quote, quote_plus

import orjson

from pipeline.model import ABSENT, Datum, FailureClass, Refused, value

TARGET_BYTES_MAX: Final = 8_000
"""Path and query of a request, without the base URL's path; RFC 9112, section 3, asks receivers to take that much."""

Build: TypeAlias = Callable[[Datum, int], object]
"""As in core/payload: `(datum, now_ms)` to a JSON-ready value, ABSENT, or a Refused that names the key."""


@value
class Parameter:
    """A part of a path or a query that events change; `field` is the payload key, or `query.KEY`."""

    field: str
    build: Build


def scalar_text(found: object) -> str | None:
    """Return text, a number or a boolean as text, None for anything else: 7 is "7", 0.5 "0.5", true "true"."""
    if isinstance(found, str):
        return found
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float):
        return orjson.dumps(found).decode("ascii") if isfinite(found) else None
    return str(found) if isinstance(found, int) else None


# ---------------------------------------------------------------------------------------------------- path and query


def target(
    path: Sequence[str | Parameter], query: Sequence[tuple[str, bool, str | Parameter]]
) -> Callable[[Datum, int], bytes | Refused]:
    """Return the function that builds path and query of a request, percent-encoded.

    `path` has literal text and parameters in their order, `query` `(name, optional, text or parameter)`. All but
    unreserved characters of a value are encoded. Refused(missing_field) is what is absent, or empty in a path;
    Refused(schema) a list, an object, a segment that would be `.` or `..`, and more than TARGET_BYTES_MAX in all.
    """
    segments = tuple(_segments(path))
    pairs = tuple(
        (quote(name, safe=""), optional, part if isinstance(part, Parameter) else quote(part, safe=""))
        for name, optional, part in query
    )

    def built(datum: Datum, now_ms: int) -> bytes | Refused:
        texts: list[str] = []
        for segment in segments:
            made = segment if isinstance(segment, str) else _segment(segment, datum, now_ms)
            if isinstance(made, Refused):
                return made
            texts.append(made)
        whole = "/".join(texts)
        asked = _query(pairs, datum, now_ms)
        if isinstance(asked, Refused):
            return asked
        whole = f"{whole}?{asked}" if asked else whole
        if len(whole) > TARGET_BYTES_MAX:
            return Refused(FailureClass.SCHEMA, "target_too_long")
        return whole.encode("ascii")

    return built


def constant_query(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a query of literals, percent-encoded, without its question mark."""
    return "&".join(f"{quote(name, safe='')}={quote(text, safe='')}" for name, text in pairs)


def is_dots(segment: str) -> bool:
    """Whether a segment of a path is `.` or `..`, however written: WHATWG's URLs take `%2e` for a dot."""
    return segment.lower().replace("%2e", ".") in (".", "..")


def _segments(path: Sequence[str | Parameter]) -> list[str | tuple[str | Parameter, ...]]:
    """Cut a path at its slashes; a segment without parameters is text."""
    cut: list[list[str | Parameter]] = [[]]
    for piece in path:
        if isinstance(piece, Parameter):
            cut[-1].append(piece)
            continue
        first, *rest = piece.split("/")
        cut[-1].append(first)
        cut += [[each] for each in rest]
    return ["".join(map(str, each)) if all(isinstance(part, str) for part in each) else tuple(each) for each in cut]


def _segment(pieces: Sequence[str | Parameter], datum: Datum, now_ms: int) -> str | Refused:
    made, last = "", ""
    for piece in pieces:
        if isinstance(piece, str):
            made += piece
            continue
        text = _encoded(piece, datum, now_ms)
        if isinstance(text, Refused):
            return text
        if not text:
            return Refused(FailureClass.MISSING_FIELD, piece.field)
        made, last = made + text, piece.field
    return Refused(FailureClass.SCHEMA, last) if is_dots(made) else made


def _query(pairs: Sequence[tuple[str, bool, str | Parameter]], datum: Datum, now_ms: int) -> str | Refused:
    made: list[str] = []
    for name, optional, part in pairs:
        if isinstance(part, str):
            made.append(f"{name}={part}")
            continue
        text = _encoded(part, datum, now_ms)
        if isinstance(text, Refused):
            return text
        if text is not None:
            made.append(f"{name}={text}")
        elif not optional:
            return Refused(FailureClass.MISSING_FIELD, part.field)
    return "&".join(made)


def _encoded(piece: Parameter, datum: Datum, now_ms: int) -> str | Refused | None:
    """Return a value's text, percent-encoded; None if it is absent."""
    found = piece.build(datum, now_ms)
    if isinstance(found, Refused) or found is ABSENT:
        if isinstance(found, Refused):
            return found if found.field else Refused(found.cls, piece.field)
        return None
    text = scalar_text(found)
    try:
        return Refused(FailureClass.SCHEMA, piece.field) if text is None else quote(text, safe="")
    except UnicodeEncodeError:  # half of a surrogate pair is no character
        return Refused(FailureClass.SCHEMA, piece.field)


# -------------------------------------------------------------------------------------------------------------- forms


def form(made: Mapping[str, object]) -> bytes | Refused:
    """Return a flat mapping as application/x-www-form-urlencoded; lists, objects and null are Refused(schema)."""
    pairs: list[str] = []
    for name, found in made.items():
        text = scalar_text(found)
        try:
            if text is None:
                return Refused(FailureClass.SCHEMA, name)
            pairs.append(f"{_form_text(name)}={_form_text(text)}")
        except UnicodeEncodeError:
            return Refused(FailureClass.SCHEMA, name)
    return "&".join(pairs).encode("ascii")


def _form_text(text: str) -> str:
    """Encode all but letters, digits and `*-._`; a space is `+`."""
    return quote_plus(text, safe="*").replace("~", "%7E")
