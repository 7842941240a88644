"""Decides what a text of the configuration means as a value: a literal, one `${CEL}`, or text with `${CEL}` in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from pipeline.core.expressions import scan
from pipeline.core.expressions.cel import Expression, Flaw, Scope, Variable, expression
from pipeline.model import ABSENT, Datum, Getter, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

_PRINTABLE: Final = ("bool", "int", "uint", "double", "string", "timestamp", "dyn")


def template(text: str, scope: Scope) -> str | Expression | tuple[Flaw, ...]:
    """Compile a text: a str is a literal; an Expression is typed if `${…}` stands alone, else of type string."""
    cut = scan.pieces(text)
    if isinstance(cut, int):
        return (Flaw(cut, "`${` is not closed", "write `$${` for a literal `${`"),)
    if len(cut) == 1 and not cut[0].expression:
        return cut[0].text
    flaws: list[Flaw] = []
    parts: list[str | Getter] = []
    variables: list[Variable] = []
    made: list[Expression] = []
    for piece in cut:
        if not piece.expression:
            parts.append(piece.text)
            continue
        compiled = expression(piece.text, scope)
        if isinstance(compiled, tuple):
            flaws.extend(Flaw(piece.start + flaw.offset, flaw.message, flaw.hint) for flaw in compiled)
        elif len(cut) > 1 and compiled.type not in _PRINTABLE:
            flaws.append(Flaw(piece.start, f"a {compiled.type} cannot stand inside text"))
        else:
            made.append(compiled)
            parts.append(compiled.get)
            variables.extend(compiled.variables)
    if flaws:
        return tuple(flaws)
    if len(cut) == 1 and made:
        return made[0]
    get = _joined(parts)
    return Expression("string", get, get, tuple(variables), refuses=any(each.refuses for each in made))


def as_text(compiled: Expression) -> Expression:
    """Return an expression whose value is the text of another's: 7 is "7". Text stays as it is, at no cost."""
    if compiled.type == "string":
        return compiled
    get = _joined([compiled.get])
    return Expression("string", get, get, compiled.variables, refuses=compiled.refuses)


def _joined(parts: Sequence[str | Getter]) -> Getter:
    def joined(datum: Datum, now_ms: int) -> object:
        texts: list[str] = []
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
                continue
            found = part(datum, now_ms)
            if isinstance(found, str):
                texts.append(found)
            elif found is ABSENT or found is None or type(found) is Refused:
                return found
            elif isinstance(found, (bool, int, float)):
                texts.append(orjson.dumps(found).decode("ascii"))
            else:  # a list or a map, which only the value could tell
                return None
        return "".join(texts)

    return joined
