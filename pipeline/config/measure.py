"""Decides how success is told from events: who an event is of, what it correlates by, and what it is worth.

For reports, which read the input topics again: of records of one writer schema. Needs no secret and no worker.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.config.mapping import EventParts
from pipeline.config.remember import correlation, events, triggers
from pipeline.config.scope import EventScope
from pipeline.config.steps import problem
from pipeline.core import decode, envelope, expressions, types
from pipeline.core.expressions import Flaw
from pipeline.model import Datum, Event, Record, Undecodable, value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.config.models import Config, JourneyConfig
    from pipeline.model import Problem

_NUMBERS: Final = ("int", "uint", "double", "dyn")

Hash: TypeAlias = "Callable[[Datum, int], str | None]"


@value
class Read:
    """One record as an event. `triggers(journey)` is its correlation as what started that journey."""

    event: Event
    datum: Datum
    measures: Measures

    def trigger(self, journey: str) -> str | None:
        """Return the correlation of a run that this event started; None if it has none."""
        made = self.measures.triggers.get(journey)
        return None if made is None else made(self.datum, self.event.time_ms)

    def successes(self) -> Iterator[tuple[str, str | None, float | None]]:
        """Yield the journeys that this event is a success of, with its correlation and what it is worth."""
        for journey, match, worth in self.measures.successes.get(self.event.type, ()):
            yield journey, match(self.datum, self.event.time_ms), worth(self.datum, self.event.time_ms)


@value
class Measures:
    """What is done with the records of one writer schema on one topic."""

    read: Callable[[bytes, int], Datum | Undecodable]
    envelope: Callable[[Datum, Record], Event | Undecodable]
    triggers: Mapping[str, Hash]
    successes: Mapping[str, tuple[tuple[str, Hash, Callable[[Datum, int], float | None]], ...]]

    def event(self, record: Record, start: int) -> Read | None:
        """Read a record whose value begins at `start`; None if it is no event."""
        assert record.value is not None
        datum = self.read(record.value, start)
        event = datum if isinstance(datum, Undecodable) else self.envelope(datum, record)
        return None if isinstance(event, Undecodable) else Read(event, datum, self)


def measures(config: Config, schemas: Mapping[str, Any], topic: str, writer_schema: Any) -> Measures | None:
    """Compile for records of a writer schema (parsed JSON) on a topic; None if no entry maps them."""
    name = decode.full_name(writer_schema)
    index = config.entry(topic, name)
    if index is None or not isinstance(writer_schema, dict) or writer_schema.get("type") != "record":
        return None
    mapping = config.events[index]
    schema = schemas.get(mapping.record or name)
    scope = EventScope(config, mapping, types.tree(schema or writer_schema), strict=False)
    successes: dict[str, tuple[Any, ...]] = {}
    starting: dict[str, Hash] = {}
    for journey in config.journeys.values():
        if journey.success is not None:
            starting[journey.name] = _hash(correlation(triggers(journey.success.match), scope, "trigger"))
            match = _hash(correlation(events(journey.success.match), scope, "event"))
            found = successes.get(journey.success.event, ())
            successes[journey.success.event] = (*found, (journey.name, match, _worth(journey, scope)))
    read = decode.reader(writer_schema, schema)
    return Measures(read, envelope.envelope(EventParts(scope).parts), starting, successes)


def problems(config: Config, scope: EventScope, literal: str | None) -> Iterator[Problem]:
    """Yield what is wrong with `success` for the events of one entry; `literal` is the one type it makes, if any."""
    for journey in config.journeys.values():
        success = journey.success
        if success is None:
            continue
        if literal is None or literal in journey.trigger.events:
            missing = correlation(triggers(success.match), scope, "trigger")
            if isinstance(missing, str):
                flaw = Flaw(0, f"the event that starts the run has no `{missing}`")
                yield problem(config, journey.file, ("success", "match"), success.match, flaw)
        if success.value is not None and literal in (None, success.event):
            made = expressions.expression(success.value, scope)
            flaws = made if isinstance(made, tuple) else ()
            if isinstance(made, expressions.Expression) and made.type not in _NUMBERS:
                flaws = (Flaw(0, f"must be a number, this is {made.type}"),)
            for flaw in flaws:
                yield problem(config, journey.file, ("success", "value"), success.value, flaw)


def _hash(made: Hash | str) -> Hash:
    """Take what correlates; a path that leads nowhere correlates with nothing."""
    return (lambda _datum, _now_ms: None) if isinstance(made, str) else made


def _worth(journey: JourneyConfig, scope: EventScope) -> Callable[[Datum, int], float | None]:
    assert journey.success is not None
    text = journey.success.value
    made = () if text is None else expressions.expression(text, scope)
    if isinstance(made, tuple):
        return lambda _datum, _now_ms: None
    get = made.get

    def worth(datum: Datum, now_ms: int) -> float | None:
        found = get(datum, now_ms)
        try:
            return float(Decimal(str(found))) if isinstance(found, (int, float, str)) else None
        except InvalidOperation:
            return None

    return worth
