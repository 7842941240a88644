"""Decides what a mark writes for one kind of record: its texts and times compiled, with all that is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.mark import equalities
from pipeline.core import expressions, mark, moment
from pipeline.core.expressions import Expression, Flaw, Unknown
from pipeline.model import ABSENT, FailureClass, Getter, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.config.mark import MarkConfig, SuppressMark
    from pipeline.config.places import Path
    from pipeline.config.scope import Scope
    from pipeline.model import Datum, Mark

    Flawed = Callable[[Path, object, Iterable[Flaw]], None]


def compiled(given: MarkConfig, scope: Scope, flawed: Flawed) -> Callable[[Datum, int], Mark | Refused]:
    """Compile a mark; `flawed(path below the mark, text, flaws)` is told what is wrong. What is flawed is refused."""
    if given.suppress is not None:
        return _suppress(given.suppress, scope, flawed)
    if given.unsuppress is not None:
        name = text(given.unsuppress.id, scope, ("unsuppress", "id"), flawed)
        return _refused if name is None else mark.unsuppress(name)
    assert given.consent is not None
    at = time(given.consent.at, scope, ("consent", "at"), flawed)
    return _refused if at is None else mark.consent(given.consent.key, at, granted=given.consent.state == "granted")


def text(given: str, scope: Scope, path: Path, flawed: Flawed) -> Getter | None:
    """Compile a value that has to be text; None if it is flawed, which `flawed` is told."""
    made = expressions.template(given, scope)
    if isinstance(made, str):
        return _always(made)
    if isinstance(made, tuple):
        flawed(path, given, made)
        return None
    if made.type.startswith(("list", "map")):
        flawed(path, given, [Flaw(0, f"must be text, this is {made.type}")])
        return None
    return expressions.as_text(made).get


def time(given: str, scope: Scope, path: Path, flawed: Flawed) -> Callable[[Datum, int], object] | None:
    """Compile a moment to Unix ms, ABSENT, or None for an error; None instead if it is flawed."""
    made = expressions.template(given, scope)
    if isinstance(made, tuple):
        flawed(path, given, made)
        return None
    if isinstance(made, Expression):
        if made.type not in ("timestamp", "dyn", "string"):
            flawed(path, given, [Flaw(0, f"must be a timestamp, this is {made.type}")])
            return None
        return moment.deadline(made.evaluate)
    if moment.unix_ms(made) is None:
        flawed(path, given, [Flaw(0, "is no moment", "${event.time}, or RFC 3339 such as 2026-11-27T10:00:00Z")])
        return None
    return moment.deadline(_always(made))


def _suppress(given: SuppressMark, scope: Scope, flawed: Flawed) -> Callable[[Datum, int], Mark | Refused]:
    name = text(given.id, scope, ("suppress", "id"), flawed)
    until = given.until
    values: list[tuple[str, Getter]] = []
    for of_event, of_trigger in equalities(until.match) or () if until is not None else ():
        found = scope(("event", *of_trigger.split(".")))
        if isinstance(found, Unknown) or found is None:
            assert until is not None
            flaw = Flaw(0, f"the event that starts the run has no `{of_trigger}`")
            flawed(("suppress", "until", "match"), until.match, [flaw])
            name = None
        else:
            values.append((of_event, found.get_json))
    if name is None:
        return _refused
    match = mark.correlation([get for _, get in sorted(values, key=lambda pair: pair[0])])
    return mark.suppress(name, *given.scope, until.event if until is not None else "", match, given.at_most_ms)


def _always(given: str) -> Getter:
    content: object = given or ABSENT
    return lambda _datum, _now_ms: content


def _refused(_datum: Datum, _now_ms: int) -> Refused:
    return Refused(FailureClass.CONFIG, "mark")
