"""Decides what a configuration does: compiled once into plans, routes, steps and destinations, or all that is wrong.

Nothing here runs per event. A plan is made for each topic and writer schema as they turn up: what reads the bytes, what
makes the event, and the routes of each event type.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.config import contacting, measure, modes, remember, rows, salvage, steps
from pipeline.config.batching import Request
from pipeline.config.definition import definition, is_another, journey_hash
from pipeline.config.definition import read as read_definition
from pipeline.config.garbage import kept
from pipeline.config.mapping import EventParts
from pipeline.config.request import Requests
from pipeline.config.scope import EventScope
from pipeline.core import decode, envelope, outcome, types
from pipeline.core.definitions import DEFINITION_BYTES_MAX, LATER, Definitions
from pipeline.core.routes import Routes
from pipeline.errors import ConfigError
from pipeline.model import (
    Destination,
    Edge,
    FailureClass,
    GatePolicy,
    Kind,
    Outcome,
    Plan,
    Problem,
    Refused,
    Route,
    Sign,
    Step,
    Undecodable,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipeline.config.credentials import Access
    from pipeline.config.models import Config, EventMapping, JourneyConfig, StepConfig
    from pipeline.config.secrets import Secrets
    from pipeline.config.sent import Sent

PINNED_MAX: Final = 1_000
"""Past definitions of one entry and schema that are kept compiled."""
_MAIN: Final = "hookline.yaml"
_Made: TypeAlias = tuple[
    envelope.Envelope, dict[str, tuple[Route, ...]], "Callable[[str], Route | str]", dict[str, tuple[Sign, ...]]
]


def _no_head(*_: object) -> bytes:
    return b""


def _operation_removed(_datum: object, _now_ms: int) -> Refused:
    """Stand in for the payload of a step whose destination or operation is gone."""
    return Refused(FailureClass.CONFIG, "operation_removed")


_CALLS_NOBODY: Final = Request("", "", _no_head, None, 0, 0)
"""What a mark has for a request."""


@value
class Compiled:
    """A configuration ready to run. `journeys` are content hashes by name, of the live ones.

    `access` is how each destination is entered; `renewed(name)` resolves that again (see config/request.Requests).
    `definitions` are theirs, for the control topic; what that says of others, it has to be told.
    """

    destinations: Mapping[str, Destination]
    access: Mapping[str, Access]
    renewed: Callable[[str], Access]
    journeys: Mapping[str, str]
    definitions: Definitions
    plan: Callable[[str, object], Plan | Undecodable | None]
    input_topics: tuple[str, ...]
    tiers_ms: tuple[int, ...]
    purposes: tuple[str, ...]
    remembers: bool  # whether any journey asks for what is remembered
    rekeyed: bool  # whether events are copied under their customers' IDs for that
    gates: GatePolicy
    statuses: Mapping[str, str]  # of all journeys by name


@kept()
def check(config: Config, reader_schemas: Mapping[str, Any] | None = None) -> tuple[Problem, ...]:
    """Return all that is wrong with mappings, conditions and payloads; needs no secret.

    `reader_schemas` are Avro schemas (parsed JSON) by full name. Where an entry names a record whose schema is not
    among them, paths, types and personal-data classes are left to the records themselves.
    """
    return _problems(config, _entries(config, reader_schemas or {}))


def _entries(config: Config, schemas: Mapping[str, Any]) -> list[_Entry]:
    found = [schemas.get(mapping.record or "") for mapping in config.events]
    return [
        _Entry(config, index, mapping, schema, strict=schema is not None)
        for index, (mapping, schema) in enumerate(zip(config.events, found, strict=True))
    ]


def _problems(config: Config, entries: Sequence[_Entry]) -> tuple[Problem, ...]:
    problems: dict[tuple[str, int, int, str], Problem] = {}
    for each in (*(each for entry in entries for each in entry.problems), *_zone_problems(config, entries)):
        problems.setdefault((each.file, each.line, each.column, each.message), each)
    for journey in config.journeys.values():
        if definition(config, journey) is None:
            most = f"{DEFINITION_BYTES_MAX // 1024} KiB"
            each = config.problem(journey.file, (), f"is larger than {most} with its fragments and tables")
            problems.setdefault((each.file, each.line, each.column, each.message), each)
    return tuple(sorted(problems.values(), key=lambda each: (each.file, each.line, each.column, each.message)))


def sent(config: Config, reader_schemas: Mapping[str, Any]) -> tuple[Sent, ...]:
    """Return every value of an event that a step sends, each once, in the order of the configuration."""
    found: dict[Sent, None] = {}
    for index, mapping in enumerate(config.events):
        schema = reader_schemas.get(mapping.record or "")
        found |= dict.fromkeys(_Entry(config, index, mapping, schema, strict=schema is not None).sent)
    places = {(name, step.name): at for name, each in config.journeys.items() for at, step in enumerate(each.steps)}
    return tuple(sorted(found, key=lambda each: (each.journey, places[each.journey, each.step])))


@kept()
def compile(  # noqa: A001 - the word of the command line
    config: Config, secrets: Secrets, reader_schemas: Mapping[str, Any] | None = None
) -> Compiled:
    """Compile a configuration. Reads secrets (blocks on files). Raises ConfigError with everything that is wrong."""
    schemas = dict(reader_schemas or {})
    entries = _entries(config, schemas)
    problems = _problems(config, entries)
    if problems:
        raise ConfigError(problems)
    plans = _Plans(config, Requests(config, secrets), schemas, entries)
    return Compiled(
        destinations=plans.requests.destinations,
        access=plans.requests.access,
        renewed=plans.requests.renewed,
        journeys={name: plans.hashes[name] for name, each in config.journeys.items() if each.status != "draft"},
        definitions=plans.definitions,
        plan=plans.plan,
        input_topics=tuple(dict.fromkeys(mapping.topic for mapping in config.events)),
        tiers_ms=tuple(tier.ms for tier in config.retry_tiers),
        purposes=tuple(config.purposes),
        remembers=remember.used(config),
        rekeyed=remember.rekeyed(config),
        gates=GatePolicy(config.consent.event_flag_max_age_ms, config.consent.table_lag_max_ms, config.consent.skew_ms),
        statuses={name: modes.status_of(config, each.status) for name, each in config.journeys.items()},
    )


class _Entry:
    """One `events:` entry in one schema: the envelope and what each journey's expressions became."""

    def __init__(self, config: Config, index: int, mapping: EventMapping, schema: Any, *, strict: bool) -> None:
        tree = types.ANYTHING if schema is None else types.tree(schema)
        scope = EventScope(config, mapping, tree, strict=strict)
        parts = EventParts(scope)
        self.problems = [
            steps.problem(config, _MAIN, ("events", index, *path), _at(mapping, path), flaw)
            for path, flaw in parts.flaws
        ]
        self.envelope = envelope.envelope(parts.parts)
        self.peace = contacting.Peace(config.quiet_hours, scope)
        self.journeys: list[tuple[JourneyConfig, steps.JourneyParts]] = []
        self.sent: list[Sent] = []
        literal = mapping.type if mapping.type is not None and "${" not in mapping.type else None
        for journey in config.journeys.values():
            if literal is None or literal in journey.trigger.events:
                compiler = steps.JourneyCompiler(config, journey, scope, strict=strict, classes=schema is not None)
                self.journeys.append((journey, compiler.compile()))
                self.problems += compiler.problems
                self.sent += compiler.sent
        self.problems += measure.problems(config, scope, literal)
        signs = remember.Signs(config, scope, literal)
        self.signs = signs.of
        self.problems += [
            steps.problem(config, journey.file, (*wish.path, "match"), wish.match, flaw)
            for journey, wish, flaw in signs.flaws
        ]

    def reaches(self, channels: Sequence[str]) -> bool:
        """Whether an event of this kind may have somebody contacted on one of these channels."""
        return any(step.reaches in channels for journey, _ in self.journeys for step in journey.steps)


def _zone_problems(config: Config, entries: Sequence[_Entry]) -> Iterator[Problem]:
    """Refuse a customer's time zone that no event has on which anybody is contacted; what some lack, they lack."""
    for index, hours in enumerate(config.quiet_hours):
        reaching = [each for each in entries if each.reaches(hours.channels)]
        if reaching and all(index in each.peace.flaws for each in reaching):
            for flaw in reaching[0].peace.flaws[index]:
                yield steps.problem(config, _MAIN, ("quiet_hours", index, "zone"), hours.zone, flaw)


def _at(mapping: EventMapping, path: tuple[str | int, ...]) -> object:
    part: Any = getattr(mapping, str(path[0]))
    for name in path[1:]:
        part = part[name] if isinstance(part, dict) else None
    return part


class _Plans:
    """Makes plans. What no event changes is made once: requests, outcome prefixes, and entries of a known schema."""

    def __init__(
        self, config: Config, requests: Requests, schemas: Mapping[str, Any], entries: Sequence[_Entry]
    ) -> None:
        """`entries` are compiled already, each by the reader schema of the record it names, if that is known."""
        self.requests = requests
        self._entries = entries
        self._config = config
        self._schemas = schemas
        self.hashes = {name: journey_hash(each, config.tables) for name, each in config.journeys.items()}
        self.definitions = Definitions(
            {
                self.hashes[name]: found
                for name, each in config.journeys.items()
                if each.status != "draft" and (found := definition(config, each)) is not None
            }
        )
        self._requests = {
            (journey.name, step.name): requests.request(step.call, journey.name, step.name)
            for journey in config.journeys.values()
            for step in journey.steps
            if step.call is not None
        }
        self._known: dict[int, _Made] = {}

    def plan(self, topic: str, writer_schema: object) -> Plan | Undecodable | None:
        """Return what to do with records of a writer schema (parsed JSON) on a topic; None if no entry maps them."""
        name = decode.full_name(writer_schema)
        index = self._config.entry(topic, name)
        if index is None:
            return None
        mapping = self._config.events[index]
        schema = self._schemas.get(mapping.record or name)
        read = decode.reader(writer_schema, schema)
        if mapping.record is None and schema is None:
            if not isinstance(writer_schema, dict) or writer_schema.get("type") != "record":
                return Undecodable("the value is no record")
            made = self._made(index, writer_schema, strict=False)
        elif index in self._known and mapping.record is not None:
            made = self._known[index]
        else:
            made = self._made(index, schema or writer_schema, strict=schema is not None and mapping.record is not None)
            if mapping.record is not None and schema is not None:
                self._known[index] = made
        return Plan(read, *made)

    def _made(self, index: int, schema: Any, *, strict: bool) -> _Made:
        mapping = self._config.events[index]
        known = strict and schema is self._schemas.get(mapping.record or "")
        entry = self._entries[index] if known else _Entry(self._config, index, mapping, schema, strict=strict)
        routes: dict[str, tuple[Route, ...]] = {}
        for journey, parts in entry.journeys:
            if journey.status != "draft":
                route = self._route(journey, parts, self.hashes[journey.name], entry.peace)
                for event_type in dict.fromkeys(journey.trigger.events):
                    routes[event_type] = (*routes.get(event_type, ()), route)
        looked_up: dict[str, tuple[Route, ...]] = {name: Routes(each) for name, each in routes.items()}
        return entry.envelope, looked_up, self._pinned(index, schema, strict=strict), entry.signs

    def _pinned(self, index: int, schema: Any, *, strict: bool) -> Callable[[str], Route | str]:
        """Return what finds the routes of definitions that are not the configuration's any more; see Plan."""
        made: dict[str, Route | str] = {}

        def pinned(hash_: str) -> Route | str:
            found = made.get(hash_)
            if found is None:
                content = self.definitions.get(hash_)
                if content is None:  # and may come yet
                    return "definition_missing"
                if len(made) >= PINNED_MAX:
                    made.clear()
                made[hash_] = found = self._past_route(index, schema, hash_, content, strict=strict)
            return found

        return pinned

    def _past_route(self, index: int, schema: Any, hash_: str, content: bytes, *, strict: bool) -> Route | str:
        """Compile a definition by today's mapping, destinations, contracts and status."""
        later = self.definitions.is_later(hash_)
        found = read_definition(content)
        if found is None:
            return LATER if later else "definition_unreadable"
        journey, tables = found
        if is_another(content, hash_, journey, tables):
            return "definition_mismatch"
        if later and not all(each.call is None or self.requests.knows(each.call) for each in journey.steps):
            return LATER
        destinations = salvage.destinations(self._config.destinations, {journey.name: journey})
        config = self._config.model_copy(update={"tables": tables, "destinations": destinations})
        tree = types.ANYTHING if schema is None else types.tree(schema)
        scope = EventScope(config, config.events[index], tree, strict=strict)
        parts = steps.JourneyCompiler(config, journey, scope, strict=strict, classes=schema is not None).compile()
        route = self._route(journey, parts, hash_, contacting.Peace(config.quiet_hours, scope))
        today = self._config.journeys.get(journey.name)
        return route if today is None else replace(route, status=modes.status_of(self._config, today.status))

    def _route(self, journey: JourneyConfig, parts: steps.JourneyParts, hash_: str, peace: contacting.Peace) -> Route:
        made = tuple(
            self._step(journey, step, part, hash_, peace) for step, part in zip(journey.steps, parts.steps, strict=True)
        )
        return Route(
            journey.name, hash_, journey.trigger.max_age_ms, parts.condition, made, category=journey.category,
            shares=journey.first_name, once=parts.once, cancel_on=parts.cancel_on,
            status=modes.status_of(self._config, journey.status), rollout=journey.rollout, holdout=journey.holdout,
            asks=parts.asks, ordered=journey.ordered,
        )  # fmt: skip

    def _request(self, journey: JourneyConfig, step: StepConfig) -> Request:
        """Return the requests of a step; those of a past definition are made when it is needed."""
        if step.call is None:
            return _CALLS_NOBODY
        today = self._config.journeys.get(journey.name)
        if today is not None and any(each.name == step.name and each.call == step.call for each in today.steps):
            return self._requests[journey.name, step.name]
        return self.requests.request(step.call, journey.name, step.name)

    def _step(
        self, journey: JourneyConfig, step: StepConfig, parts: steps.StepParts, hash_: str, peace: contacting.Peace
    ) -> Step:
        basis = journey.basis_of(step)
        call = step.call if step.call is not None and self.requests.knows(step.call) else None
        if call is None and step.call is not None:
            parts = steps.StepParts(parts.when, _operation_removed)
        request = self._request(journey, step) if call is not None else _CALLS_NOBODY
        retry = self.requests.retry(call) if call is not None else self.requests.retry_of_marks()
        return Step(
            journey=journey.name,
            name=step.name,
            kind=Kind(step.kind or Kind.MARK),
            destination=step.destination,
            operation=step.operation,
            method=request.method,
            url_template=request.url_template,
            basis=basis,
            purpose=journey.purpose_of(step),
            channels=_channels(journey, step, basis),
            max_age_ms=min(step.max_age_ms or journey.trigger.max_age_ms, journey.trigger.max_age_ms),
            id_suffix=f"/{journey.first_name}/{step.first_name}".encode(),
            when=parts.when,
            render=parts.render,
            head=request.head,
            retry=retry,
            outcome_prefix=outcome.prefix(journey.name, hash_, step.name, step.destination, step.operation),
            target=parts.target,
            metadata=parts.metadata,
            response=request.response,
            keep_bytes=request.keep_bytes,
            excerpt_bytes=request.excerpt_bytes,
            batch=self.requests.batch(call) if call is not None else None,
            after=tuple(Edge(name, frozenset(map(Outcome, outcomes))) for name, outcomes in step.after.items()),
            any_parent=step.join == "any",
            budget_ms=step.budget_ms or 0,
            default=parts.default,
            deadline=parts.deadline,
            mark=parts.mark,
            alerts=journey.alerts_of(step),
            reaches=step.reaches or "",
            caps=contacting.caps_of(self._config.caps, journey.category, step.reaches, basis),
            quiet=peace.of(step.reaches, basis),
            looks_up=rows.read_by(step, self._config.lookups),
        )


def _channels(journey: JourneyConfig, step: StepConfig, basis: str) -> tuple[str, ...]:
    """Return the channels consent is asked for: the step's, or for one that reaches nobody any the journey reaches."""
    if step.reaches:
        return (step.reaches,)
    if basis == "consent":
        return tuple(dict.fromkeys(each.reaches for each in journey.steps if each.reaches))
    return ()
