"""Decides where `steps.NAME.…` leads in an expression: to how a step before this one ended, and what it answered.

A run's results stand in its datum (model.RESULTS). What a step has not answered, or not yet, is absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.config.classes import PUBLIC
from pipeline.config.graph import ancestors, ends
from pipeline.config.salvage import UNREAD
from pipeline.core import moment, types
from pipeline.core.expressions import Unknown, Variable
from pipeline.model import ABSENT, RESULTS, Datum, FailureClass, Getter, Result, SkipReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.models import JourneyConfig, Operation, StepConfig
    from pipeline.config.operation import ResponseField
    from pipeline.config.scope import Listed, Scope

FACTS: Final = ("outcome", "class", "status", "response")
"""What can be read of a step."""

_CLASSES: Final = ("", *(str(each) for each in FailureClass), *(str(each) for each in SkipReason))
_CEL: Final[Mapping[str, str]] = {
    "string": "string", "int": "int", "number": "double", "bool": "bool", "timestamp": "timestamp",
    "list": "list(dyn)", "map": "map(string, dyn)",
}  # fmt: skip


class StepScope:
    """Finds what an expression of one step may read: the event as `outer` does, and the steps before it."""

    def __init__(
        self,
        outer: Scope,
        journey: JourneyConfig,
        step: StepConfig,
        operation: Callable[[str], Operation],
        rows: Callable[[tuple[str, ...]], Variable | Unknown | None] | None = None,
    ) -> None:
        """`operation` gives what `destination.operation` names, `rows` what `tables.NAME` of a look-up does."""
        before = ancestors(journey, step.name) - {step.name}
        names = {each.name for each in journey.steps}
        if not names.issuperset(step.after):  # one of them is misspelt, which is said: it may be any
            before = frozenset(names - {step.name})
        self._outer = outer
        self._all = tuple(each.name for each in journey.steps)
        self._before = {each.name: each for each in journey.steps if each.name in before}
        self._operation = operation
        self._rows = rows

    def __call__(self, names: tuple[str, ...]) -> Variable | Unknown | None:
        """Find a path; see expressions.Scope."""
        if names[0] == "tables" and self._rows is not None and (row := self._rows(names)) is not None:
            return row
        return self._find(names) if names[0] == "steps" else self._outer(names)

    def listed(self, names: tuple[str, ...]) -> Listed | None:
        """Find the list at a path; those in responses have items of no schema, and are found as expressions are."""
        return None if names[0] == "steps" else self._outer.listed(names)

    def _find(self, names: tuple[str, ...]) -> Variable | Unknown:  # noqa: PLR0911 - one for each thing to read
        if len(names) == 1:
            return Unknown(0, "`steps` needs the name of a step", tuple(self._before))
        name = names[1]
        if name not in self._before:
            if name in self._all:
                return Unknown(1, f"`{name}` does not come before this step; add it to `after`", tuple(self._before))
            return Unknown(1, f"there is no step `{name}` before this one", tuple(self._before))
        step = self._before[name]
        if len(names) == 2:  # noqa: PLR2004 - steps.NAME
            return Unknown(1, f"`{name}` is a step: its outcome, class, status or response can be read", FACTS)
        if names[2] not in FACTS:
            return Unknown(2, f"of a step there is no `{names[2]}`", FACTS)
        if names[2] == "response":
            return self._response(step, names)
        if len(names) > 3:  # noqa: PLR2004 - steps.NAME.FACT
            return Unknown(3, f"`{names[2]}` has no fields")
        return _fact(step, names)

    def _response(self, step: StepConfig, names: tuple[str, ...]) -> Variable | Unknown:
        fields = self._operation(step.call).response if step.call is not None else {}
        path = ".".join(names)
        if step.call is not None and self._operation(step.call) is UNREAD:
            return Variable(path, "dyn", _absent, _absent, cls=PUBLIC)
        if step.kind not in ("enrich", "decide"):
            return Unknown(2, f"`{step.name}` keeps no response: only enrich and decide do", FACTS[:3])
        if len(names) == 3:  # noqa: PLR2004 - the whole response
            whole = _of_response(step.name, dict)
            return Variable(path, "map(string, dyn)", whole, whole, leaf=False, text=True, parts=True)
        if names[3] not in fields:
            return Unknown(3, f"the response of {step.call} has no `{names[3]}`", tuple(fields))
        field = fields[names[3]]
        if len(names) > 4 and field.type != "map":  # noqa: PLR2004 - below a field
            return Unknown(4, f"`{names[3]}` has no fields")
        return answered(lambda read: _of_response(step.name, read), names[3], names[4:], field, path)


def _fact(step: StepConfig, names: tuple[str, ...]) -> Variable:
    path, name = ".".join(names), step.name
    if names[2] == "outcome":
        outcome = _of_result(name, lambda result: str(result.outcome))
        return Variable(path, "string", outcome, outcome, cls=PUBLIC, symbols=ends(step))
    if names[2] == "class":
        cls = _of_result(name, lambda result: result.cls)
        return Variable(path, "string", cls, cls, cls=PUBLIC, symbols=_CLASSES)
    status = _of_result(name, lambda result: result.status)
    return Variable(path, "int", status, status, cls=PUBLIC)


def answered(
    of: Callable[[Callable[[Mapping[str, object]], object]], Getter], name: str, below: tuple[str, ...],
    field: ResponseField, path: str,
) -> Variable:  # fmt: skip
    """Make the variable of a declared field, and of what is `below` one that is a map; `of` reads what has it."""
    closed, parts = bool(field.one_of), field.type in ("list", "map")
    cls = field.cls or (PUBLIC if closed else "")
    if below:
        get = of(lambda response: _below(response.get(name), below))
        plain = _converted(get, types.plain_json)
        sent = _converted(get, types.plain_sent)
        return Variable(
            path, "dyn", _converted(get, types.plain_cel), plain, text=True, cls=cls, parts=True, get_sent=sent
        )  # fmt: skip
    get = of(lambda response: _present(response.get(name)))
    to_cel, to_json = _FORMS.get(field.type, (None, None))
    text = field.type in ("string", "list", "map") and not closed
    symbols = tuple(str(each) for each in field.one_of) if closed and field.type == "string" else ()
    return Variable(
        path,
        _CEL[field.type],
        get if to_cel is None else _converted(get, to_cel),
        get if to_json is None else _converted(get, to_json),
        leaf=not parts,
        text=text,
        cls=cls,
        symbols=symbols,
        parts=parts,
    )


def _time(found: Any) -> object:
    made = moment.moment(found)
    return ABSENT if made is None else made


def _time_json(found: Any) -> object:
    ms = moment.unix_ms(found)
    return ABSENT if ms is None else types.rfc3339(ms)


_FORMS: Final[Mapping[str, tuple[Callable[[Any], object] | None, Callable[[Any], object] | None]]] = {
    "number": (float, None),
    "timestamp": (_time, _time_json),
    "list": (types.plain_cel, types.plain_json),
    "map": (types.plain_cel, types.plain_json),
}


def _of_result(step: str, read: Callable[[Result], object]) -> Getter:
    def get(datum: Datum, _now_ms: int) -> object:
        result = datum[RESULTS].get(step) if RESULTS in datum else None
        return ABSENT if result is None else read(result)

    return get


def _of_response(step: str, read: Callable[[Mapping[str, object]], object]) -> Getter:
    return _of_result(step, lambda result: ABSENT if result.response is None else read(result.response))


def _converted(get: Getter, convert: Callable[[Any], object]) -> Getter:
    def converted(datum: Datum, now_ms: int) -> object:
        found = get(datum, now_ms)
        return found if found is ABSENT else convert(found)

    return converted


def _absent(_datum: Datum, _now_ms: int) -> object:
    return ABSENT


def _present(found: object) -> object:
    return ABSENT if found is None else found


def _below(found: object, names: tuple[str, ...]) -> object:
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return _present(found)
