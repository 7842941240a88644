"""Decides of which personal-data classes a value is: by `classes` of hookline.yaml and by the record's own schema.

A class named for something holds for all that is in it. Where both name one, hookline.yaml's wins for the very field it
names; of what is in that field the schema may name a class too, and then the value has both: `public` outside makes
nothing public that the schema calls personal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core import types

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.core.expressions import Variable

PUBLIC: Final = "public"


def named(classes: Mapping[str, str], path: tuple[str, ...]) -> tuple[str, int]:
    """Return the class that hookline.yaml names for a path or for what it is in, and how many names are below that."""
    for below in range(len(path)):
        cls = classes.get(".".join(path[: len(path) - below]))
        if cls:
            return cls, below
    return "", 0


def inside(classes: Mapping[str, str], path: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes that hookline.yaml names for fields of what is at a path."""
    start = ".".join(path) + "."
    return tuple(cls for name, cls in classes.items() if name.startswith(start))


def judged(given: tuple[str, int], within: Iterable[str], tree: types.Type, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes of the field at `names` of a record: its own first, "" for none, then others it may hold.

    `given` is what `named` says of the field, `within` what `inside` does.
    """
    by_schema, end = types.named(tree, names)
    cls, below = given
    by_schema = by_schema if not cls else by_schema[max(len(by_schema) - below, 0) :]
    nearest = next(filter(None, reversed(by_schema)), "")
    own = nearest if cls == PUBLIC and nearest else cls or nearest
    return _joined(own, (nearest, *within, *types.within(end)))


def computed(given: tuple[str, int], read: Iterable[Variable]) -> tuple[str, ...]:
    """Return the classes of what a mapping computes for a field: of all that it reads, unless the field itself has one.

    `given` is what `named` says of the field.
    """
    cls, below = given
    if cls and not below:
        return (cls,)
    found = [each or "" for variable in read for each in of(variable)]
    personal = [each for each in found if each not in ("", PUBLIC)]
    if cls in ("", PUBLIC) and personal and (cls or "" not in found):
        cls = personal[0]
    return _joined(cls or ("" if "" in found else PUBLIC), personal)


def of(variable: Variable) -> tuple[str | None, ...]:
    """Return the classes to ask about before a value goes anywhere: None is text of no class, numbers are `public`."""
    return (variable.cls or (None if variable.text else PUBLIC), *variable.inner)


def _joined(cls: str, others: Iterable[str]) -> tuple[str, ...]:
    """Return a value's own class and the others it may hold, each once; `public` is none to ask about beside it."""
    return tuple(dict.fromkeys((cls, *(each for each in others if each not in ("", PUBLIC)))))
