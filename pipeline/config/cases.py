"""What `tests/NAME.yaml` may say: cases of one journey, played by `hookline test`; and whether they fit it.

Cases are committed and shown, so nobody real may be in them: addresses and numbers are those set aside for examples.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from pipeline.config.section import DurationMs, Items, Line, Name, Section, Shown, refuse, suggestion
from pipeline.model import FailureClass, SkipReason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.journey import JourneyConfig
    from pipeline.config.places import Path, Places
    from pipeline.model import Problem

CASES_MAX: Final = 500
EARLIER_MAX: Final = 100

SOME_ID: Final = "00000000-0000-5000-8000-000000000000"
"""Stands for the ID of an event that leaves it out."""
_OUTCOME: Final = re.compile(r"(delivered|rejected)|(defaulted|dead|skipped)\(([a-z_]+)\)", re.ASCII)
_OUTCOME_PATTERN: Final = r"^((delivered|rejected)|(defaulted|dead|skipped)\([a-z_]+\))$"


def _outcome(given: object) -> object:
    found = _OUTCOME.fullmatch(given) if isinstance(given, str) else None
    if found is None:
        refuse("must be an outcome", "delivered, rejected, defaulted(CLASS), skipped(REASON) or dead(CLASS)")
    if found.group(2):
        known = list(SkipReason if found.group(2) == "skipped" else FailureClass)
        if found.group(3) not in known:
            noun = "reason" if found.group(2) == "skipped" else "class"
            refuse(f"has no such {noun}", suggestion(found.group(3), known) or "one of " + ", ".join(known))
    return given


def _moment(given: object) -> object:
    try:
        found = datetime.fromisoformat(given) if isinstance(given, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        refuse("must be a time with its zone", "such as 2026-11-23T10:00:00Z")
    return given


Moment = Annotated[
    str, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"}), Shown("time (RFC 3339)")
]
OutcomeText = Annotated[
    str,
    BeforeValidator(_outcome),
    WithJsonSchema({"type": "string", "pattern": _OUTCOME_PATTERN}),
    Shown("outcome"),
]

Content = Annotated[Any, Shown("text, mapping or list")]


class Suppression(Section):
    """A reason not to be contacted that somebody gave; exactly one of the three says what it stops."""

    category: Name | None = Field(None, description="Journeys of this category.")
    channel: Name | None = Field(None, description="Steps that reach the customer on this channel.")
    journey: Name | None = Field(None, description="This journey.")

    @model_validator(mode="after")
    def _one(self) -> Suppression:
        if len([each for each in (self.category, self.channel, self.journey) if each is not None]) != 1:
            refuse("must say what is suppressed", "category, channel or journey, one of them")
        return self


class Given(Section):
    """What was so before the event came."""

    consent: Mapping[str, Literal["granted", "denied"]] = Field(
        default={}, description="By channel, purpose or `purpose.channel`. Default: nothing granted."
    )
    suppressions: Items[Suppression] = Field(
        default=(), max_length=EARLIER_MAX, description="Reasons that are active; more of them change nothing."
    )
    lookups: Mapping[Name, Mapping[Name, Annotated[Any, Shown("text, number, true or false")]]] = Field(
        default={}, description="The customer's row of each look-up; default none."
    )
    earlier: Items[Mapping[str, Any]] = Field(
        default=(), max_length=EARLIER_MAX,
        description="Events that came before, oldest first; what they leave out is as in the file's `event`, "
        "`properties` apart.",
    )  # fmt: skip
    holdout: Literal["in", "out"] = Field(
        "out", description="Whether the customer is held out, whoever the journey's `holdout` would draw."
    )
    rollout: Literal["in", "out"] = Field(
        "in", description="Whether the customer may enter, whoever the journey's `rollout` would draw."
    )


class Scripted(Section):
    """What the destination answers to one step."""

    status: Annotated[int, Field(ge=200, le=599)] = Field(204, description="HTTP status.")
    body: Content = Field(None, description="Body: text as it is, anything else as JSON.")
    after_ms: DurationMs = Field(0, alias="after", description="How long the answer takes. Default none.")
    retry_after_ms: DurationMs | None = Field(None, alias="retry_after", description="Its `Retry-After`.")
    fail: Literal["timeout", "connection", "closed", "tls"] | None = Field(
        None,
        description="Instead of an answer: `timeout` never answers, `connection` and `tls` are failures before "
        "anything was sent, `closed` hangs up once the request was sent.",
    )

    @model_validator(mode="after")
    def _one(self) -> Scripted:
        if self.fail is not None and self.model_fields_set & {"status", "body", "retry_after_ms"}:
            refuse("says what fails and what is answered", "either `fail` or `status` and `body`")
        return self


class ExpectedRequest(Section):
    """The request of one step, as the receiver sees it. What is left out may be anything."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = Field(None, description="HTTP method.")
    path: Line | None = Field(None, description="Path and query, as sent.")
    headers: Mapping[str, str] = Field(default={}, description="These headers, among others.")
    body: Content = Field(None, description="The whole body, exactly; Hookline's own `hookline` key may be left out.")


class Expected(Section):
    """What is to come of it."""

    outcomes: Mapping[Name, OutcomeText] = Field(
        description="The outcome of every step of the journey; `{}` if it is not to start at all."
    )
    requests: Mapping[Name, ExpectedRequest] = Field(default={}, description="Requests, by step.")


class Case(Section):
    """One case."""

    name: Line = Field(alias="case", description="What it shows, unique in the file.")
    event: Mapping[str, Any] = Field(
        default={}, description="What differs from the file's `event`; a key without a value takes it away."
    )
    now: Moment | None = Field(None, description="When the event is taken up; default one second after its time.")
    given: Given = Field(
        Given.model_construct(consent={}, suppressions=(), earlier=(), holdout="out", rollout="in"),
        description="What was so before.",
    )
    answers: Mapping[Name, Scripted | Items[Scripted]] = Field(
        default={},
        description="By step, what its destination answers: one answer, or a list, one for each attempt, the last for "
        "all that follow. Default 204 at once.",
    )
    expect: Expected = Field(description="What is to come of it.")


class CaseFile(Section):
    """Cases of one journey. `hookline test` plays each on a worker with a clock of its own; nothing is sent."""

    journey: Name = Field(description="The journey; it is played as if it were live.")
    event: Mapping[str, Any] = Field(
        description="The event of its cases, as conditions see it: type, time, customer, properties and so on. "
        "Addresses are under example.com and the like, phones from numbers set aside for fiction."
    )
    cases: Items[Case] = Field(min_length=1, max_length=CASES_MAX, description="The cases.")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one event over another: mappings key by key; None takes a key away."""
    made = dict(base)
    for key, part in over.items():
        if part is None:
            made.pop(key, None)
        elif isinstance(part, Mapping) and isinstance(made.get(key), Mapping):
            made[key] = merged(made[key], part)
        else:
            made[key] = merged({}, part) if isinstance(part, Mapping) else part
    return made


def earlier(event: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event that came before `event`: what it leaves out is the same, but ID and properties."""
    return merged({key: part for key, part in event.items() if key not in ("id", "properties")}, given)


# ------------------------------------------------------------------------------------------------------------- checks


def check(
    name: str, cases: CaseFile | None, tree: object, journeys: Mapping[str, JourneyConfig | None], places: Places
) -> Iterator[Problem]:
    """Yield what does not fit: personal data, unknown journeys and steps. `cases` None has problems of its own."""
    file = f"tests/{name}.yaml"
    for path, message, hint in _people(tree, ()):
        yield places.problem(file, path, message, hint)
    if cases is None:
        return
    if cases.journey not in journeys:
        hint = suggestion(cases.journey, journeys) or "each is a file journeys/NAME.yaml"
        yield places.problem(file, ("journey",), "there is no such journey", hint)
        return
    seen: dict[str, int] = {}
    journey = journeys[cases.journey]
    for index, case in enumerate(cases.cases):
        if case.name in seen:
            hint = f"see cases[{seen[case.name]}]"
            yield places.problem(file, ("cases", index, "case"), "is here twice", hint)
        seen.setdefault(case.name, index)
        if journey is not None:
            yield from _draws(case.given, ("cases", index, "given"), journey, file, places)
            yield from _steps(case, ("cases", index), [step.name for step in journey.steps], file, places)


def _draws(given: Given, at: Path, journey: JourneyConfig, file: str, places: Places) -> Iterator[Problem]:
    """Refuse a draw that nobody makes: the case would show what never happens."""
    if given.holdout == "in" and not journey.holdout:
        yield places.problem(file, (*at, "holdout"), "the journey holds nobody out", "it has no `holdout`")
    if given.rollout == "out" and journey.rollout >= 1.0:
        yield places.problem(file, (*at, "rollout"), "the journey keeps nobody from entering", "its `rollout` is 100%")


def _steps(case: Case, at: Path, known: list[str], file: str, places: Places) -> Iterator[Problem]:
    expect: Path = (*at, "expect")
    for path, names in (
        ((*at, "answers"), case.answers), ((*expect, "outcomes"), case.expect.outcomes),
        ((*expect, "requests"), case.expect.requests),
    ):  # fmt: skip
        for name in names:
            if name not in known:
                hint = suggestion(name, known) or "it has: " + ", ".join(known)
                yield places.problem(file, (*path, name), "the journey has no such step", hint, at_key=True)
    missing = [name for name in known if name not in case.expect.outcomes]
    if case.expect.outcomes and missing:
        yield places.problem(file, (*expect, "outcomes"), "leaves out " + ", ".join(missing), "name every step")


# ------------------------------------------------------------------------------------------------- nobody real in here

_MAIL: Final = re.compile(r"[^\s@<>\"',;:()]+@([A-Za-z0-9\u0080-\U0010ffff.-]+)")
_EXAMPLES: Final = re.compile(r"(.*\.)?(example(\.(com|net|org))?|test|invalid|localhost)\.?", re.ASCII | re.IGNORECASE)
"""RFC 2606, sections 2 and 3."""
_PHONE: Final = re.compile(r"(?<![\w+])\+[0-9][0-9 ()./-]{6,20}[0-9]", re.ASCII)
_NATIONAL: Final = re.compile(r"([0-9][ ()./-]*){7}", re.ASCII)
"""So many digits may be somebody's number, however they are written."""
_FICTION: Final = (
    r"1[0-9]{3}55501[0-9]{2}",  # North America: 555-0100 to 555-0199
    r"44(1[0-9]{2}4960[0-9]{3}|1632960[0-9]{3}|2079460[0-9]{3}|7700900[0-9]{3}|8081570[0-9]{3})",  # Ofcom
    r"49(3023125|6990009|4066969|2214710|8999998|17604069)[0-9]{3}",  # Bundesnetzagentur
    r"49(171392[0-9]{4}|1522881738[0-9])",
    r"33(19900|26191|35301|46571|53649|63998)[0-9]{4}",  # Arcep
    r"61([2378](5550|7010)[0-9]{4}|49157[0-9]{4})",  # ACMA
    r"46(8465004[0-9]{2}|31390060[0-9]|4062804[0-9]{2}|9809192[0-9]{2}|701740(60[5-9]|6[1-9][0-9]))",  # PTS
)
_RESERVED: Final = re.compile("|".join(_FICTION), re.ASCII)
_MAIL_HINT: Final = "use an address under example.com, example.org or example.net (RFC 2606)"
_PHONE_HINT: Final = "use a number set aside for fiction, such as +1 202 555 0123, +44 7700 900123 or +49 30 23125 123"


def _people(node: object, path: Path) -> Iterator[tuple[Path, str, str]]:
    """Find addresses and numbers that may be somebody's."""
    if isinstance(node, dict):
        for key, part in node.items():
            yield from _people(part, (*path, key))
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from _people(part, (*path, index))
    elif isinstance(node, str):
        if any(_EXAMPLES.fullmatch(domain) is None for domain in _MAIL.findall(node)):
            yield path, "may be a real person's address", _MAIL_HINT
        elif _somebodys(node, named=path[-2:] == ("customer", "phone")):
            yield path, "may be a real person's phone number", _PHONE_HINT


def _somebodys(text: str, *, named: bool) -> bool:
    """Whether a number in the text is not set aside; `named` says that the field can hold nothing else."""
    found = _PHONE.findall(text)
    if any(_RESERVED.fullmatch(re.sub("[^0-9]", "", each)) is None for each in found):
        return True
    return named and not found and _NATIONAL.search(text) is not None
