"""Decides what a CEL expression means: compiled with only the paths it names bound, evaluated without ever raising.

Each dotted path is declared as a variable of that qualified name, so that an evaluation costs the same whatever the
event's size. `has(event.a.b)` becomes the variable `has_.event.a.b`, of the same length, so that the columns of CEL's
messages stay true.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, TypeAlias

from cel_expr_python import cel  # type: ignore[import-untyped]  # its stubs are not marked as typed

from pipeline.core.expressions import functions, scan, shared, slips
from pipeline.model import ABSENT, Datum, FailureClass, Getter, Refused, value

_ERROR: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_CEL_ERROR: Final = cel.Type.ERROR
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WORDLESS: Final = frozenset({"bool", "int", "uint", "double", "timestamp", "duration"})
"""Types of results that hold no words, whatever they were computed from."""

_TYPES_HINT: Final = "types are never mixed: write 2.0 beside a double, or convert with double(), int(), string()"
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_ROOTS: Final = ("event", "steps", "tables", "now")
_CONTAINER_AT_END: Final = re.compile(r" \(in container '[^']*'\)$")

Test: TypeAlias = Callable[[Datum, int], bool | None]
"""A condition: true, false, or None for an error. Never raises."""


@value
class Variable:
    """What a path stands for. `cel` is its CEL type, as `list(timestamp)`.

    `leaf` is false for a record, a map or a list of such; `text` says whether it may hold a person's words; `cls` is
    its data class, and `inner` are others of what it holds. `parts`: it may hold objects, as far as its type says;
    `get_sent` is then what a payload reads, which gives a Refused for them.
    `refuses`: `get_json` may give a Refused, for an identifier that is none; `get_cel` gives ABSENT for it.
    """

    path: str
    cel: str
    get_cel: Getter
    get_json: Getter
    leaf: bool = True
    text: bool = False
    cls: str = ""
    symbols: tuple[str, ...] = ()
    refuses: bool = False
    parts: bool = False
    inner: tuple[str, ...] = ()
    get_sent: Getter | None = None


@value
class Unknown:
    """A path that leads nowhere from its `at`-th name on; `known` are the names there are."""

    at: int
    message: str
    known: tuple[str, ...] = ()


Scope: TypeAlias = Callable[[tuple[str, ...]], Variable | Unknown | None]
"""Finds the variable of a path. None: the first name is none of ours (a macro's variable, a function's namespace)."""


@value
class Flaw:
    """One thing wrong with an expression, `offset` characters from its start. Quotes configuration, never data."""

    offset: int
    message: str
    hint: str = ""


@value
class Expression:
    """A compiled expression. `get` gives a JSON-ready value, ABSENT when what it needs is, or None for an error.

    `type` is its CEL type, "dyn" if only its values tell. `variables` are the paths it reads; `text` is false for those
    whose words cannot be in the result. `bare` is the path it consists of, if nothing else.
    `evaluate` gives the CEL value as a Python value instead, with the same ABSENT and None. If it `refuses`, `get` may
    also give a Refused that names nothing: an identifier it needs is none, or what it would hash is a hash.
    """

    type: str
    get: Getter
    evaluate: Getter
    variables: tuple[Variable, ...]
    bare: Variable | None = None
    refuses: bool = False

    @property
    def parts(self) -> bool:
        """Whether the result may be an object of the event's or a response's, or a list with one in it."""
        return ("dyn" in self.type or "map" in self.type) and any(each.parts for each in self.variables)

    @property
    def whole(self) -> bool:
        """Whether the result is an object, or a list of which nobody knows that it holds none."""
        if self.bare is not None:
            return not self.bare.leaf
        return "map" in self.type or (self.type.startswith("list") and self.parts)


def expression(text: str, scope: Scope) -> Expression | tuple[Flaw, ...]:
    """Compile an expression, or say all that is wrong with it."""
    names = scan.chains(text)
    if len(names) == 1 and names[0].has is None and _spans(text, names[0]):
        variable = scope(names[0].names)
        if isinstance(variable, Variable):
            return Expression(
                variable.cel, variable.get_json, variable.get_cel, (variable,), variable, variable.refuses
            )  # fmt: skip
    compiled = _compile(text, names, scope)
    if isinstance(compiled, tuple):
        return compiled
    variables = tuple(compiled.variables)
    if compiled.type in _WORDLESS:
        variables = tuple(_wordless(each) for each in variables)
    get, evaluate = _evaluation(compiled, plain=True), _evaluation(compiled, plain=False)
    refusing = tuple(each.get_json for each in compiled.variables if each.refuses)
    if not refusing and "sha256" not in text:
        return Expression(compiled.type, get, evaluate, variables)
    return Expression(
        compiled.type, _refusing(get, refusing), _unrefused(evaluate), variables, refuses=True
    )  # fmt: skip


def _refusing(get: Getter, needed: tuple[Getter, ...]) -> Getter:
    """Give the Refused of one of `needed` where that is why there is no value."""

    def refusing(datum: Datum, now_ms: int) -> object:
        found = get(datum, now_ms)
        if found is None or found is ABSENT:
            for each in needed:
                if type(why := each(datum, now_ms)) is Refused:
                    return why
        return found

    return refusing


def _unrefused(evaluate: Getter) -> Getter:
    def unrefused(datum: Datum, now_ms: int) -> object:
        found = evaluate(datum, now_ms)
        return None if type(found) is Refused else found

    return unrefused


def _wordless(read: Variable) -> Variable:
    """Return the variable as one of whose words none get through, as in `size(event.comment)`; its class stays."""
    return replace(read, text=False)


def condition(text: str, scope: Scope) -> tuple[Test, tuple[Variable, ...]] | tuple[Flaw, ...]:
    """Compile a condition, with the paths it reads, or say all that is wrong with it. Only a BOOL true is true."""
    compiled = _compile(text, scan.chains(text), scope)
    if isinstance(compiled, tuple):
        return compiled
    if compiled.type not in ("bool", "dyn"):
        return (Flaw(0, f"a condition must be true or false, this is {compiled.type}"),)
    return _test(compiled), tuple(compiled.variables)


# ---------------------------------------------------------------------------------------------------------- compiling


@value
class _Compiled:
    type: str
    eval: Callable[..., cel.Value]
    bound: tuple[tuple[str, Getter], ...]
    present: tuple[tuple[str, Getter], ...]
    variables: list[Variable]


def _spans(text: str, chain: scan.Chain) -> bool:
    """Whether the expression is the path and nothing else: then no CEL is needed at all."""
    return scan.length(text) == 2 * len(chain.names) - 1


def _compile(text: str, names: Sequence[scan.Chain], scope: Scope) -> _Compiled | tuple[Flaw, ...]:
    flaws: list[Flaw] = [
        Flaw(token.start, f"`{token.text}` cannot name the variable of a macro", "choose another name")
        for token in scan.bound_names(text)
        if scope((token.text,)) is not None
    ]
    variables: dict[str, Variable] = {}
    present: dict[str, Variable] = {}
    spans: list[tuple[int, int, str]] = []
    for chain in names:
        found = scope(chain.names)
        if found is None:
            continue
        if isinstance(found, Unknown):
            flaws.append(_unknown(chain, found))
            continue
        flaws.extend(_wrong_constants(chain, found))
        path = ".".join(chain.names)
        if chain.has is not None:
            present[f"has_.{path}"] = found
            spans.append((*chain.has, f"has_.{path}"))
        else:
            variables[path] = found
            spans.append((chain.starts[0], chain.end, path))
    if flaws:
        return tuple(flaws)
    types = {path: found.cel for path, found in variables.items()} | dict.fromkeys(present, "bool")
    names_ = shared.named(types)
    try:
        type_, evaluate = shared.compiled(shared.renamed(text, spans, names_), shared.pool(types))
    except RuntimeError:
        try:  # again by the names in the text: CEL's messages have them, and their columns
            shared.compiled(shared.renamed(text, spans, {}), tuple(types.items()))
        except RuntimeError as error:
            return _translated(text, str(error), names, scope)
        raise
    return _Compiled(
        type_,
        evaluate,
        tuple((names_[path], found.get_cel) for path, found in variables.items()),
        tuple((names_[name], found.get_cel) for name, found in present.items()),
        _read(names, variables, present),
    )


def _read(chains: Sequence[scan.Chain], variables: dict[str, Variable], present: dict[str, Variable]) -> list[Variable]:
    """Return what an expression reads. It reads nothing inside of what it counts, or asks whether it is there."""
    looked_into = {".".join(chain.names) for chain in chains if chain.has is None and not chain.counted}
    read = variables | {path: each for name, each in present.items() if (path := name[len("has_.") :]) not in variables}
    return [each if path in looked_into else replace(each, parts=False, inner=()) for path, each in read.items()]


def _unknown(chain: scan.Chain, unknown: Unknown) -> Flaw:
    offset = chain.starts[min(unknown.at, len(chain.starts) - 1)]
    name = chain.names[min(unknown.at, len(chain.names) - 1)]
    return Flaw(offset, unknown.message, suggestion(name, unknown.known))


def _wrong_constants(chain: scan.Chain, variable: Variable) -> list[Flaw]:
    if not variable.symbols:
        return []
    return [
        Flaw(offset, f'`{variable.path}` is never "{constant}"', suggestion(constant, variable.symbols))
        for offset, constant in chain.constants
        if constant not in variable.symbols
    ]


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """Say which known name was probably meant, else which there are (at most ten)."""
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]}"
    listed = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")  # noqa: PLR2004
    return f"there are: {listed}" if known else ""


def _translated(text: str, message: str, chains: Sequence[scan.Chain], scope: Scope) -> tuple[Flaw, ...]:
    """Turn CEL's compile errors, which quote the expression and never data, into flaws."""
    if found := slips.slips(text):
        return tuple(Flaw(*each) for each in found)
    lines = text.split("\n")
    flaws = []
    for line, column, what in _ERROR.findall(message):
        before = sum(len(each) + 1 for each in lines[: int(line) - 1])
        offset, told = min(before + int(column) - 1, len(text)), _CONTAINER_AT_END.sub("", what)
        hint = _TYPES_HINT if "no matching overload" in what else ""
        if unrooted := _UNDECLARED.match(told):
            offset, told, hint = _unrooted(unrooted[1], text, offset, chains, scope)
        flaws.append(Flaw(offset, told, hint))
    return tuple(flaws) or (Flaw(0, "not a CEL expression"),)


def _unrooted(path: str, text: str, offset: int, chains: Sequence[scan.Chain], scope: Scope) -> tuple[int, str, str]:
    """Say what may stand for a path, or a function, that begins with none of our names."""
    names = tuple(path.split("."))
    starts = [each.starts[0] for each in chains if each.names[: len(names)] == names and each.starts[0] <= offset]
    roots = get_close_matches(names[0], _ROOTS, n=1)
    found = [".".join((*roots, *names[1:]))] if roots else []
    found += slips.meant(names, lambda each: isinstance(scope(each), Variable))
    hint = f"did you mean {found[0]}" if found else f"paths begin with {', '.join(_ROOTS)}"
    if not starts:
        return text.rfind(names[0], 0, offset + 1), f"`{path}` is not known", hint if found else ""
    return starts[-1], f"`{path}` begins with nothing that is known here", hint


# --------------------------------------------------------------------------------------------------------- evaluating


def _test(compiled: _Compiled) -> Test:
    run, bound, present = compiled.eval, compiled.bound, compiled.present
    if len(bound) == 1 and not present:
        return _test_of_one(run, *bound[0])

    def test(datum: Datum, now_ms: int) -> bool | None:
        data: dict[str, object] = {}
        for name, get in bound:
            found = get(datum, now_ms)
            if found is not ABSENT:
                data[name] = found
        for name, get in present:
            data[name] = get(datum, now_ms) is not ABSENT
        try:
            result = run(data=data).value()
        except Exception:  # noqa: BLE001 - whatever CEL's binding raises is a condition that erred
            return None
        return True if result is True else False if result is False else None

    return test


def _test_of_one(run: Callable[..., cel.Value], name: str, get: Getter) -> Test:
    """Compile the commonest condition: one path and constants."""

    def test(datum: Datum, now_ms: int) -> bool | None:
        found = get(datum, now_ms)
        try:
            result = run(data={} if found is ABSENT else {name: found}).value()
        except Exception:  # noqa: BLE001 - as above
            return None
        return True if result is True else False if result is False else None

    return test


def _evaluation(compiled: _Compiled, *, plain: bool) -> Getter:
    run, bound, present = compiled.eval, compiled.bound, compiled.present

    def evaluate(datum: Datum, now_ms: int) -> object:
        data: dict[str, object] = {}
        for name, get in bound:
            found = get(datum, now_ms)
            if found is not ABSENT:
                data[name] = found
        for name, get in present:
            data[name] = get(datum, now_ms) is not ABSENT
        try:
            result = run(data=data)
            made = result.plain_value()
            # An error's value is its message, which may quote data: it must never pass for text.
            if isinstance(made, str) and result.type() == _CEL_ERROR:
                if made.endswith(functions.HASHED):
                    return _HASHED
                made = _ERRED
            else:
                made = ABSENT if made is None else to_json(made) if plain else made
        except Exception:  # noqa: BLE001 - whatever CEL's binding raises is a value that erred
            made = _ERRED
        if made is not _ERRED:
            return made
        return ABSENT if len(data) < len(bound) + len(present) else None

    return evaluate


_ERRED: Final = object()
_HASHED: Final = Refused(FailureClass.INVALID_IDENTIFIER, "")


def to_json(found: Any) -> object:
    """Return the JSON form of a CEL value. Raises TypeError for what has none (durations, types), NaN among them."""
    if found is None or isinstance(found, (str, bool, int)):
        return found
    if isinstance(found, float):
        if found - found != 0.0:
            raise TypeError("not finite")
        return found
    if isinstance(found, datetime):
        return _rfc3339((found - _EPOCH) // timedelta(milliseconds=1))
    if isinstance(found, (bytes, bytearray)):
        return b64encode(found).decode("ascii")
    if isinstance(found, list):
        return [to_json(item) for item in found]
    if isinstance(found, dict):
        return {str(key): to_json(item) for key, item in found.items() if item is not None}
    raise TypeError(type(found).__name__)


def _rfc3339(ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
