"""What a journey may ask of earlier and other events of its customer: entering once a key, being cancelled, success.

Whoever asks makes `<group>.memory` necessary: what is remembered is kept there by partition of the events. Where a
customer's events are not all on one partition, they are copied into `<group>.events` first.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from pipeline.config.contacting import caps_of
from pipeline.config.mark import Match, equalities
from pipeline.config.section import DurationMs, EventType, Expression, Line, Section, refuse
from pipeline.core import mark, memory
from pipeline.core.expressions import Flaw, Variable
from pipeline.model import Once, Sign, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipeline.config.models import Config, EventMapping, HooklineFile, JourneyConfig
    from pipeline.config.places import Path
    from pipeline.config.scope import Scope
    from pipeline.model import Datum, Getter

KEY_VARIABLE: Final = "HOOKLINE_CUSTOMER_REF_KEY"
"""Keys the hashes, as it does the pseudonyms in outcomes."""


def _once_key(text: str) -> str:
    if "${" not in text:
        hint = "write ${event.properties.NAME}; with ${event.customer.id} a customer enters once"
        refuse("is the same for every event", hint)
    return text


class OnceConfig(Section):
    """How often a customer may enter."""

    key: Annotated[Line, AfterValidator(_once_key)] = Field(
        description="What is taken once: text with `${CEL}`. Where it is absent or cannot be computed, the event ends "
        "`skipped(condition_error)`."
    )
    per_ms: DurationMs = Field(
        alias="per",
        description="For so long after an event has entered no other with the same key does; at most "
        "`retention.memory`.",
    )


class Awaited(Section):
    """Such an event of the same customer, since the one that started the run, ends the run."""

    event: EventType = Field(description="Event type.")
    match: Match = Field(
        "true", description="Which of them: `event` is the one that comes, `trigger` the one that started the run."
    )


class Success(Section):
    """What the journey is for; `hookline report` measures it."""

    event: EventType = Field(description="Event type.")
    match: Match = Field("true", description="Which of them, as in `cancel_on`.")
    within_ms: DurationMs = Field(alias="within", description="How long after the start of the run it still counts.")
    value: Expression | None = Field(
        None, description="What it is worth: CEL on the event that comes; default nothing."
    )


@value
class Wish:
    """What a journey wants remembered: events of a type, by what they have at these paths, for so long from their time.

    `path` is where the journey says so.
    """

    event: str
    paths: tuple[str, ...]
    keep_ms: int
    path: Path
    match: str
    kept: bool = True  # not for reports, which read the input topics again


def wishes(journey: JourneyConfig) -> Iterator[Wish]:
    """Yield what a journey wants remembered, whether or not an event of it ever starts the journey."""
    for index, each in enumerate(journey.cancel_on):
        yield _wish(each.event, each.match, journey.trigger.max_age_ms, ("cancel_on", index))
    if journey.success is not None:
        wish = _wish(journey.success.event, journey.success.match, journey.success.within_ms, ("success",))
        yield replace(wish, kept=False)
    for index, step in enumerate(journey.steps):
        suppress = step.mark.suppress if step.mark is not None else None
        if suppress is not None and suppress.until is not None:
            path = ("steps", index, "mark", "suppress", "until")
            yield _wish(suppress.until.event, suppress.until.match, suppress.at_most_ms, path)


def _wish(event: str, match: str, keep_ms: int, path: Path) -> Wish:
    return Wish(event, events(match), keep_ms, path, match)


def events(match: str) -> tuple[str, ...]:
    """Return the paths of a match in the event that comes, in an order of their own."""
    return tuple(of_event for of_event, _ in sorted(equalities(match) or ()))


def triggers(match: str) -> tuple[str, ...]:
    """Return the trigger's paths of a match, in the order of the event's."""
    return tuple(of_trigger for _, of_trigger in sorted(equalities(match) or ()))


def used(config: Config) -> bool:
    """Whether any journey that is not a draft asks for what is remembered."""
    return asked(config, config.journeys.values())


def asked(main: HooklineFile | Config, journeys: Iterable[JourneyConfig]) -> bool:
    """Whether one of these journeys does."""
    return any(each.status != "draft" and (asks(each) or capped(main, each)) for each in journeys)


def rekeyed(config: Config) -> bool:
    """Whether events are copied under their customers' IDs before journeys run.

    What is remembered is kept by partition, so a customer's events must all be on one: those of several inputs are not,
    nor are those of one whose entry says so.
    """
    return several(config.events) and used(config)


def several(mappings: Sequence[EventMapping]) -> bool:
    """Whether a customer's events may be on several partitions, as far as the configuration says."""
    return len({each.topic for each in mappings}) > 1 or any(each.rekey for each in mappings)


def capped(config: HooklineFile | Config, journey: JourneyConfig) -> bool:
    """Whether contacts of a journey are counted."""
    return any(caps_of(config.caps, journey.category, step.reaches, journey.basis_of(step)) for step in journey.steps)


def asks(journey: JourneyConfig) -> bool:
    """Whether a journey does."""
    return journey.trigger.once is not None or any(each.kept for each in wishes(journey))


def secret(group: str) -> bytes:
    """Return what keys the hashes of a group: 32 bytes."""
    key = os.environ.get(KEY_VARIABLE) or f"hookline:{group}"
    return hashlib.sha256(f"memory:{key}".encode()).digest()


def once(config: Config, journey: JourneyConfig, get: Getter) -> Once:
    """Compile `once`, of which `get(datum, now_ms)` gives the key's text."""
    given = journey.trigger.once
    assert given is not None
    keyed, name = secret(config.group), journey.first_name.encode()

    def key(datum: Datum, now_ms: int) -> str | None:
        found = get(datum, now_ms)
        return memory.digest(keyed, name, found.encode()) if isinstance(found, str) else None

    return Once(key, given.per_ms)


def correlation(paths: Iterable[str], scope: Scope, root: str) -> Callable[[Datum, int], str | None] | str:
    """Compile the hash of what an event has at these paths; or return the path that leads nowhere.

    "" is the hash of no paths, None that a value is absent or cannot be computed. `root` is what to call the event.
    """
    values: list[Getter] = []
    for path in paths:
        found = scope(("event", *path.split(".")))
        if not isinstance(found, Variable):
            return f"{root}.{path}"
        values.append(found.get_json)
    made = mark.correlation(values)

    def hashed(datum: Datum, now_ms: int) -> str | None:
        found = made(datum, now_ms)
        return found if isinstance(found, str) else None

    return hashed


class Signs:
    """What is to be remembered of the events of one entry in one schema, by event type; `flaws` found on the way."""

    def __init__(self, config: Config, scope: Scope, literal: str | None) -> None:
        """`literal` is the one type the entry makes, None if the record says it."""
        self.flaws: list[tuple[JourneyConfig, Wish, Flaw]] = []
        keep: dict[tuple[str, tuple[str, ...]], int] = {}
        made: dict[tuple[str, tuple[str, ...]], Callable[[Datum, int], str | None]] = {}
        for journey in config.journeys.values():
            for wish in wishes(journey) if journey.status != "draft" else ():
                if literal not in (None, wish.event):
                    continue
                name = wish.event, wish.paths
                found = correlation(wish.paths, scope, "event")
                if isinstance(found, str):
                    self.flaws.append((journey, wish, Flaw(0, f"`{wish.event}` has no `{found}`")))
                    continue
                if not wish.kept:
                    continue
                made[name] = found
                keep[name] = max(keep.get(name, 0), wish.keep_ms)
        self.of: dict[str, tuple[Sign, ...]] = {}
        longest_ms = config.retention.memory_ms
        for name, match in made.items():
            sign = Sign(match, min(keep[name], longest_ms))
            self.of[name[0]] = (*self.of.get(name[0], ()), sign)
