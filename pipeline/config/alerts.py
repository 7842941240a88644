"""Decides who is told of what: from the live steps that name an alert, to destinations and conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.models import Config
    from pipeline.config.secrets import Secrets


@value
class Audience:
    """Who is told, by names of hookline.yaml's `alerts`. Only those that a live step names are here."""

    digest_ms: Mapping[str, int]
    destinations: Mapping[str, tuple[str, ...]]  # of the breaker of each
    conditions: Mapping[tuple[str, ...], tuple[str, ...]]  # by journey and place, as run/misses names them
    types: Mapping[str, tuple[str, ...]]  # of events, that each journey's trigger asks for


def audience(config: Config) -> Audience:
    """Return who is told of what."""
    destinations: dict[str, dict[str, None]] = {}
    conditions: dict[tuple[str, ...], tuple[str, ...]] = {}
    types: dict[str, tuple[str, ...]] = {}
    named: dict[str, None] = {}
    for journey in config.journeys.values():
        if journey.status != "live":
            continue
        of_journey: dict[str, None] = {}
        for step in journey.steps:
            alerts = journey.alerts_of(step)
            of_journey |= dict.fromkeys(alerts)
            conditions[journey.name, f"steps.{step.name}.when"] = alerts
            if step.destination:
                destinations.setdefault(step.destination, {}).update(dict.fromkeys(alerts))
        named |= of_journey
        conditions[journey.name, "trigger.when"] = tuple(of_journey)
        types[journey.name] = tuple(journey.trigger.events)
    return Audience(
        {name: config.alerts[name].digest_ms for name in named},
        {destination: tuple(names) for destination, names in destinations.items() if names},
        {place: names for place, names in conditions.items() if names},
        types,
    )


def urls(config: Config, secrets: Secrets, names: Mapping[str, object]) -> dict[str, str]:
    """Resolve the URLs of those alerts. Blocks on files. Raises ConfigError naming every reference without a value."""
    found: dict[str, str] = {}
    problems = []
    for name in names:
        try:
            found[name] = secrets.get(config.alerts[name].url).strip()
        except ConfigError as error:
            problems += [
                config.problem("hookline.yaml", ("alerts", name, "url"), f"{each.field} {each.message}", each.hint)
                for each in error.problems
            ]
    if problems:
        raise ConfigError(tuple(problems))
    return found
