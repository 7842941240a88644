"""Decides how an `events:` entry finds an event's parts in a datum: the getters the envelope is made of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pipeline.config.scope import EventScope, Reach
from pipeline.core import envelope, expressions, types
from pipeline.core.expressions import Expression, Flaw, Variable
from pipeline.model import ABSENT, Datum, Getter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.models import Path

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_NO_TIMESTAMP: Final = Flaw(
    0, "is no timestamp", "a field with logicalType timestamp-millis or -micros, or CEL such as ${timestamp(record.at)}"
)


class EventParts:
    """The parts of one entry in one schema. `flaws` are found on the way: by the part's path in the entry."""

    def __init__(self, scope: EventScope) -> None:
        self.flaws: list[tuple[Path, Flaw]] = list(scope.flaws)
        self._scope = scope
        nodes = scope.nodes
        customer = nodes["customer"]
        self.parts = envelope.Parts(
            id=None if nodes["id"] is None else self._text(nodes["id"], ("id",)),
            uuid=isinstance(nodes["id"], Reach) and self._kind(nodes["id"]) == "uuid",
            type=self._text(nodes["type"], ("type",)),
            time=self._time(nodes["time"]),
            customer=self._text(
                Reach((*customer.names, "id")) if isinstance(customer, Reach) else customer["id"], ("customer", "id")
            ),
            consent=self._consent(nodes["consent"]),
        )

    def _reached(self, node: Reach, path: Path) -> Variable | None:
        found = self._scope.record.find(node.names, ("record", *node.names))
        if isinstance(found, Variable):
            return found
        self.flaws.append((path, Flaw(0, found.message, expressions.suggestion(node.names[-1], found.known))))
        return None

    def _kind(self, node: Reach) -> str:
        found = types.find(self._scope.record.tree, node.names)
        plain = types.solid(found.type) if isinstance(found, types.Found) else types.ANYTHING
        return plain.kind if isinstance(plain, types.Scalar) else ""

    def _text(self, node: Any, path: Path) -> Getter:
        """Return a getter of text: text fields as they are, at no cost, and the text of anything else."""
        if isinstance(node, Reach):
            reached = self._reached(node, path)
            if reached is None:
                return _never
            kind = "string" if self._kind(node) in ("string", "enum", "uuid") else reached.cel
            if kind not in ("string", "int", "dyn"):
                self.flaws.append((path, Flaw(0, f"must be text or a whole number, this is {kind}")))
            return expressions.as_text(Expression(kind, reached.get_json, reached.get_cel, (reached,))).get
        if isinstance(node, Expression):
            return expressions.as_text(node).get
        self.flaws.append((path, Flaw(0, "must be text or ${CEL}")))
        return _never

    def _time(self, node: Any) -> Getter:
        """Return a getter of Unix ms."""
        if isinstance(node, Reach):
            found = types.find(self._scope.record.tree, node.names)
            plain = types.solid(found.type) if isinstance(found, types.Found) else None
            if isinstance(found, types.Found) and isinstance(plain, types.Scalar) and plain.per_s:
                return _in_ms(types.getter(found, types.RAW), plain.per_s // 1_000)
            unchecked = isinstance(plain, types.Anything) or not self._scope.record.strict
        else:
            if isinstance(node, Expression) and node.type in ("timestamp", "dyn"):
                return _moment(node.evaluate)
            unchecked = False
        if not unchecked:
            self.flaws.append((("time",), _NO_TIMESTAMP))
        return _never

    def _says_granted(self, node: Reach) -> bool:
        found = types.find(self._scope.record.tree, node.names)
        plain = types.solid(found.type) if isinstance(found, types.Found) else types.ANYTHING
        if not isinstance(plain, types.Scalar):
            return isinstance(plain, (types.Anything, types.UnionOf))
        return bool({"granted", "denied"} & set(plain.symbols)) or plain.kind in ("bool", "string")

    def _consent(self, node: Any) -> Getter | list[tuple[str, Getter]]:
        if isinstance(node, Reach):
            found = types.find(self._scope.record.tree, node.names)
            return types.getter(found, types.RAW) if isinstance(found, types.Found) else _never
        return list(self._flags(node, ()))

    def _flags(self, node: dict[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, Getter]]:
        for name, part in node.items():
            path = (*above, name)
            if isinstance(part, dict):
                yield from self._flags(part, path)
            elif isinstance(part, Reach):
                reached = self._reached(part, ("consent", *path))
                if not self._says_granted(part):
                    hint = "a boolean, or text or an enum that is granted or denied"
                    self.flaws.append((("consent", *path), Flaw(0, "never says granted or denied", hint)))
                yield ".".join(path), reached.get_json if reached is not None else _never
            elif isinstance(part, Expression):
                yield ".".join(path), part.get


def _in_ms(get: Getter, per_ms: int) -> Getter:
    if per_ms == 1:
        return get

    def in_ms(datum: Datum, now_ms: int) -> object:
        units = get(datum, now_ms)
        return units // per_ms if isinstance(units, int) else ABSENT

    return in_ms


def _moment(evaluate: Getter) -> Getter:
    def moment(datum: Datum, now_ms: int) -> object:
        found = evaluate(datum, now_ms)
        return (found - _EPOCH) // _MS if isinstance(found, datetime) else ABSENT

    return moment


def _never(_datum: Datum, _now_ms: int) -> object:
    return ABSENT
