"""Decides where the paths of expressions lead: `record` into a schema, `event` through an `events:` entry.

A scope is made for one entry and one schema. Without a schema (None) every path may be there and nothing is checked.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from pipeline.config import classes
from pipeline.config.classes import PUBLIC
from pipeline.config.identity import Identifiers
from pipeline.core import expressions, types
from pipeline.core.envelope import POSITION
from pipeline.core.expressions import Expression, Flaw, Unknown, Variable
from pipeline.model import ABSENT, Datum, Getter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.models import Config, EventMapping, Path

PARTS: Final = ("id", "type", "time", "customer", "consent", "source", "properties")
"""What an event consists of, in the order of the configuration."""

_FACTS: Final = frozenset({"id", "type", "time"})
"""Parts that say no more about a person than a request's headers do."""

_ELSEWHERE: Final = {
    "steps": "only a step can read the steps before it",
    "trigger": "only a `match` knows the event that started the run as `trigger`; elsewhere it is `event`",
}
Judge: TypeAlias = "Callable[[tuple[str, ...]], tuple[str, ...]]"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Reach:
    """A part of the event that is a field of the record, with all below it."""

    __slots__ = ("names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names


class RecordScope:
    """Finds `record.a.b` in a type. Strict: a field that is not there is a flaw; else it is absent in every record."""

    def __init__(self, tree: types.Type, *, strict: bool) -> None:
        self.tree = tree
        self.strict = strict

    def __call__(self, names: tuple[str, ...]) -> Variable | Unknown | None:
        """Find a path; see expressions.Scope."""
        if names[0] == "now":
            return _now(names)
        if names[0] != "record":
            return Unknown(0, "here only `record` and `now` are known") if names[0] == "event" else None
        return self.find(names[1:], names)

    def find(
        self, names: tuple[str, ...], written: tuple[str, ...], judged: tuple[str, ...] | None = None
    ) -> Variable | Unknown:
        """Find `names` in the record; `written` is the path as the configuration has it, with the same last names.

        `judged` are its classes, if hookline.yaml may know more than the record's schema.
        """
        found = types.find(self.tree, names)
        if isinstance(found, types.Missing):
            at = len(written) - len(names) + found.at
            if self.strict:
                return Unknown(max(at, 0), f"there is no field `{names[found.at]}`", found.known)
            return Variable(".".join(written), "dyn", _absent, _absent, cls=judged[0] if judged else "")
        if types.ambiguous(found.type):
            return Unknown(len(written) - 1, "the branches of this union cannot be told apart once decoded")
        if judged is None:
            judged = classes.judged(("", 0), (), self.tree, names)
        return variable(found, ".".join(written), judged, strict=self.strict)


def variable(found: types.Found, path: str, judged: tuple[str, ...], *, strict: bool) -> Variable:
    """Make the variable of a field. Not strict: its CEL type is dyn (but a timestamp's), so that values decide."""
    plain = types.solid(found.type)
    cel = types.cel_type(found.type)
    if not strict and cel != "timestamp":
        cel = "dyn"
    leaf, parts = not types.is_whole(found.type), types.may_hold_objects(found.type)
    return Variable(
        path,
        cel,
        types.getter(found, types.DYN if cel == "dyn" else types.CEL),
        types.getter(found, types.JSON),
        leaf=leaf,
        text=types.is_text(found.type),
        cls=judged[0],
        symbols=plain.symbols if strict and isinstance(plain, types.Scalar) else (),
        parts=parts,
        inner=judged[1:],
        get_sent=types.getter(found, types.SENT) if leaf and parts else None,
    )


class EventScope:
    """Finds `event.a.b` by way of an `events:` entry; `flaws` are what is wrong with the entry's own expressions."""

    def __init__(self, config: Config, mapping: EventMapping, tree: types.Type, *, strict: bool) -> None:
        self.record = RecordScope(tree, strict=strict)
        self.flaws: list[tuple[Path, Flaw]] = []
        self._config = config
        self._identifiers = Identifiers(config.identity, mapping.identity)
        self.nodes: dict[str, Any] = {part: self._part(mapping, part) for part in PARTS}

    def _part(self, mapping: EventMapping, part: str) -> Any:
        given = getattr(mapping, part)
        if given is None:
            return Reach((part,)) if mapping.is_lifecycle_event else {}
        if part == "id" and given == "position":
            return None
        return self._node(given, (part,))

    def _node(self, given: object, path: Path) -> Any:
        if isinstance(given, dict):
            return {str(name): self._node(part, (*path, str(name))) for name, part in given.items()}
        if not isinstance(given, str):
            return _constant(given)
        made = expressions.template(given, self.record)
        if isinstance(made, str):
            return _constant(made)
        if isinstance(made, tuple):
            self.flaws.extend((path, flaw) for flaw in made)
            return _constant("")
        if made.bare is not None and made.bare.path.startswith("record."):
            return Reach(tuple(made.bare.path.split("."))[1:])
        return made

    def __call__(self, names: tuple[str, ...]) -> Variable | Unknown | None:
        """Find a path; see expressions.Scope."""
        if names[0] == "now":
            return _now(names)
        if names[0] == "tables":
            if len(names) > 1 and names[1] in self._config.lookups:
                return Unknown(1, f"`{names[1]}` is a look-up, which only steps can read", tuple(self._config.tables))
            return _table(self._config.tables, names)
        if names[0] in ("steps", "trigger"):
            return Unknown(0, _ELSEWHERE[names[0]], ("event",))
        if names[0] == "record":
            return Unknown(0, "journeys read the event, not the record", ("event",))
        return self._identifiers.read(names, self._find(names)) if names[0] == "event" else None

    def _find(self, names: tuple[str, ...]) -> Variable | Unknown:  # noqa: PLR0911 - one for each kind of node
        node: Any = self.nodes
        for index, name in enumerate(names[1:], 1):
            if isinstance(node, dict):
                if name not in node:
                    return Unknown(index, f"the event has no `{name}` here", tuple(node))
                node = node[name]
            elif isinstance(node, Reach):
                return self._reach(node, names, index)
            else:
                return Unknown(index, f"`{names[index - 1]}` has no fields")
        if isinstance(node, Reach):
            return self._reach(node, names, len(names))
        if isinstance(node, dict):
            return Unknown(len(names) - 1, "names a whole object", tuple(node))
        if node is None:
            return Variable("event.id", "string", _position, _position, cls=PUBLIC)
        return self._computed(node, names)

    def _computed(self, node: Expression, names: tuple[str, ...]) -> Variable:
        """Make the variable of what the entry itself computes, or writes."""
        judged = classes.computed(self._class(names), node.variables)
        text = any(each.text for each in node.variables)
        cel = node.type.replace("<", "(").replace(">", ")")
        return Variable(
            ".".join(names), cel, node.evaluate, node.get, leaf=not node.whole, text=text, cls=judged[0],
            parts=node.parts, inner=judged[1:], get_sent=unless_whole(node.get) if node.parts else None,
        )  # fmt: skip

    def _reach(self, node: Reach, names: tuple[str, ...], index: int) -> Variable | Unknown:
        at = (*node.names, *names[index:])
        found = self.record.find(at, names, self._judged(names, at))
        if isinstance(found, Variable) and classes.inside(self._config.classes, names[1:]):
            return replace(found, leaf=False)  # its fields have classes: it is an object, or a list of objects
        return found

    def listed(self, names: tuple[str, ...]) -> Listed | None:
        """Find the list at a path that leads into the record; None otherwise."""
        node: Any = self.nodes if names[0] == "event" else None
        for index, name in enumerate(names[1:], 1):
            if isinstance(node, Reach):
                return self._listed(names, (*node.names, *names[index:]))
            node = node.get(name) if isinstance(node, dict) else None
        return self._listed(names, node.names) if isinstance(node, Reach) else None

    def _listed(self, names: tuple[str, ...], at: tuple[str, ...]) -> Listed | None:
        def judge(below: tuple[str, ...]) -> tuple[str, ...]:
            return self._judged((*names, *below), (*at, *below))

        return _listed(types.find(self.record.tree, at), judge)

    def _judged(self, names: tuple[str, ...], at: tuple[str, ...]) -> tuple[str, ...]:
        within = classes.inside(self._config.classes, names[1:])
        return classes.judged(self._class(names), within, self.record.tree, at)

    def _class(self, names: tuple[str, ...]) -> tuple[str, int]:
        found = classes.named(self._config.classes, names[1:])
        if found[0] or len(names) == 1:
            return found
        # `source` says nothing of a person by definition, unless the entry puts something there that does.
        return (PUBLIC, 0) if names[1] in _FACTS else (PUBLIC, len(names) - 1) if names[1] == "source" else found


class ItemScope:
    """Finds paths inside a list mapping: its own name is the list item, all else is found outside.

    The datum of what it finds is the pair (datum outside, list item).
    """

    def __init__(self, outer: Scope, name: str, listed: Listed, *, strict: bool) -> None:
        self._outer = outer
        self._name = name
        self._listed = listed
        self._strict = strict

    def __call__(self, names: tuple[str, ...]) -> Variable | Unknown | None:
        """Find a path; see expressions.Scope."""
        if names[0] == self._name:
            judged = self._listed.judge(names[1:])
            inner = RecordScope(self._listed.items, strict=self._strict).find(names[1:], names, judged)
            return _of(inner, 1) if isinstance(inner, Variable) else inner
        found = self._outer(names)
        return _of(found, 0) if isinstance(found, Variable) else found

    def listed(self, names: tuple[str, ...]) -> Listed | None:
        """Find the list at a path, with its items as the datum has them; None if it is none by its schema."""
        if names[0] == self._name:
            below = names[1:]
            return _listed(types.find(self._listed.items, below), lambda more: self._listed.judge(below + more), 1)
        found = self._outer.listed(names)
        return found and Listed(_at(found.get, 0), found.items, found.judge)


class Listed:
    """A list to be mapped: how it is read, what its items are, and what says the classes of a path in an item."""

    __slots__ = ("get", "items", "judge")

    def __init__(self, get: Getter, items: types.Type, judge: Judge) -> None:
        self.get = get
        self.items = items
        self.judge = judge


class Scope(Protocol):
    """What payloads are compiled in."""

    def __call__(self, names: tuple[str, ...]) -> Variable | Unknown | None:
        """Find a path; see expressions.Scope."""

    def listed(self, names: tuple[str, ...]) -> Listed | None:
        """Find the list at a path."""


def _listed(found: types.Found | types.Missing, judge: Judge, index: int | None = None) -> Listed | None:
    if isinstance(found, types.Missing):
        return None
    plain = types.solid(found.type)
    branches = plain.branches if isinstance(plain, types.UnionOf) else (plain,)
    lists = [branch for branch in branches if isinstance(branch, types.ListOf)]
    if len(lists) != 1:
        return None
    get = types.getter(found, types.RAW)
    return Listed(get if index is None else _at(get, index), lists[0].items, judge)


def _of(found: Variable, index: int) -> Variable:
    sent = None if found.get_sent is None else _at(found.get_sent, index)
    return replace(found, get_cel=_at(found.get_cel, index), get_json=_at(found.get_json, index), get_sent=sent)


def _at(get: Getter, index: int) -> Getter:
    return lambda pair, now_ms: get(pair[index], now_ms)


def unless_whole(get: Getter) -> Getter:
    """Read a value for a payload, which sends no whole object: see types.WHOLE."""

    def sent(datum: Datum, now_ms: int) -> object:
        found = get(datum, now_ms)
        return types.WHOLE if types.holds_object(found) else found

    return sent


def _constant(given: object) -> Expression:
    get = _always(given)
    kinds = {str: "string", bool: "bool", int: "int", float: "double"}
    return Expression(kinds.get(type(given), "dyn"), get, get, ())


def _always(given: object) -> Getter:
    content = ABSENT if given is None else given
    return lambda _datum, _now_ms: content


def _absent(_datum: Datum, _now_ms: int) -> object:
    return ABSENT


def _position(datum: Datum, _now_ms: int) -> object:
    return datum[POSITION]


def _now(names: tuple[str, ...]) -> Variable | Unknown:
    if len(names) > 1:
        return Unknown(1, "`now` has no fields")
    return Variable("now", "timestamp", _now_cel, _now_json, cls=PUBLIC)


def _now_cel(_datum: Datum, now_ms: int) -> object:
    return _EPOCH + timedelta(milliseconds=now_ms)


def _now_json(_datum: Datum, now_ms: int) -> object:
    return types.rfc3339(now_ms)


def _table(tables: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]) -> Variable | Unknown:
    """Find `tables.NAME`, the whole table, or `tables.NAME.KEY`, one entry."""
    if len(names) == 1:
        return Unknown(0, "`tables` needs the name of a table", tuple(tables))
    if names[1] not in tables:
        return Unknown(1, f"there is no table `{names[1]}`", tuple(tables))
    table = dict(tables[names[1]])
    if len(names) > 3 or (len(names) == 3 and names[2] not in table):  # noqa: PLR2004
        return Unknown(2, f"the table has no `{names[2]}`", tuple(table))
    content: object = table if len(names) == 2 else table[names[2]]  # noqa: PLR2004
    get = _always(content)
    return Variable(".".join(names), "map(string, dyn)" if content is table else "dyn", get, get, cls=PUBLIC)
