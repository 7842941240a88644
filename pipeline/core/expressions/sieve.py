"""Decides what a condition asks at least, so that most conditions are decided without CEL.

The rule: in a chain of `&&` a false part makes the whole false, wherever it stands and whatever the others are, errors
included (CEL: language definition, Logical Operators). So each part that does no more than compare a path with a
constant is an *ask*, and an event that one of them refutes is one the condition is false of. Asks are

    event.plan == "pro"      and !=             a text, without escapes
    event.value >= 20.0      and > <= < == !=   a number, either way round; -20 and 20.0, not 20u and 0x14
    event.plan in ["a", "b"]                    texts or numbers, all of one kind
    event.gift               and == true, !=    a boolean; `!event.gift` is another
    has(event.plan)          and !has(…)

An ask speaks of values of its constant's own kind: a float beside 20.0, an int of 64 bits beside 20. CEL compares these
as Python does. Of what is absent or of another kind (an int beside 20.0) CEL is asked. If a condition consists of asks
alone and all of them hold, it is true; else CEL decides. What many journeys of one event type ask, core/routes looks up
once an event.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pipeline.core.expressions import cel, scan
from pipeline.core.expressions.cel import Flaw, Variable
from pipeline.model import ABSENT, INT_MAX, INT_MIN, Ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.core.expressions.cel import Scope, Test
    from pipeline.model import Datum, Getter

# Of the tokens of one part, a space between two: a text's own spaces and quotes stay, but it can hold neither its quote
# nor an escape.
_PATH: Final = r"(?P<path>[A-Za-z_]\w*(?: \. [A-Za-z_]\w*)*)"
_CONSTANT: Final = r"""(?:"[^"\\\r\n]*"|'[^'\\\r\n]*'|(?:- )?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false)"""
_FORMS: Final = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"{_PATH} (?P<operator>==|!=|<=?|>=?) (?P<constant>{_CONSTANT})",
        rf"(?P<constant>{_CONSTANT}) (?P<operator>==|!=|<=?|>=?) {_PATH}",
        rf"{_PATH} (?P<operator>in) \[ (?P<constant>{_CONSTANT}(?: , {_CONSTANT})*) \]",
        rf"(?P<not>! )?(?P<has>has \( )?{_PATH}(?(has) \))",
    )
)
_METHODS: Final = {
    "==": "__eq__", "!=": "__ne__", "<": "__gt__", "<=": "__ge__", ">": "__lt__", ">=": "__le__",
}  # fmt: skip
"""What a constant beside its path on the left is asked: `event.x < 3` is `(3).__gt__`. A C function, no Python call."""
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_ORDERED: Final = (int, float)


def asks(text: str, scope: Scope) -> tuple[Ask, ...]:
    """Return what a condition asks at least."""
    return tuple(each for each in _parts(text, scope) if each is not None)


def condition(text: str, scope: Scope) -> tuple[Test, tuple[Variable, ...]] | tuple[Flaw, ...]:
    """Compile a condition, with the paths it reads, or say all that is wrong with it. Only a BOOL true is true."""
    made = cel.condition(text, scope)
    if isinstance(made[0], Flaw):
        return made
    test, variables = made
    read = {each.path: each for each in variables}
    parts = _parts(text, lambda names: read.get(".".join(names)))
    found = tuple(each for each in parts if each is not None)
    if not found:
        return made
    return (_one if len(found) == 1 else _several)(found, test, alone=len(found) == len(parts)), variables


def _one(found: Sequence[Ask], test: Test, *, alone: bool) -> Test:
    """Compile the commonest condition."""
    [ask] = found
    get, kind, holds = ask.get, ask.kind, ask.holds

    def quick(datum: Datum, now_ms: int) -> bool | None:
        found: Any = get(datum, now_ms)
        if type(found) is kind and (kind is not int or INT_MIN <= found <= INT_MAX):
            if not holds(found):
                return False
            if alone:
                return True
        return test(datum, now_ms)

    return quick


def _several(found: Sequence[Ask], test: Test, *, alone: bool) -> Test:
    asked = tuple((ask.get, ask.kind, ask.holds) for ask in found)

    def quick(datum: Datum, now_ms: int) -> bool | None:
        sure = alone
        for get, kind, holds in asked:
            found: Any = get(datum, now_ms)
            if type(found) is kind and (kind is not int or INT_MIN <= found <= INT_MAX):
                if not holds(found):
                    return False
            else:
                sure = False
        return True if sure else test(datum, now_ms)

    return quick


# ------------------------------------------------------------------------------------------------------------ reading


def _parts(text: str, scope: Scope) -> tuple[Ask | None, ...]:
    """Return what each part of the chain of `&&` asks, None for one that is more than an ask."""
    return tuple(_ask(part, scope) for part in _chain(text))


@lru_cache(maxsize=scan.TEXTS_MAX)
def _chain(text: str) -> tuple[str, ...]:
    """Return the parts of a chain of `&&`, their tokens with a space between two; of another expression nothing."""
    depth = 0
    parts: list[list[str]] = [[]]
    for token in scan.tokens(text):
        if token.kind == "op":
            depth += (token.text in "([{") - (token.text in ")]}")
            if depth == 0 and token.text in ("||", "?"):  # these bind less than `&&`
                return ("",)
        if depth == 0 and token.text == "&&":
            parts.append([])
        else:
            parts[-1].append(token.text)
    return tuple(map(" ".join, parts))


def _ask(part: str, scope: Scope) -> Ask | None:
    found = next(filter(None, (form.fullmatch(part) for form in _FORMS)), None)
    if found is None:
        return None
    given = found.groupdict()
    path = given["path"].replace(" ", "")
    variable = scope(tuple(path.split(".")))
    if not isinstance(variable, Variable):
        return None
    if given.get("has"):
        path, get = f"has({path})", _present(variable.get_cel)
    else:
        get = variable.get_cel
    operator = given.get("operator")
    if operator is None:
        wanted = not given["not"]
        return Ask(path, get, bool, wanted.__eq__, (wanted,))
    if found.start("constant") < found.start("path"):
        operator = _TURNED.get(operator, operator)
    return _comparison(path, get, operator, given["constant"])


def _comparison(path: str, get: Getter, operator: str, written: str) -> Ask | None:
    constants = _constants(written)
    kind = type(constants[0])
    if any(type(each) is not kind or (kind in _ORDERED and not _plain(each)) for each in constants):
        return None
    if operator == "in":
        return Ask(path, get, kind, frozenset(constants).__contains__, tuple(constants))
    if operator in _TURNED and kind not in _ORDERED:
        return None
    return Ask(path, get, kind, getattr(constants[0], _METHODS[operator]), tuple(constants))


def _constants(written: str) -> list[Any]:
    return [_constant(each) for each in re.findall(_CONSTANT, written)]


def _constant(written: str) -> str | bool | int | float:
    if written[0] in "\"'":
        return written[1:-1]
    if written in ("true", "false"):
        return written == "true"
    digits = written.replace(" ", "")
    return int(digits) if digits.lstrip("-").isdecimal() else float(digits)


def _plain(number: float) -> bool:
    return INT_MIN <= number <= INT_MAX if type(number) is int else math.isfinite(number)


def _present(get: Getter) -> Getter:
    return lambda datum, now_ms: get(datum, now_ms) is not ABSENT
