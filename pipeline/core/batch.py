"""Decides how deliveries of one operation share a request: how many, in what body, and what the answer says of each.

A batch that fails is not repeated as it was. One that is refused for what it holds (400, 413, 422) is halved at once,
until the item at fault is alone; after trouble that may pass, each delivery waits as if it had been alone, and is sent
in a quarter of the company it was in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import orjson

from pipeline.model import Answer, Failure, FailureClass, value

EVENTS_MAX: Final = 1_000
"""Most deliveries in one request, whatever the configuration says."""
BYTES_MAX: Final = 16 * 1_024 * 1_024
"""Largest body of a batch."""
WAIT_MS_MAX: Final = 60_000
"""Longest time a delivery may wait for company."""

_NEWLINE: Final = b"\n"
_SPLIT: Final = frozenset({400, 413, 422})
"""Refusals that one bad or one item too many may explain (RFC 9110, 15.5.1, 15.5.14, 15.5.21)."""
_QUARTER: Final = 2
"""Bits by which a delivery's next batch is smaller at least."""
_OK: Final = 200
_MULTIPLE: Final = 300
_MISSING: Final = Failure(FailureClass.CONTRACT, sent=True, detail="item_without_result")

Read: TypeAlias = Callable[[bytes, Sequence[str]], "list[Answer | Failure] | None"]
"""`(body of a 2xx answer, delivery IDs in order)` to each one's result; None if the answer has no results of items."""


@value
class Results:
    """Where an answer has its items' results: JSON pointers' tokens.

    `at` leads to a list, `status` in an item to its HTTP status, `id` to its delivery ID; without `id` items are in the
    order of the request.
    """

    at: tuple[str, ...]
    status: tuple[str, ...]
    id: tuple[str, ...] | None = None


def company(attempts: int, events_max: int) -> int:
    """Return in how large a batch a delivery may go that was attempted so often: 100, 25, 6, 1 of 100."""
    return max(events_max >> (_QUARTER * attempts), 1)


def body(bodies: Sequence[bytes], *, lines: bool) -> bytes:
    """Return the request's body: a JSON array of the deliveries' bodies, or their lines (NDJSON)."""
    if lines:
        return b"".join(each if each.endswith(_NEWLINE) else each + _NEWLINE for each in bodies)
    return b"[%b]" % b",".join(bodies)


def splits(result: Answer | Failure, members: int) -> bool:
    """Whether a refusal of so many deliveries is to be asked again in halves, instead of being theirs."""
    return members > 1 and isinstance(result, Answer) and result.status in _SPLIT


def each(result: Answer | Failure, ids: Sequence[str], read: Read | None) -> list[Answer | Failure]:
    """Return what a batch's result is for each of its deliveries.

    Without results of items in a 2xx answer all share the answer. An item the results leave out is ambiguous: its
    failure is of class `contract`, and was sent.
    """
    if read is not None and isinstance(result, Answer) and _OK <= result.status < _MULTIPLE:
        found = read(result.body, ids)
        if found is not None:
            return found
    return [result] * len(ids)


def reader(results: Results) -> Read:
    """Return the function that reads items' results. It never raises, whatever a receiver sends."""

    def read(content: bytes, ids: Sequence[str]) -> list[Answer | Failure] | None:
        try:
            items = _at(orjson.loads(content), results.at)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(items, list):
            return None
        if results.id is None:
            if len(items) != len(ids):
                return [_MISSING] * len(ids)
            return [_result(item, results.status) for item in items]
        named = {_at(item, results.id): item for item in items if isinstance(_at(item, results.id), str)}
        return [_result(named[name], results.status) if name in named else _MISSING for name in ids]

    return read


def _result(item: Any, status: tuple[str, ...]) -> Answer | Failure:
    found = _at(item, status)
    if type(found) is not int or not _OK <= found < 600:  # noqa: PLR2004 - the statuses of RFC 9110 but the interim ones
        return _MISSING
    return Answer(found)


def _at(document: Any, tokens: tuple[str, ...]) -> Any:
    """Follow a JSON pointer's tokens (RFC 6901) through objects and lists; None where they lead nowhere."""
    for token in tokens:
        if isinstance(document, dict):
            document = document.get(token)
        elif isinstance(document, list) and token.isascii() and token.isdigit() and int(token[:9]) < len(document):
            document = document[int(token[:9])]
        else:
            return None
    return document
