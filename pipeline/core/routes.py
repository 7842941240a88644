"""3: decides which journeys an event starts: its type's routes whose condition holds or erred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.model import Datum, Route, SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.model import Getter

SIFTED_MIN: Final = 3
"""Routes that ask the same field for a text, from which on looking the text up is cheaper than asking each."""


class Routes(tuple[Route, ...]):  # noqa: SLOT001 - a tuple's heir cannot have slots
    """Routes of one event type that are looked up, not asked one by one, where many ask the same field for a text."""

    fields: tuple[_Field, ...]
    others: tuple[int, ...]

    def __new__(cls, routes: Iterable[Route]) -> Routes:  # noqa: PYI034 - nobody makes a kind of it
        """Sort the routes by what their conditions ask at least."""
        made = super().__new__(cls, routes)
        asking: dict[str, list[int]] = {}
        for index, route in enumerate(made):
            if route.only is not None:
                asking.setdefault(route.only.path, []).append(index)
        made.fields = tuple(_Field(made, each) for each in asking.values() if len(each) >= SIFTED_MIN)
        sifted = {index for field in made.fields for index in field.all}
        made.others = tuple(index for index in range(len(made)) if index not in sifted)
        return made

    def candidates(self, datum: Datum, now_ms: int) -> Sequence[Route]:
        """Return the routes whose condition may hold or err, in their order."""
        found = list(self.others)
        for field in self.fields:
            text = field.get(datum, now_ms)
            found += field.by.get(text, ()) if type(text) is str else field.all
        return [self[index] for index in sorted(found)]


class _Field:
    """A field of the event, and which routes ask it for which text."""

    __slots__ = ("all", "by", "get")

    def __init__(self, routes: Sequence[Route], indexes: Sequence[int]) -> None:
        self.all = tuple(indexes)
        self.by: dict[str, tuple[int, ...]] = {}
        for index in indexes:
            only = routes[index].only
            assert only is not None
            self.get: Getter = only.get
            self.by[only.text] = (*self.by.get(only.text, ()), index)


def match(routes: Sequence[Route], datum: Datum, now_ms: int) -> list[tuple[Route, SkipReason | None]]:
    """Return the routes to run, each with None, or why all its steps are skipped: its condition erred.

    A route whose condition is false is left out: the event does not start that journey. Age is a gate's question.
    """
    if type(routes) is Routes and routes.fields:
        routes = routes.candidates(datum, now_ms)
    matched: list[tuple[Route, SkipReason | None]] = []
    for route in routes:
        condition = route.condition
        holds = True if condition is None else condition(datum, now_ms)
        if holds is True:
            matched.append((route, None))
        elif holds is None:
            matched.append((route, SkipReason.CONDITION_ERROR))
    return matched
