"""Decides what somebody meant who writes CEL as another language; asked of expressions that do not compile alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.core.expressions import scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Slip: TypeAlias = tuple[int, str, str]
"""Offset in characters, message, remedy."""

_HAS: Final = "whether there is a value is asked with has(event.properties.NAME)"
_WORDS: Final = {
    "and": "write &&", "or": "write ||", "not": "write ! before what is not so", "is": _HAS, "isnull": _HAS,
    "none": _HAS, "nil": _HAS, "undefined": _HAS,
}  # fmt: skip
"""By word in lower case, outside of a path."""
_CONSTANTS: Final = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false", "NULL": "null", "Null": "null"}
_OPERATORS: Final = {"&": "write &&", "|": "write ||", "=": "write == to compare"}
_METHODS: Final = ("contains", "startsWith", "endsWith", "matches")
_UNEQUAL: Final = "write !="
_SPANS: Final = ("write days(", "write duration(")
_UNITS: Final = ("ms", "s", "m", "h", "d", "w", "y")


def slips(text: str) -> list[Slip]:
    """Return what is written as other languages do, in the order of the text."""
    found: list[Slip] = []
    tokens = list(scan.tokens(text))
    nothing = scan.Token("op", "", len(text), len(text))
    for before, (token, after) in zip([nothing, *tokens], pairwise([*tokens, nothing]), strict=False):
        remedy = _operator(before, token, after) if token.kind == "op" else _word(before, token, after)
        if remedy:
            start = before.start if remedy.startswith(_SPANS) else token.start  # of a number and its unit
            end = after.end if remedy == _UNEQUAL else token.end
            found.append((start, f"`{text[start:end]}` means nothing in CEL", remedy))
    return found


def _operator(before: scan.Token, token: scan.Token, after: scan.Token) -> str:
    if token.text == "<" and after.text == ">" and after.start == token.end:
        return _UNEQUAL
    if token.text == "=" and before.text == "==" and before.end == token.start:
        return "two are enough: write =="
    return _OPERATORS.get(token.text, "")


def _word(before: scan.Token, token: scan.Token, after: scan.Token) -> str:
    word = token.text.lower()
    if token.kind != "name" or before.text == "." or (word == "not" and before.text.lower() == "is"):
        return ""
    if before.kind == "number" and before.end == token.start and token.text in _UNITS:
        unit = token.text
        return f"write days({before.text})" if unit == "d" else f'write duration("{before.text}{unit}")'
    if token.text in _CONSTANTS:
        return f"write {_CONSTANTS[token.text]}"
    if token.text == "in" and after.text == "(":
        return 'a list has brackets: in ["a", "b"]'
    if token.text in _METHODS:
        return f'write it behind a dot: event.properties.NAME.{token.text}("text")'
    return _WORDS.get(word, "")


def meant(names: tuple[str, ...], leads: Callable[[tuple[str, ...]], bool]) -> Iterator[str]:
    """Yield the paths that a path without its root may stand for; `leads` says whether one leads anywhere."""
    for root in (("steps",), ("event",), ("event", "properties"), ("event", "customer")):
        if leads((*root, *names)):
            yield ".".join((*root, *names))
