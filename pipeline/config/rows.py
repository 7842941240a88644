"""Decides where `tables.NAME.FIELD` of a look-up leads: to the row of the event's customer; and what a row is made of.

A row is read when a step starts, and again when one that waited is taken up; app/lookups knows where rows come from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.config.defaults import field as contract_field
from pipeline.config.results import answered
from pipeline.core import contract
from pipeline.core.expressions import Unknown, Variable
from pipeline.model import ABSENT, ROWS, Answer, Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from pipeline.config.lookup import Lookup
    from pipeline.config.models import Config, HooklineFile
    from pipeline.config.places import Places
    from pipeline.model import Datum, Getter, Problem

_NAMED: Final = re.compile(r"\btables\.([a-z][a-z0-9_]*)")


def variable(lookups: Mapping[str, Lookup], names: tuple[str, ...]) -> Variable | Unknown:
    """Find `tables.NAME.FIELD` in a step; `names[1]` is the name of a look-up."""
    name = names[1]
    fields = lookups[name].fields
    if len(names) == 2:  # noqa: PLR2004 - tables.NAME
        return Unknown(1, f"`{name}` is a look-up: name a field of it", tuple(fields))
    if names[2] not in fields:
        return Unknown(2, f"the look-up has no `{names[2]}`", tuple(fields))
    given = fields[names[2]]
    if len(names) > 3 and given.type != "map":  # noqa: PLR2004 - below a field
        return Unknown(3, f"`{names[2]}` has no fields")

    def of_row(read: Callable[[Mapping[str, object]], object]) -> Getter:
        def get(datum: Datum, _now_ms: int) -> object:
            row = datum[ROWS].get(name) if ROWS in datum else None
            return ABSENT if row is None else read(row)

        return get

    return answered(of_row, names[2], names[3:], given, ".".join(names))


def read_by(given: Any, lookups: Mapping[str, Lookup]) -> tuple[str, ...]:
    """Return the look-ups that a step (its model) reads."""
    if not lookups:
        return ()
    written = orjson.dumps(given.model_dump(mode="json"), option=orjson.OPT_NON_STR_KEYS).decode()
    return tuple(sorted(set(_NAMED.findall(written)) & set(lookups)))


def used(config: Config) -> dict[str, Lookup]:
    """Return the look-ups that a journey which is no draft reads."""
    named: set[str] = set()
    for journey in config.journeys.values():
        for step in journey.steps if journey.status != "draft" else ():
            named.update(read_by(step, config.lookups))
    return {name: each for name, each in config.lookups.items() if name in named}


def row(lookup: Lookup) -> Callable[[Any], Mapping[str, object] | Broken]:
    """Return what makes a row of a record in its JSON form; Broken where it is not what `fields` say."""
    read = contract.reader(None, [contract_field(name, each) for name, each in lookup.fields.items()])
    return lambda plain: read(Answer(200, "", orjson.dumps(plain)))


def problems(main: HooklineFile, tables: Container[str], own: Sequence[str], places: Places) -> Iterator[Problem]:
    """Yield what is wrong with look-ups beside the rest: names of shared tables, topics of our own."""
    for name, each in main.lookups.items():
        path = ("lookups", name)
        if name in tables:
            hint = "choose another: both are read as tables.NAME"
            yield places.problem("hookline.yaml", path, "is the name of a table in shared/", hint, at_key=True)
        if each.topic in own:
            yield places.problem("hookline.yaml", (*path, "topic"), "is one of Hookline's own topics")
