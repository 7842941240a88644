"""Decides whether a step's `default` can stand for its operation's response, and makes it.

It has the response's fields and nothing else: what later steps read is there whichever of the two they get.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.config.section import suggestion
from pipeline.core import contract, expressions
from pipeline.core.expressions import Expression, Flaw
from pipeline.model import FailureClass, Getter, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipeline.config.operation import Operation, ResponseField
    from pipeline.config.places import Path, Places
    from pipeline.config.scope import Scope
    from pipeline.model import Datum, Problem

_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("string",), "int": ("int", "uint"), "number": ("double", "int", "uint"), "bool": ("bool",),
    "timestamp": ("timestamp", "string"), "list": ("list",), "map": ("map",),
}  # fmt: skip
"""CEL types whose values a field may have; others are known to be wrong before any event comes."""


def field(name: str, given: ResponseField) -> contract.Field:
    """Return one value of a response as the contract reads it."""
    return contract.Field(name, contract.tokens(given.at) or (), given.type, given.one_of, given.optional)


def problems(
    given: Mapping[str, Any], call: str, operation: Operation, file: str, path: Path, places: Places
) -> Iterator[Problem]:
    """Yield what is wrong with a default whatever the event; `path` is the default's."""
    fields = operation.response
    for name, part in given.items():
        at = (*path, name)
        if name not in fields:
            hint = suggestion(name, fields) or "it has: " + (", ".join(fields) or "none")
            yield places.problem(file, at, f"is no field of the response of {call}", hint, at_key=True)
        elif part is None:
            if not fields[name].optional:
                hint = f"give it a value of type {fields[name].type}"
                yield places.problem(file, at, f"is null, but {call} always answers it", hint)
        elif not _computed(part):
            keyword = contract.kept(part, field(name, fields[name]))[1]
            if keyword == "enum":
                known = ", ".join(map(str, fields[name].one_of))
                yield places.problem(file, at, f"is not one of what {call} answers", f"there are: {known}")
            elif keyword:
                yield places.problem(file, at, f"must be of type {fields[name].type}, as {call} answers it")
    for name, each in fields.items():
        if not each.optional and name not in given:
            hint = f"{call} always answers it; later steps rely on it"
            yield places.problem(file, path, f"lacks `{name}`, a field of the response", hint)


def compiled(
    given: Mapping[str, Any], operation: Operation, scope: Scope, flawed: Callable[[str, object, Iterable[Flaw]], None]
) -> Callable[[Datum, int], Mapping[str, object] | Refused]:
    """Compile a default. `flawed(key, text, flaws)` is told what is wrong with its expressions."""
    constant: dict[str, object] = {}
    computed: list[tuple[contract.Field, Getter]] = []
    for name, part in given.items():
        if part is None or name not in operation.response:  # the latter was refused as such
            continue
        wanted = field(name, operation.response[name])
        if not _computed(part):
            constant[name] = contract.kept(part, wanted)[0]
            continue
        made = expressions.template(part, scope)
        flaws = made if isinstance(made, tuple) else _mistyped(made, wanted)
        if flaws:
            flawed(name, part, flaws)
            refused = Refused(FailureClass.CONFIG, f"default.{name}")
            return lambda _datum, _now_ms: refused
        assert isinstance(made, Expression)
        computed.append((wanted, made.evaluate if wanted.type == "number" else made.get))
    return contract.fallback(constant, computed)


def _computed(part: object) -> bool:
    cut = expressions.pieces(part) if isinstance(part, str) else ()
    return isinstance(cut, int) or any(piece.expression for piece in cut)


def _mistyped(made: str | Expression, wanted: contract.Field) -> tuple[Flaw, ...]:
    if isinstance(made, str) or made.type == "dyn" or made.type.startswith(_TYPES[wanted.type]):
        return ()
    return (Flaw(0, f"is {made.type}, but `{wanted.name}` is of type {wanted.type}"),)
