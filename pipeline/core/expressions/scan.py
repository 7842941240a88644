"""Decides which names a CEL expression reads, from its tokens: dotted paths, `has()` of one, constants beside one."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TOKEN: Final = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*)
    | (?P<string>(?:[rR][bB]?|[bB][rR])(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
        |[bB]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    | (?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[uU]?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<op>==|!=|<=|>=|&&|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)
TEXTS_MAX: Final = 4_096
"""Texts whose tokens are remembered: journeys have many in common."""
_WORDS: Final = frozenset({"true", "false", "null", "in"})
_MACROS: Final = frozenset({"all", "exists", "exists_one", "map", "filter"})


@value
class Token:
    """One token; `start` and `end` are character offsets. `kind` is string, number, name or op."""

    kind: str
    text: str
    start: int
    end: int


@value
class Chain:
    """A dotted path that begins a primary expression. `has` is the span of the `has(…)` around it, if any.

    `counted` says that no more than its `size` is asked for.
    """

    names: tuple[str, ...]
    starts: tuple[int, ...]
    end: int
    has: tuple[int, int] | None
    constants: tuple[tuple[int, str], ...]  # text constants it is compared with, by offset
    counted: bool = False


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Yield the tokens from `start` on, without space and comments."""
    for found in _TOKEN.finditer(text, start):
        kind = found.lastgroup or "op"
        if kind != "space":
            yield Token(kind, found.group(), found.start(), found.end())


@lru_cache(maxsize=TEXTS_MAX)
def _all(text: str) -> tuple[Token, ...]:
    return tuple(tokens(text))


def length(text: str) -> int:
    """Return the number of tokens."""
    return len(_all(text))


@lru_cache(maxsize=TEXTS_MAX)
def chains(text: str) -> tuple[Chain, ...]:
    """Return the paths an expression reads, in order. A method's name, as `size` in `a.b.size()`, is no part of one."""
    all_ = _all(text)
    found: list[Chain] = []
    index = 0
    while index < len(all_):
        token = all_[index]
        starts_path = token.kind == "name" and token.text not in _WORDS and not _is(all_, index - 1, ".")
        last = _last(all_, index) if starts_path else index
        if starts_path:
            end = last - 2 if _is(all_, last + 1, "(") else last
            if end >= index:
                found.append(_chain(all_, index, end))
        index = last + 1
    return tuple(found)


def bound_names(text: str) -> list[Token]:
    """Return the variables that macros bind, as `line` in `event.lines.all(line, …)`."""
    all_ = _all(text)
    return [
        all_[index + 2]
        for index in range(len(all_) - 3)
        if all_[index].text in _MACROS
        and _is(all_, index - 1, ".")
        and _is(all_, index + 1, "(")
        and all_[index + 2].kind == "name"
        and _is(all_, index + 3, ",")
    ]


def _is(all_: Sequence[Token], index: int, text: str) -> bool:
    return 0 <= index < len(all_) and all_[index].kind == "op" and all_[index].text == text


def _last(all_: Sequence[Token], index: int) -> int:
    while _is(all_, index + 1, ".") and index + 2 < len(all_) and all_[index + 2].kind == "name":
        index += 2
    return index


def _chain(all_: Sequence[Token], first: int, last: int) -> Chain:
    names = all_[first : last + 1 : 2]
    has: tuple[int, int] | None = None
    in_has = _is(all_, first - 1, "(") and first >= 2 and all_[first - 2].text == "has"  # noqa: PLR2004
    if in_has and _is(all_, last + 1, ")") and not _is(all_, first - 3, "."):
        has = (all_[first - 2].start, all_[last + 1].end)
    return Chain(
        tuple(token.text for token in names),
        tuple(token.start for token in names),
        all_[last].end,
        has,
        tuple(_constants(all_, first, last)),
        _is_counted(all_, first, last),
    )


def _is_counted(all_: Sequence[Token], first: int, last: int) -> bool:
    """Whether a path stands in `size(…)` alone, or before `.size()`."""
    if _is(all_, last + 1, ".") and last + 2 < len(all_) and all_[last + 2].text == "size":
        return _is(all_, last + 3, "(") and _is(all_, last + 4, ")")
    inside = first >= 2 and all_[first - 2].text == "size" and not _is(all_, first - 3, ".")  # noqa: PLR2004
    return inside and _is(all_, first - 1, "(") and _is(all_, last + 1, ")")


def _constants(all_: Sequence[Token], first: int, last: int) -> Iterator[tuple[int, str]]:
    beside: list[Token] = []
    if last + 2 < len(all_) and all_[last + 1].text in ("==", "!="):
        beside.append(all_[last + 2])
    if first >= 2 and all_[first - 1].text in ("==", "!="):  # noqa: PLR2004
        beside.append(all_[first - 2])
    if last + 1 < len(all_) and all_[last + 1].text == "in" and _is(all_, last + 2, "["):
        for index in range(last + 3, len(all_), 2):
            beside.append(all_[index])
            if not _is(all_, index + 1, ","):
                break
    for token in beside:
        if token.kind == "string" and token.text[0] in "\"'":
            try:
                yield token.start, str(ast.literal_eval(token.text))
            except (ValueError, SyntaxError):  # an escape of CEL's that Python does not have: CEL judges it
                continue


# ---------------------------------------------------------------------------------------------------------- templates


@value
class Piece:
    """A part of a template: literal text, or an expression. `start` is the offset of its first character."""

    text: str
    start: int
    expression: bool


def pieces(text: str) -> list[Piece] | int:
    """Cut a template at its `${…}`; `$${` is a literal `${`. An unclosed `${` answers with its offset."""
    cut: list[Piece] = []
    literal, begin, at = "", 0, 0
    while (mark := text.find("${", at)) >= 0:
        if mark > 0 and text[mark - 1] == "$" and mark - 1 >= at:
            literal += text[at : mark - 1] + "${"
            at = mark + 2
            continue
        literal += text[at:mark]
        if literal:
            cut.append(Piece(literal, begin, expression=False))
        close = _closing(text, mark + 2)
        if close < 0:
            return mark
        cut.append(Piece(text[mark + 2 : close], mark + 2, expression=True))
        literal, begin, at = "", close + 1, close + 1
    literal += text[at:]
    if literal or not cut:
        cut.append(Piece(literal, begin, expression=False))
    return cut


def _closing(text: str, start: int) -> int:
    depth = 0
    for token in tokens(text, start):
        if token.kind == "op" and token.text == "{":
            depth += 1
        elif token.kind == "op" and token.text == "}":
            if depth == 0:
                return token.start
            depth -= 1
    return -1
