"""Plays cases: one event each on a stage of its own, and what came of it against what was expected."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import orjson

from pipeline.config.cases import Scripted, earlier, merged
from pipeline.config.operation import METADATA_KEY
from pipeline.model import NOTHING, Answer, ConsentSaid, Failure, FailureClass, Known, Suppress, value
from pipeline.testing.stage.endpoints import Reply, Request
from pipeline.testing.stage.explain import Ended, not_started, why
from pipeline.testing.stage.perform import Arrival, Events, Performer, unix_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.models import CaseFile, Config, JourneyConfig
    from pipeline.config.places import Place

HOUR_MS: Final = 3_600_000
LATER_MS: Final = 1_000
"""An event is taken up so long after its time, unless the case says otherwise."""
_NAMESPACE: Final = uuid.UUID("0c7f4d4e-8f0e-5d0b-9c7a-5b3f6a1d2e90")
DRAW: Final = ("in", "out")
"""Of rollout and holdout, where a case says nothing."""
_FAILURES: Final = {
    "connection": Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused"),
    "closed": Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer"),
    "tls": Failure(FailureClass.TLS, sent=False, detail="handshake"),
}


@value
class Difference:
    """Something that came out otherwise. `what` is the step, or a place in its request; `why` explains what came."""

    place: Place
    step: str
    what: str
    expected: str
    got: str
    why: str


@value
class Played:
    """One case after it was played; good without differences. `requests` are all that were written, in order."""

    file: str
    journey: str
    name: str
    place: Place
    differences: tuple[Difference, ...]
    outcomes: Mapping[str, str]
    requests: tuple[Request, ...]


class Player:
    """Plays the cases of one file: its journey, compiled for the stage as if it were live."""

    def __init__(self, config: Config, reader_schemas: Mapping[str, Any], name: str) -> None:
        """Compile. Raises ConfigError for what `hookline validate` would refuse."""
        self.config = config
        self.name = name
        self.cases: CaseFile = config.cases[name]
        self.journey: JourneyConfig = config.journeys[self.cases.journey]
        self._readers = reader_schemas
        self._made: dict[tuple[str, str], tuple[Events, Performer]] = {}
        self._events, _ = self._drawn(DRAW)

    def _drawn(self, draw: tuple[str, str]) -> tuple[Events, Performer]:
        """Compile for customers who are drawn so by rollout and holdout: once for each kind of them."""
        if draw not in self._made:
            shares = {"rollout": float(draw[0] == "in"), "holdout": float(draw[1] == "in")}
            events = Events(self.config, self._readers, [self.journey.name], shares)
            self._made[draw] = events, events.performer()
        return self._made[draw]

    def play(self, index: int) -> Played:
        """Play one case to its end, on a clock of its own. Raises Bug if it has none."""
        case = self.cases.cases[index]
        event = self._event(index)
        before = [self._earlier(index, at) for at in range(len(case.given.earlier))]
        now_ms = unix_ms(case.now) if case.now else unix_ms(event["time"]) + LATER_MS
        arrivals = [
            Arrival(min(unix_ms(each["time"]) + LATER_MS, now_ms), [self._events.record(each)]) for each in before
        ]
        _, performer = self._drawn((case.given.rollout, case.given.holdout))
        performed = performer.perform(
            [*arrivals, Arrival(now_ms, [self._events.record(event)])], Answers(self, index).reply,
            known={str(event["customer"]["id"]): self._known(index, unix_ms(event["time"]))},
            rows=case.given.lookups,
        )  # fmt: skip
        requests = performed.requests[performed.before[-1] :]
        ended = performed.ended(event["id"], self.journey.name)
        differences = (*self._outcomes(index, ended), *self._requests(index, requests))
        file = f"tests/{self.name}.yaml"
        return Played(
            file, self.journey.name, case.name, self.config.where(file, ("cases", index, "case")), differences,
            {step: each.text for step, each in ended.items()}, requests,
        )  # fmt: skip

    def _event(self, index: int) -> dict[str, Any]:
        case = self.cases.cases[index]
        event = merged(self.cases.event, case.event)
        event.setdefault("id", str(uuid.uuid5(_NAMESPACE, f"{self.name}/{case.name}")))
        return event

    def _known(self, index: int, at_ms: int) -> Known:
        """Return what the tables say: all of it since an hour before the event."""
        given = self.cases.cases[index].given
        since_ms = at_ms - HOUR_MS
        consent = {key: ConsentSaid(key, said == "granted", since_ms) for key, said in given.consent.items()}
        suppressions = [
            Suppress(f"case:{number}", scope, str(of), "", "", 0, since_ms)
            for number, each in enumerate(given.suppressions)
            for scope, of in each.model_dump(exclude_none=True).items()
        ]
        return replace(NOTHING, consent=consent, suppressions=tuple(suppressions))

    def _earlier(self, index: int, at: int) -> dict[str, Any]:
        case = self.cases.cases[index]
        event = earlier(self._event(index), case.given.earlier[at])
        event.setdefault("id", str(uuid.uuid5(_NAMESPACE, f"{self.name}/{case.name}/{at}")))
        return event

    # -------------------------------------------------------------------------------------------- comparing

    def _at(self, index: int, *path: str) -> Place:
        return self.config.where(f"tests/{self.name}.yaml", ("cases", index, "expect", *path))

    def _outcomes(self, index: int, ended: Mapping[str, Ended]) -> Iterator[Difference]:
        expected = self.cases.cases[index].expect.outcomes
        if expected and not ended:
            said = not_started(self.config, self.journey)
            yield Difference(self._at(index, "outcomes"), "", "journey", "starts", "does not start", said)
            return
        for step in self.journey.steps:
            got = ended.get(step.name)
            wanted = expected.get(step.name, "does not start")
            text = got.text if got is not None else "does not start"
            if text != wanted:
                said = "" if got is None else why(self.config, self.journey, step.name, got, ended)
                yield Difference(self._at(index, "outcomes", step.name), step.name, "outcome", wanted, text, said)

    def _requests(self, index: int, requests: tuple[Request, ...]) -> Iterator[Difference]:
        for step, expected in self.cases.cases[index].expect.requests.items():
            place = self._at(index, "requests", step)
            sent = [each for each in requests if step_of(self.config, self.journey, each) == step]
            if not sent:
                yield Difference(place, step, "request", "a request", "none", "see its outcome")
                continue
            request = sent[-1]  # of several attempts
            pairs: list[tuple[str, object, object]] = []
            if expected.method is not None:
                pairs.append(("method", expected.method, request.method))
            if expected.path is not None:
                pairs.append(("path", expected.path, request.target))
            found = {name: request.headers.get(name.lower()) for name in expected.headers}
            pairs.append(("headers", expected.headers, {name: each for name, each in found.items() if each}))
            if "body" in expected.model_fields_set:
                pairs.append(("body", expected.body, _body(request, expected.body)))
            for what, wanted, got in pairs:
                for at, one, other in differences(what, wanted, got):
                    yield Difference(place, step, at, one, other, "")


class Answers:
    """The answers of one case: each step's, attempt by attempt."""

    def __init__(self, player: Player, index: int) -> None:
        self._player = player
        self._answers = player.cases.cases[index].answers
        self._attempts: dict[str, int] = {}

    def reply(self, request: Request) -> Reply:
        """Answer one request; implements endpoints.Script."""
        step = step_of(self._player.config, self._player.journey, request)
        attempt = self._attempts[step] = self._attempts.get(step, 0) + 1
        given = self._answers.get(step)
        if given is None:
            return Reply(Answer(204))
        return reply(given if isinstance(given, Scripted) else given[min(attempt, len(given)) - 1])


def step_of(config: Config, journey: JourneyConfig, request: Request) -> str:
    """Return the step a request is for; a batch is for the one step of the journey that calls its operation."""
    if request.step:
        return request.step
    for step in journey.steps:
        name, _, operation = (step.call or "").partition(".")
        if name == request.destination and config.destinations[name].operations[operation].batch is not None:
            return step.name
    return ""


def reply(scripted: Scripted) -> Reply:
    """Return what a script's answer is on the wire."""
    after_s = scripted.after_ms / 1e3
    if scripted.fail == "timeout":
        return Reply(None)
    if scripted.fail is not None:
        return Reply(_FAILURES[scripted.fail], after_s)
    body = scripted.body
    content = b"" if body is None else body.encode() if isinstance(body, str) else orjson.dumps(body)
    retry_after = "" if scripted.retry_after_ms is None else str(-(-scripted.retry_after_ms // 1_000))
    return Reply(Answer(scripted.status, retry_after, content), after_s)


def body_of(request: Request) -> object:
    """Read a body back: JSON, NDJSON of one line, or a form. None for none, text for anything else."""
    kind = request.headers.get("content-type", "")
    if "json" in kind:
        return orjson.loads(request.body)
    if "form" in kind:
        return dict(parse_qsl(request.body.decode(), keep_blank_values=True))
    return request.body.decode() or None


def _body(request: Request, expected: object) -> object:
    """Read a body back as a case writes it: our own metadata is left out unless it is expected."""
    got = body_of(request)
    if isinstance(got, dict) and not (isinstance(expected, dict) and METADATA_KEY in expected):
        got.pop(METADATA_KEY, None)
    return got


def differences(at: str, expected: object, got: object) -> Iterator[tuple[str, str, str]]:
    """Yield where two JSON values differ: place, and both as JSON. A whole number is no decimal, true is no 1."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in (*expected, *(each for each in got if each not in expected)):
            if key not in got:
                yield f"{at}.{key}", _shown(expected[key]), "nothing"
            elif key not in expected:
                yield f"{at}.{key}", "nothing", _shown(got[key])
            else:
                yield from differences(f"{at}.{key}", expected[key], got[key])
    elif isinstance(expected, (list, tuple)) and isinstance(got, list) and len(expected) == len(got):
        for index, (one, other) in enumerate(zip(expected, got, strict=True)):
            yield from differences(f"{at}[{index}]", one, other)
    elif type(expected) is not type(got) or expected != got:
        yield at, _shown(expected), _shown(got)


def _shown(part: object) -> str:
    return orjson.dumps(part).decode()
