"""Decides how little of CEL is made for many expressions: environments and programs that they share.

An environment costs half a millisecond, its first compilation two, a further one a sixtieth. So variables are renamed
by their types: all expressions that read up to four texts and four numbers are compiled in one environment, and those
that differ in nothing but the paths they read are one program.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cel_expr_python import cel  # type: ignore[import-untyped]  # its stubs are not marked as typed

from pipeline.core.expressions import functions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROGRAMS_MAX: Final = 4_096
"""Compiled expressions remembered."""
ENVIRONMENTS_MAX: Final = 256
_OF_A_TYPE: Final = 4
"""Variables of one type in an environment, or a multiple of it."""

Declared: TypeAlias = tuple[tuple[str, str], ...]
"""Names of variables with the notation of their types, such as `list(timestamp)`."""


def named(types: Mapping[str, str]) -> dict[str, str]:
    """Return the names by which variables with these types are shared."""
    counts: dict[str, int] = {}
    names: dict[str, str] = {}
    for path, notation in types.items():
        at = counts.get(notation, 0)
        counts[notation] = at + 1
        names[path] = _name(notation, at)
    return names


def pool(types: Mapping[str, str]) -> Declared:
    """Return the variables of the shared environment that has all of these."""
    counts: dict[str, int] = {}
    for notation in types.values():
        counts[notation] = counts.get(notation, 0) + 1
    return tuple(
        (_name(notation, at), notation)
        for notation in sorted(counts)
        for at in range(-(-counts[notation] // _OF_A_TYPE) * _OF_A_TYPE)
    )


def renamed(text: str, spans: Sequence[tuple[int, int, str]], names: Mapping[str, str]) -> str:
    """Return an expression with what stands at `spans` (start, end, path) replaced: by its name, else by its path.

    A path is filled up to the length of what it replaces, so that all columns stay true.
    """
    for start, end, path in sorted(spans, reverse=True):
        text = text[:start] + names.get(path, path).ljust(0 if path in names else end - start) + text[end:]
    return text


@lru_cache(maxsize=PROGRAMS_MAX)
def compiled(text: str, declared: Declared) -> tuple[str, Callable[..., Any]]:
    """Return an expression's type, and what evaluates it. Raises RuntimeError with CEL's messages, which quote it.

    What compiles without CEL's extensions means the same with them: most need none, and so load none.
    """
    try:
        program = _environment(declared, extended=False).compile(text)
    except RuntimeError:
        program = _environment(declared, extended=True).compile(text)
    return str(program.return_type().name()).lower(), program.eval


@lru_cache(maxsize=ENVIRONMENTS_MAX)
def _environment(declared: Declared, *, extended: bool) -> Any:
    variables = {name: declared_type(notation) for name, notation in declared}
    extensions = functions.extensions() if extended else []
    return cel.NewEnv(variables=variables, extensions=extensions, functions=functions.DECLARED)


def _name(notation: str, at: int) -> str:
    """Name a variable as nobody else would: no macro's variable may have the same."""
    return f"_hookline_{notation.translate(_PLAIN)}_{at}"


_PLAIN: Final = str.maketrans({"(": "_of_", ")": "_", ",": "_", " ": None})


def declared_type(notation: str) -> cel.Type:
    """Return the type of a notation such as `int`, `list(timestamp)` or `map(string, dyn)`."""
    outer, _, inner = notation.removesuffix(")").partition("(")
    if outer == "list":
        return cel.Type.List(declared_type(inner))
    if outer == "map":
        return cel.Type.Map(cel.Type.STRING, declared_type(inner.removeprefix("string, ")))
    return cel.Type.NULL if outer == "null_type" else cel.Type(outer)
