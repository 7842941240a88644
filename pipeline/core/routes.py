"""3: decides which journeys an event starts: its type's routes whose condition holds or erred.

Many routes of one event type are not asked one by one. What their conditions ask at least of a field (core/expressions/
sieve: texts, numbers, booleans, whether it is there) is tabulated: for each text and each number that one of them names
and for what lies between two numbers, the set of routes that such a value does not refute. So an event's field is read
once, its value looked up, and only routes that are in the sets of all fields are asked. A set is an int, with a bit for
each route.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from pipeline.model import INT_MAX, INT_MIN, Ask, Datum, Route, SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.model import Getter

SIFTED_MIN: Final = 3
"""Routes that ask the same field, from which on looking its value up is cheaper than asking each."""


class Routes(tuple[Route, ...]):  # noqa: SLOT001 - a tuple's heir cannot have slots
    """Routes of one event type that are looked up, not asked one by one, where many ask the same field."""

    fields: tuple[_Field, ...]

    def __new__(cls, routes: Iterable[Route]) -> Routes:  # noqa: PYI034 - nobody makes a kind of it
        """Tabulate what the routes' conditions ask at least."""
        made = super().__new__(cls, routes)
        asking: dict[str, list[tuple[int, Ask]]] = {}
        for index, route in enumerate(made):
            for ask in route.asks:
                asking.setdefault(ask.path, []).append((1 << index, ask))
        fields = (_Field(each, (1 << len(made)) - 1) for each in asking.values() if len(each) >= SIFTED_MIN)
        made.fields = tuple(sorted(fields, key=lambda field: -field.values))
        return made

    def candidates(self, datum: Datum, now_ms: int) -> Sequence[Route]:
        """Return the routes whose condition may hold or err, in their order."""
        left = (1 << len(self)) - 1
        for field in self.fields:  # the one that tells most routes apart first
            if (left & field.asking).bit_count() >= SIFTED_MIN:
                left &= field.left(datum, now_ms)
        found: list[Route] = []
        while left:
            lowest = left & -left
            found.append(self[lowest.bit_length() - 1])
            left ^= lowest
        return found


class _Field:
    """A field of the event, and which routes are left by its value."""

    __slots__ = ("_all", "_by_value", "_get", "_numbers", "_others", "asking", "values")

    def __init__(self, asks: Sequence[tuple[int, Ask]], all_: int) -> None:
        """Tabulate asks of one path, each with the bit of its route, among `all_` routes."""
        self._get: Getter = asks[0][1].get
        self._all = all_
        self._by_value: dict[object, int] = {}
        self._others: dict[type, int] = {}  # by kind, what a value leaves that nobody names
        self._numbers: dict[type, tuple[list[Any], list[int]]] = {}
        self.asking = 0
        self.values = 0
        by_kind: dict[type, list[tuple[int, Ask]]] = {}
        for bit, ask in asks:
            self.asking |= bit
            by_kind.setdefault(ask.kind, []).append((bit, ask))
        for kind, those in by_kind.items():
            table = _Table(those, all_)
            self.values += len(table.literals)
            if kind is int or kind is float:
                self._numbers[kind] = table.in_order()
            else:
                self._others[kind], by_value = table.one_by_one()
                self._by_value |= by_value

    def left(self, datum: Datum, now_ms: int) -> int:
        """Return the routes that an event's value does not refute."""
        found: Any = self._get(datum, now_ms)
        kind = type(found)
        if kind is str or kind is bool:
            return self._by_value.get(found, self._others.get(kind, self._all))
        if kind not in self._numbers or (kind is int and not INT_MIN <= found <= INT_MAX):
            return self._all
        numbers, left = self._numbers[kind]
        at = bisect_left(numbers, found)  # of NaN, which no ask but != holds for, as of what is below all
        return left[2 * at + (at < len(numbers) and numbers[at] == found)]


class _Table:
    """What values of one kind leave of the routes. By a value, only those are left otherwise that name it."""

    def __init__(self, asks: Sequence[tuple[int, Ask]], all_: int) -> None:
        self._asks: dict[int, list[Ask]] = {}
        self._naming: dict[Any, set[int]] = {}
        self._all = all_
        for bit, ask in asks:
            self._asks.setdefault(bit, []).append(ask)
            for each in ask.literals:
                self._naming.setdefault(each, set()).add(bit)
        self.literals = sorted(self._naming)

    def one_by_one(self) -> tuple[int, dict[object, int]]:
        """Return what a value leaves that nobody names, and by value what each of the others does."""
        other = self._left(self._all, self._asks, _unlike(self.literals))
        return other, {each: self._left(other, self._naming[each], each) for each in self.literals}

    def in_order(self) -> tuple[list[Any], list[int]]:
        """Return the numbers that are named, and what is left below the first, by it, above it, by the next …."""
        left = [self._left(self._all, self._asks, _below(self.literals[0]))]
        for each in self.literals:
            left.append(self._left(left[-1], self._naming[each], each))
            left.append(self._left(left[-1], self._naming[each], _above(each)))
        return self.literals, left

    def _left(self, before: int, bits: Iterable[int], value: Any) -> int:
        """Return a set with some of its routes asked anew."""
        for bit in bits:
            before = before | bit if all(ask.holds(value) for ask in self._asks[bit]) else before & ~bit
        return before


def _unlike(named: Sequence[Any]) -> object:
    """Return a text that is none of these; of booleans there is no other."""
    return "".join(named) + "." if isinstance(named[0], str) else not named[0]


def _below(number: float) -> float:
    return -math.inf if type(number) is float else number - 1


def _above(number: float) -> float:
    """Return the next number: if it is the next one that is named, what is between the two is never looked up."""
    return math.nextafter(number, math.inf) if type(number) is float else number + 1


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
