"""Decides why a change touches a run that waits: its journey, or what a step of it that is still to come is done with.

A run goes on by the definition it began with; destinations, contracts and tables are those of the day.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.difference import Difference, Kind
    from pipeline.config.models import Config, JourneyConfig, StepConfig

_TABLE: Final = re.compile(r"\btables\.([a-z][a-z0-9_]*)")


def reasons(old: Config, found: Difference) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return why a run whose step (journey, step) waits is touched; nothing for those that are not.

    A step's own reasons, and those of all that may start after it.
    """
    made: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, journey in old.journeys.items():
        of_all = tuple(_named(found.journeys, "journey", name))
        own = {step.name: tuple(_of_step(old, step, found)) for step in journey.steps}
        for step in journey.steps:
            to_come = _to_come(journey, step.name)
            each = dict.fromkeys([*of_all, *(why for later in to_come for why in own[later])])
            if each:
                made[name, step.name] = tuple(each)
    return made


def of_journey(found: Difference, journey: str) -> tuple[str, ...]:
    """Return why any run of a journey is touched, also at a step that the old configuration no longer had."""
    return tuple(_named(found.journeys, "journey", journey))


def _to_come(journey: JourneyConfig, name: str) -> list[str]:
    """Return a step and those after it, in the order of the journey."""
    reached = {name}
    for _ in journey.steps:  # as many rounds as a chain may be long: steps stand in any order
        reached |= {step.name for step in journey.steps if reached & step.after.keys()}
    return [step.name for step in journey.steps if step.name in reached]


def _of_step(old: Config, step: StepConfig, found: Difference) -> Iterator[str]:
    if step.call:
        yield from _named(found.destinations, "destination", step.destination)
        operation = old.destinations[step.destination].operations[step.operation]
        for file in (operation.request_schema, operation.response_schema):
            if file is not None:
                yield from _named(found.contracts, "contract", file)
    lookups = {change.path.split(".")[1] for change in found.hookline if change.path.startswith("lookups.")}
    for name in sorted(_tables(step)):
        yield from _named(found.tables, "table", name)
        if name in lookups:
            yield f"look-up {name} changed"


def _tables(step: StepConfig) -> set[str]:
    return set(_TABLE.findall(orjson.dumps(step.model_dump(mode="json"), option=orjson.OPT_NON_STR_KEYS).decode()))


def _named(kind: Kind, noun: str, name: str) -> Iterator[str]:
    there: Mapping[str, bool] = {"removed": name in kind.removed, "changed": name in kind.changed}
    yield from (f"{noun} {name} {word}" for word, is_so in there.items() if is_so)
