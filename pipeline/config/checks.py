"""Decides whether the files of a configuration agree with each other: names that must exist, choices that must fit.

What a file says by itself is checked by its model; what CEL says, by `pipeline.config.compile`.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from pipeline.config import contacting, defaults, graph, payloads, remember, rows, topics
from pipeline.config.calls import Call
from pipeline.config.section import suggestion
from pipeline.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator, Mapping

    from pipeline.config.contracts import Contracts
    from pipeline.config.models import Config, DestinationConfig, EventMapping, HooklineFile, JourneyConfig, StepConfig
    from pipeline.config.overlay import EnvFile
    from pipeline.config.places import Path, Places

TOPIC_CHARS_MAX: Final = 249  # Kafka: Topic.java, MAX_NAME_LENGTH
SLIP: Final = 0.95  # how alike two names are of which one is a slip of the keyboard
_PRIVATE: Final = tuple(
    map(ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)
NEEDS_PURPOSE: Final = ("consent", "legitimate_interest")


def check(
    main: HooklineFile | None,
    destinations: Mapping[str, DestinationConfig | None],
    journeys: Mapping[str, JourneyConfig | None],
    contracts: Contracts,
    places: Places,
    tables: Container[str] = (),
) -> list[Problem]:
    """Return what does not fit together. A None is a file that has problems of its own: nothing is said about it."""
    problems: list[Problem] = []
    if main is not None:
        problems.extend(_main(main, tables, places))
        problems.extend(_copies(main, journeys, places))
    problems.extend(contacting.problems(main, journeys, places))
    for name, destination in destinations.items():
        if destination is not None:
            problems.extend(_destination(destination, f"destinations/{name}.yaml", contracts, places))
    for journey in journeys.values():
        if journey is not None:
            problems.extend(_Journey(journey, main, destinations, journeys, contracts, places).problems())
    return problems


def class_problem(
    config: Config,
    call: str,
    file: str,
    path: Path,
    field_class: str | None,
    *,
    in_url: bool = False,
    named_in: str = "",
) -> Problem | None:
    """Refuse a value that the destination of `call` must not be sent; None if it may.

    `file` and `path` say where the value is written; `field_class` is the class of the event field it sends, from the
    Avro schema or hookline.yaml, and None if the field has none; `in_url` says that it is part of path or query.
    `named_in` is where a class could be named, if not in hookline.yaml.
    """
    destination = config.destinations[call.partition(".")[0]]
    if field_class is None:
        where = named_in or "hookline.yaml's classes"
        hint = f"name its class in {where}; public is not personal"
        return config.problem(file, path, "sends text of no class", hint)
    if in_url and field_class == "contact":
        hint = "logs on the way keep URLs; send it in the body, or send another identifier"
        return config.problem(file, path, f"puts a field of class {field_class} into the URL", hint)
    if field_class != "public" and field_class not in destination.receives:
        hint = f"add it to receives of destinations/{destination.name}.yaml, or do not send it"
        return config.problem(
            file, path, f"sends a field of class {field_class}, which {destination.name} does not receive", hint
        )
    return None


def _main(main: HooklineFile, tables: Container[str], places: Places) -> Iterator[Problem]:
    file = "hookline.yaml"
    own = [topics.dead(main.group), topics.outcomes(main.group), topics.control(main.group)]
    own += [topics.memory(main.group), *topics.tables(main.group)]
    own += [topics.retry(main.group, tier.name) for tier in main.retry_tiers]
    yield from rows.problems(main, tables, own, places)
    if max(map(len, own)) > TOPIC_CHARS_MAX:
        yield places.problem(file, ("group",), f"makes topic names longer than {TOPIC_CHARS_MAX} characters")
    yield from _caps(main, places)
    seen: dict[tuple[str, str | None], int] = {}
    for index, mapping in enumerate(main.events):
        path = ("events", index)
        if mapping.topic in own:
            yield places.problem(file, (*path, "topic"), "is one of Hookline's own topics")
        if (mapping.topic, mapping.record) in seen:
            first = seen[mapping.topic, mapping.record]
            yield places.problem(file, path, "maps the same topic and record again", f"see events[{first}]")
        seen.setdefault((mapping.topic, mapping.record), index)
        yield from payloads.mapping_problems(mapping, file, path, places)
    for index, purpose in enumerate(main.purposes):
        if purpose in main.purposes[:index]:
            yield places.problem(file, ("purposes", index), "is here twice")


def _copies(main: HooklineFile, journeys: Mapping[str, JourneyConfig | None], places: Places) -> Iterator[Problem]:
    """Refuse an input that events would be copied into."""
    copies = topics.events(main.group)
    if remember.several(main.events) and remember.asked(main, filter(None, journeys.values())):
        for index, mapping in enumerate(main.events):
            if mapping.topic == copies:
                hint = "name another, or another group: where journeys remember, events are copied into this one"
                path: Path = ("events", index, "topic")
                yield places.problem("hookline.yaml", path, "is one of Hookline's own topics", hint)


def _caps(main: HooklineFile, places: Places) -> Iterator[Problem]:
    """Refuse what cannot be counted: contacts are remembered for so long only."""
    for index, cap in enumerate(main.caps):
        path = ("caps", index)
        if cap.per_ms > main.retention.memory_ms:
            hint = "retention.memory says how long anything is remembered"
            yield places.problem("hookline.yaml", (*path, "per"), "is longer than what is remembered", hint)
        if any((each.category, each.channel, each.per_ms) == (cap.category, cap.channel, cap.per_ms)
               for each in main.caps[:index]):  # fmt: skip
            yield places.problem("hookline.yaml", path, "is here twice")


def _own_headers(destination: DestinationConfig, file: str, places: Places) -> Iterator[Problem]:
    """Refuse operations' headers that authentication or the delivery ID bring: a receiver would see both."""
    auth = destination.auth
    taken = {destination.idempotency_header.lower()}
    if auth is not None:
        taken |= {each.lower() for each in (*auth.headers, auth.api_key and auth.api_key.header) if each}
    for name, operation in destination.operations.items():
        for header in operation.headers:
            if header.lower() in taken:
                path = ("operations", name, "headers", header)
                yield places.problem(file, path, "is written by `auth` or `idempotency` already", at_key=True)


def sink(env: EnvFile, file: str, places: Places) -> Iterator[Problem]:
    """Refuse a sink that is where no request may go."""
    if env.sink is not None:
        path: Path = ("redirect_to",) if isinstance(env.redirect_to, str) else ("redirect_to", "url")
        hint = "" if path[1:] else "redirect_to: {url: ..., private_networks: [...]}"
        for each in _in_the_clear([(path, env.sink.url)], env.sink.private_networks, file, places):
            yield Problem(each.file, each.line, each.column, each.field, each.message, hint or each.hint)


def _urls(destination: DestinationConfig) -> list[tuple[Path, object]]:
    """Return the URLs a destination's requests go to, and where each is written."""
    grant = destination.auth.oauth2_client_credentials if destination.auth is not None else None
    urls: list[tuple[Path, object]] = [(("base_url",), destination.base_url)]
    if grant is not None:
        urls.append((("auth", "oauth2_client_credentials", "token_url"), grant.token_url))
    return urls


def _in_the_clear(
    urls: Iterable[tuple[Path, object]], networks: Collection[str], file: str, places: Places
) -> Iterator[Problem]:
    """Refuse plain http to anywhere but private networks."""
    for path, url in urls:
        if not isinstance(url, str) or networks:
            continue
        if url.startswith("http:"):
            hint = "use https://, or name the private_networks it is in"
            yield places.problem(file, path, "sends in the clear", hint)
        elif network := _private(url):
            hint = f"name the network: private_networks: [{network}]"
            yield places.problem(file, path, "is of this machine or a private network, which is never called", hint)


def _private(url: str) -> str:
    """Return the network to allow for a URL whose host is plainly not public, else "". Names are not looked up."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return "127.0.0.0/8"
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if not any(address in network for network in _PRIVATE):
        return ""
    return "127.0.0.0/8" if address in _PRIVATE[0] else f"{address}/{address.max_prefixlen}"


def _destination(destination: DestinationConfig, file: str, contracts: Contracts, places: Places) -> Iterator[Problem]:
    key_query = destination.auth.api_key.query if destination.auth is not None and destination.auth.api_key else None
    for name, operation in destination.operations.items():
        for key in operation.query:
            if key.removesuffix("?") == key_query:
                path = ("operations", name, "query", key)
                yield places.problem(file, path, "is what carries the key of auth", at_key=True)
        for key in ("request_schema", "response_schema"):
            wanted = getattr(operation, key)
            if wanted is not None and wanted not in contracts:
                hint = _contract_hint(name, key, wanted, contracts)
                yield places.problem(file, ("operations", name, key), "there is no such file", hint)
        if operation.batch is not None:
            yield from _repeats(destination, operation.metadata, file, ("operations", name, "batch"), places)
    yield from _in_the_clear(_urls(destination), destination.private_networks, file, places)
    yield from _own_headers(destination, file, places)
    for index, network in enumerate(destination.private_networks):
        if network in destination.private_networks[:index]:
            yield places.problem(file, ("private_networks", index), "is here twice")


def _contract_hint(operation: str, key: str, wanted: str, contracts: Contracts) -> str:
    """Suggest a file for one that is missing; contracts' names are alike, so only for a slip of the keyboard."""
    what = f"the JSON Schema of {operation}'s {key.removesuffix('_schema')}"
    return suggestion(wanted, contracts, SLIP) or f"put {what} there, or leave {key} out"


def _repeats(destination: DestinationConfig, metadata: str, file: str, path: Path, places: Places) -> Iterator[Problem]:
    """Ask how the destination is to drop repeats of single items."""
    if destination.idempotency.startswith("header:"):
        yield places.problem(file, path, "has no header for each delivery", "use idempotency: delivery_id")
    elif destination.idempotency == "delivery_id" and metadata != "headers_and_body":
        hint = "add metadata: headers_and_body"
        yield places.problem(file, path, "sends items without delivery IDs, so their repeats cannot be dropped", hint)


class _Journey:
    """The checks of one journey."""

    def __init__(
        self,
        journey: JourneyConfig,
        main: HooklineFile | None,
        destinations: Mapping[str, DestinationConfig | None],
        journeys: Mapping[str, JourneyConfig | None],
        contracts: Contracts,
        places: Places,
    ) -> None:
        self.journey = journey
        self.main = main
        self.destinations = destinations
        self.journeys = journeys
        self.contracts = contracts
        self.places = places

    def problems(self) -> Iterator[Problem]:
        journey = self.journey
        yield from self._purpose(("purpose",), journey.purpose)
        if journey.purpose is None and journey.basis in NEEDS_PURPOSE:
            yield self._problem(("basis",), f"needs a `purpose` with {journey.basis}")
        yield from self._event_types()
        yield from self._older_names()
        yield from self._alerts(("on_failure", "alert"), journey.on_failure.alert)
        yield from self._memory()
        names: dict[str, int] = {}
        for index, step in enumerate(journey.steps):
            path = ("steps", index)
            if step.name in names:
                yield self._problem((*path, "step"), "is here twice", f"see steps[{names[step.name]}]")
            names.setdefault(step.name, index)
            yield from self._step(step, path)
        for index, step in enumerate(journey.steps):
            for at, name in enumerate(step.formerly):
                if name in names:
                    hint = f"steps[{names[name]}] has it; two steps must not share delivery IDs"
                    yield self._problem(("steps", index, "formerly", at), "is the name of a step", hint)
                names.setdefault(name, index)
        yield from graph.problems(journey, self.places)

    def _older_names(self) -> Iterator[Problem]:
        """Refuse an older name that another journey has, or had: their delivery IDs would be the same."""
        for index, name in enumerate(self.journey.formerly):
            others = (each for each in self.journeys.values() if each is not None and each is not self.journey)
            had = next((each.name for each in others if name in (each.name, *each.formerly)), None)
            if name == self.journey.name:
                yield self._problem(("formerly", index), "is its name still")
            elif had is not None:
                hint = "two journeys must not share delivery IDs"
                yield self._problem(("formerly", index), f"is, or was, the name of journey {had}", hint)

    def _alerts(self, path: Path, names: Iterable[str]) -> Iterator[Problem]:
        for index, name in enumerate(names):
            if self.main is not None and name not in self.main.alerts:
                known = ", ".join(self.main.alerts) or "none"
                hint = suggestion(name, self.main.alerts) or f"there are: {known}"
                yield self._problem((*path, index), "is no alert of hookline.yaml", hint)

    def _mark(self, step: StepConfig, path: Path) -> Iterator[Problem]:
        mark = step.mark
        assert mark is not None
        if mark.consent is not None:
            yield from self._purpose((*path, "consent", "purpose"), mark.consent.purpose)
        if mark.suppress is not None and mark.suppress.journey is not None:
            name = mark.suppress.journey
            if name not in self.journeys:
                hint = suggestion(name, self.journeys) or "each is a file journeys/NAME.yaml"
                yield self._problem((*path, "suppress", "journey"), "there is no such journey", hint)
        if mark.suppress is not None and mark.suppress.until is not None:
            yield from self._known_type((*path, "suppress", "until", "event"), mark.suppress.until.event)

    def _step(self, step: StepConfig, path: Path) -> Iterator[Problem]:
        journey = self.journey
        yield from self._purpose((*path, "purpose"), step.purpose)
        basis = journey.basis_of(step)
        if step.basis in NEEDS_PURPOSE and not journey.purpose_of(step):
            yield self._problem((*path, "basis"), f"needs a `purpose` with {basis}")
        if basis == "consent" and not any(each.reaches for each in journey.steps):
            hint = "say on which channel a step reaches the customer, or choose another basis"
            yield self._problem((*path, "basis"), "consent is given for a channel, and no step reaches any", hint)
        if step.max_age_ms is not None and step.max_age_ms > journey.trigger.max_age_ms:
            yield self._problem((*path, "max_age"), "is longer than the trigger's")
        if step.on_failure is not None:
            yield from self._alerts((*path, "on_failure", "alert"), step.on_failure.alert)
        if step.call is None:
            yield from self._mark(step, (*path, "mark"))
            return
        yield from self._call(step, step.call, path)
        if step.payload is not None:
            yield from payloads.payload_problems(step.payload, journey.file, (*path, "payload"), self.places)

    def _call(self, step: StepConfig, call: str, path: Path) -> Iterator[Problem]:
        name, _, operation = call.partition(".")
        if name not in self.destinations:
            hint = suggestion(name, self.destinations) or "each is a file destinations/NAME.yaml"
            yield self._problem((*path, "call"), "there is no such destination", hint)
            return
        destination = self.destinations[name]
        if destination is None:
            return
        if operation not in destination.operations:
            hint = suggestion(operation, destination.operations) or "it has: " + ", ".join(destination.operations)
            yield self._problem((*path, "call"), f"{name} has no such operation", hint)
            return
        called = destination.operations[operation]
        if called.batch is not None and step.kind in ("enrich", "decide"):
            hint = f"call an operation of {name} without batch, or make it an update"
            yield self._problem((*path, "kind"), f"{step.kind} needs an answer of its own, and {call} is batched", hint)
        if step.default is not None:
            yield from payloads.default_problems(step.default, self.journey.file, (*path, "default"), self.places)
            yield from defaults.problems(step.default, call, called, self.journey.file, (*path, "default"), self.places)
        yield from Call(self.journey.name, step, called, path, self.contracts, self.places).problems()

    def _event_types(self) -> Iterator[Problem]:
        for index, event_type in enumerate(self.journey.trigger.events):
            yield from self._known_type(("trigger", "events", index), event_type)

    def _known_type(self, path: Path, event_type: str) -> Iterator[Problem]:
        types = None if self.main is None else known_types(self.main.events)
        if types is not None and event_type not in types:
            hint = suggestion(event_type, types) or "there are: " + ", ".join(sorted(types))
            yield self._problem(path, "no `events` entry of hookline.yaml makes this type", hint)

    def _memory(self) -> Iterator[Problem]:
        """Refuse what cannot be remembered so long, and events that nothing makes."""
        once, main = self.journey.trigger.once, self.main
        if main is None:
            return
        for wish in remember.wishes(self.journey):
            if wish.path[0] != "steps":  # those of marks are asked about with their step
                yield from self._known_type((*wish.path, "event"), wish.event)
        if once is not None and once.per_ms > main.retention.memory_ms:
            hint = "hookline.yaml's retention.memory says how long anything is remembered"
            yield self._problem(("trigger", "once", "per"), "is longer than what is remembered", hint)

    def _purpose(self, path: Path, purpose: str | None) -> Iterator[Problem]:
        if self.main is not None and purpose is not None and purpose not in self.main.purposes:
            known = self.main.purposes
            hint = suggestion(purpose, known) or "there are: " + (", ".join(known) or "none")
            yield self._problem(path, "is no purpose of hookline.yaml", hint)

    def _problem(self, path: Path, message: str, hint: str = "") -> Problem:
        return self.places.problem(self.journey.file, path, message, hint)


def known_types(mappings: Iterable[EventMapping]) -> frozenset[str] | None:
    """Return the event types that the mappings make, or None if one takes the type from the record."""
    types = [mapping.type for mapping in mappings]
    if any(each is None or "${" in each for each in types):
        return None
    return frozenset(each for each in types if each is not None)
