"""Decides what a step without a call writes: a suppression, its end, or the customer's word on consent."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson

from pipeline.model import ABSENT, ConsentSaid, Datum, FailureClass, Getter, Mark, Refused, Suppress, Unsuppress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ID_CHARS_MAX: Final = 512
"""Longest name of a reason to suppress."""


def suppress(
    name: Getter, scope: str, of: str, until_event: str, match: Callable[[Datum, int], str | Refused], at_most_ms: int
) -> Callable[[Datum, int], Mark | Refused]:
    """Return what suppresses `scope` (category, channel, journey) `of`, at most so long from when the run started.

    `match` gives the correlation hash of the event that ends it; `name` the reason's, text.
    """
    read = _text(name, "suppress.id")

    def mark(datum: Datum, now_ms: int) -> Mark | Refused:
        id_ = read(datum, now_ms)
        if isinstance(id_, Refused):
            return id_
        hashed = match(datum, now_ms)
        if isinstance(hashed, Refused):
            return hashed
        return Suppress(id_, scope, of, until_event, hashed, now_ms + at_most_ms, now_ms)

    return mark


def correlation(values: Sequence[Getter]) -> Callable[[Datum, int], str | Refused]:
    """Return what hashes the values an event has to have too, in the order of its paths; "" if there are none.

    The hash is the first 32 hex digits of the SHA-256 of their JSON array.
    """
    missing = Refused(FailureClass.MISSING_FIELD, "suppress.until.match")

    def hashed(datum: Datum, now_ms: int) -> str | Refused:
        if not values:
            return ""
        found = [get(datum, now_ms) for get in values]
        for each in found:
            if each is ABSENT or each is None:
                return missing
            if isinstance(each, Refused):  # an identifier that is none is like no other, not like every such
                return Refused(each.cls, missing.field)
        return sha256(orjson.dumps(found)).hexdigest()[:32]

    return hashed


def unsuppress(name: Getter) -> Callable[[Datum, int], Mark | Refused]:
    """Return what takes the reason of that name back."""
    read = _text(name, "unsuppress.id")

    def mark(datum: Datum, now_ms: int) -> Mark | Refused:
        id_ = read(datum, now_ms)
        return id_ if isinstance(id_, Refused) else Unsuppress(id_)

    return mark


def consent(key: str, at: Callable[[Datum, int], object], *, granted: bool) -> Callable[[Datum, int], Mark | Refused]:
    """Return what notes the customer's word; `at` gives Unix ms, ABSENT or None for an error."""
    missing = Refused(FailureClass.MISSING_FIELD, "consent.at")
    erred = Refused(FailureClass.CONDITION_ERROR, "consent.at")

    def mark(datum: Datum, now_ms: int) -> Mark | Refused:
        at_ms = at(datum, now_ms)
        if at_ms is ABSENT:
            return missing
        return ConsentSaid(key, granted, at_ms) if isinstance(at_ms, int) else erred

    return mark


def _text(get: Getter, field: str) -> Callable[[Datum, int], str | Refused]:
    missing = Refused(FailureClass.MISSING_FIELD, field)
    erred = Refused(FailureClass.CONDITION_ERROR, field)
    unusable = Refused(FailureClass.SCHEMA, field)

    def read(datum: Datum, now_ms: int) -> str | Refused:
        found = get(datum, now_ms)
        if found is ABSENT:
            return missing
        if isinstance(found, Refused):
            return Refused(found.cls, field)
        if not isinstance(found, str):
            return erred
        return found if 0 < len(found) <= ID_CHARS_MAX and found.isprintable() else unusable

    return read
