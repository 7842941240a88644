"""What may happen to any journey: a field is missing, the customer said no, a thousand events come at once.

Each has a property that must hold whatever the journey does; how steps end is for its own cases to say.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from pipeline.config.cases import Scripted, merged
from pipeline.config.plain import NoEventError
from pipeline.model import Answer, Failure, FailureClass, Outcome, value
from pipeline.testing.stage import declared, invented
from pipeline.testing.stage.endpoints import Reply
from pipeline.testing.stage.perform import UNDRAWN, Arrival, Events, Performance, unix_ms
from pipeline.testing.stage.play import reply, step_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.config.models import Config, JourneyConfig
    from pipeline.model import Rows
    from pipeline.testing.stage.endpoints import Request, Script
    from pipeline.testing.stage.explain import Ended

SPIKE_EVENTS: Final = 1_000
FIELDS_MAX: Final = 100
LATER_MS: Final = 1_000
NEEDS_CONSENT: Final = ("consent", "legitimate_interest")
HOSTILE: Final = 'a"\r\nInjected: 1\u2028${event.id}\x7f\U0001f600'
_NAMESPACE: Final = uuid.UUID("7a1c2f8e-2f4f-5d64-8f0b-6b6f0d3d9a11")
_DOWN: Final = Reply(Answer(503))
_SILENT: Final = Reply(None)
_REFUSED: Final = Reply(Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused"))


@value
class Checked:
    """One edge case after it was played; good without flaws."""

    journey: str
    name: str
    flaws: tuple[str, ...]


class Edges:
    """Plays the edge cases of one journey, around its first case that delivers something, or an event made up."""

    def __init__(self, config: Config, readers: Mapping[str, Any], journey: str) -> None:
        """Compile. Raises ConfigError for what `hookline validate` would refuse.

        Raises KeyError for a journey none of whose cases delivers anything, and no event that was made up for it.
        """
        self._config = config
        self._journey: JourneyConfig = config.journeys[journey]
        self._events = Events(config, readers, [journey], UNDRAWN)
        self._performer = self._events.performer()
        self._answers: Mapping[str, Any] = {}
        self._rows: Rows = declared.rows(config)
        self._event = self._base()
        self._now_ms = unix_ms(self._event["time"]) + LATER_MS
        self._good = self._perform([self._event])

    def _base(self) -> dict[str, Any]:
        """Return the event that the others are made of, and keep the answers it gets."""
        for file in self._config.cases.values():
            for case in file.cases if file.journey == self._journey.name else ():
                if any(outcome == "delivered" for outcome in case.expect.outcomes.values()):
                    self._answers, self._rows = case.answers, case.given.lookups
                    event = merged(file.event, case.event)
                    event["consent"] = {**case.given.consent, **event.get("consent", {})}
                    return {"id": str(uuid.uuid5(_NAMESPACE, self._journey.name)), **event}
        made = invented.event(self._config, self._journey, self._events.shape, self._tried)
        if made is None:
            raise KeyError(self._journey.name)
        return made

    def _tried(self, event: Mapping[str, Any]) -> Mapping[str, Ended]:
        arrival = Arrival(unix_ms(event["time"]) + LATER_MS, [self._events.record(event)])
        performed = self._performer.perform([arrival], self._script(), rows=self._rows)
        return performed.ended(event["id"], self._journey.name)

    def play(self) -> Iterator[Checked]:
        """Play all of them; blocks for each."""
        for name, cases in self._all():
            flaws: list[str] = []
            for what, flaw in cases:
                flaws.append(f"{what}: {flaw}" if what else flaw)
            yield Checked(self._journey.name, name, tuple(flaws))

    def _all(self) -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
        yield "a field is missing", self._missing()
        yield "an identifier is invalid", self._identifiers()
        yield "text means harm", self._hostile()
        yield "the customer said no", self._unsubscribed()
        yield "the event is late", self._late()
        yield "the event comes twice", self._twice()
        yield f"{SPIKE_EVENTS:,} events come at once", self._spike()
        yield "a system is down", self._trouble(_DOWN)
        yield "a system never answers", self._trouble(_SILENT)
        yield "a system cannot be reached", self._trouble(_REFUSED)
        yield "an answer breaks its contract", self._broken(lambda _: b"{")
        yield "an answer is far too long", self._broken(lambda most: b'{"a": "' + b"x" * most * 10 + b'"}')

    # -------------------------------------------------------------------------------------------- the cases

    def _missing(self) -> Iterator[tuple[str, str]]:
        for path in self._leaves():
            where = ".".join(path)
            for flaw in self._accounted(self._try([_with(self._event, path, None)])):
                yield where, flaw

    def _identifiers(self) -> Iterator[tuple[str, str]]:
        for name, wrong in (("email", "not an address"), ("phone", "+0 12"), ("email", "x" * 400 + "@example.org")):
            if name not in self._event["customer"]:
                continue
            performed = self._try([_with(self._event, ("customer", name), wrong)])
            yield from (("", flaw) for flaw in self._accounted(performed))
            policy = getattr(self._config.identity, name)
            if policy == "as_is" or getattr(policy, "form", "") == "as_is" or not isinstance(performed, Performance):
                continue
            if any(wrong.encode() in each.body for each in performed.requests):
                yield f"customer.{name}", "was sent as it was"

    def _hostile(self) -> Iterator[tuple[str, str]]:
        known = {name for each in self._good.requests for name in each.headers}
        for path in self._leaves(text=True):
            performed = self._try([_with(self._event, path, HOSTILE)])
            yield from ((".".join(path), flaw) for flaw in self._accounted(performed))
            if isinstance(performed, Performance) and any(set(each.headers) - known for each in performed.requests):
                yield ".".join(path), "made a header of its own"

    def _unsubscribed(self) -> Iterator[tuple[str, str]]:
        channels = {step.reaches for step in self._journey.steps if step.reaches}
        purposes = set(self._config.purposes)
        keys = channels | purposes | {f"{purpose}.{channel}" for purpose in purposes for channel in channels}
        for consent in ({}, dict.fromkeys(keys, "denied")):
            performed = self._try([{**self._event, "consent": consent}])
            yield from (("", flaw) for flaw in self._accounted(performed))
            if not isinstance(performed, Performance):
                continue
            for request in performed.requests:
                step = step_of(self._config, self._journey, request)
                basis = next(self._journey.basis_of(each) for each in self._journey.steps if each.name == step)
                if basis == "consent" or (basis in NEEDS_CONSENT and consent):
                    yield step, f"was sent with basis {basis}"

    def _late(self) -> Iterator[tuple[str, str]]:
        performed = self._try([self._event], at_ms=self._now_ms + self._journey.trigger.max_age_ms)
        yield from (("", flaw) for flaw in self._accounted(performed))
        if isinstance(performed, Performance):
            yield from ((each.step, "was sent, older than max_age") for each in performed.requests)

    def _twice(self) -> Iterator[tuple[str, str]]:
        performed = self._try([self._event, self._event])
        yield from (("", flaw) for flaw in self._accounted(performed))
        if isinstance(performed, Performance):
            once = {each.headers.get("webhook-id") for each in self._good.requests if each.step}
            if {each.headers.get("webhook-id") for each in performed.requests if each.step} - once:
                yield "", "the second has delivery IDs of its own: receivers cannot drop it"

    def _spike(self) -> Iterator[tuple[str, str]]:
        events = []
        for number in range(SPIKE_EVENTS):
            id_ = str(uuid.uuid5(_NAMESPACE, f"{self._journey.name}/{number}"))
            events.append({**self._event, "id": id_, "customer": {**self._event["customer"], "id": f"c-{number}"}})
        performed = self._try(events)
        yield from (("", flaw) for flaw in self._accounted(performed, {each["id"] for each in events}))

    def _trouble(self, answer: Reply) -> Iterator[tuple[str, str]]:
        """Let one system after the other fail: steps that do not wait for it end as ever."""
        alone = {step.name for step in self._journey.steps if not getattr(step, "after", None)}
        good = self._ended(self._good)
        for name in sorted({(step.call or "").partition(".")[0] for step in self._journey.steps if step.call}):
            performed = self._try([self._event], self._failing(name, answer))
            yield from ((name, flaw) for flaw in self._accounted(performed))
            ended = self._ended(performed) if isinstance(performed, Performance) else {}
            for step in self._journey.steps:
                own = (step.call or "").partition(".")[0] == name
                if (
                    step.name in alone
                    and not own
                    and step.name in ended
                    and ended[step.name].text != good[step.name].text
                ):
                    yield step.name, f"ended {ended[step.name].text} because {name} failed"
                delivered = own and step.name in ended and ended[step.name].outcome is Outcome.DELIVERED
                if delivered and not self._config.destinations[name].on_status:
                    yield step.name, "counts as delivered"

    def _broken(self, content: Callable[[int], bytes]) -> Iterator[tuple[str, str]]:
        for step in self._journey.steps:
            name, _, operation_name = (step.call or "").partition(".")
            if not name or not self._config.destinations[name].operations[operation_name].reads_response:
                continue
            body = content(self._config.destinations[name].response_bytes_max)
            performed = self._try([self._event], self._answering(step.name, Reply(Answer(200, "", body))))
            yield from ((step.name, flaw) for flaw in self._accounted(performed))

    # ---------------------------------------------------------------------------------------------- playing

    def _script(self) -> Script:
        """Return the answers of the base case, else good ones; a list answers with its last one."""
        otherwise = declared.script(self._config)

        def script(request: Request) -> Reply:
            given = self._answers.get(step_of(self._config, self._journey, request))
            if given is None:
                return otherwise(request)
            return reply(given if isinstance(given, Scripted) else given[-1])

        return script

    def _failing(self, destination: str, answer: Reply) -> Script:
        good = self._script()
        return lambda request: answer if request.destination == destination else good(request)

    def _answering(self, step: str, answer: Reply) -> Script:
        good = self._script()
        return lambda request: answer if step_of(self._config, self._journey, request) == step else good(request)

    def _perform(self, events: list[dict[str, Any]], script: Script | None = None, at_ms: int = 0) -> Performance:
        arrival = Arrival(at_ms or self._now_ms, [self._events.record(each) for each in events])
        return self._performer.perform([arrival], script or self._script(), rows=self._rows)

    def _try(
        self, events: list[dict[str, Any]], script: Script | None = None, *, at_ms: int = 0
    ) -> Performance | str | None:
        """Perform, or say what stopped it: that is the flaw looked for. None: no mapping makes such an event."""
        try:
            return self._perform(events, script, at_ms)
        except NoEventError:
            return None
        except Exception as error:  # noqa: BLE001 - any exception out of a worker is a finding
            return f"stopped the worker: {type(error).__name__}"

    def _ended(self, performed: Performance) -> dict[str, Ended]:
        return performed.ended(self._event["id"], self._journey.name)

    def _accounted(self, performed: Performance | str | None, ids: set[str] | None = None) -> Iterator[str]:
        """Say which of the events that started lacks an outcome of a step, or has two."""
        if not isinstance(performed, Performance):
            if performed is not None:
                yield performed
            return
        names = {step.name for step in self._journey.steps}
        final = Counter(
            (row.event_id, row.step, row.partition, row.offset)
            for row in performed.outcomes
            if row.outcome is not Outcome.RETRYING
        )
        for (_, step, _, _), count in final.items():
            if count > 1:
                yield f"{step} ended {count} times"
        for event_id in ids or {event_id for event_id, _, _, _ in final}:
            missing = names - {step for id_, step, _, _ in final if id_ == event_id}
            if missing:
                yield "no outcome of " + ", ".join(sorted(missing))
                return

    def _leaves(self, *, text: bool = False) -> list[tuple[str, ...]]:
        """Return the paths of what the event may come without (or, `text`, of its words)."""
        paths = [
            path
            for part in ("customer", "source", "properties")
            for path, content in _walk(self._event.get(part), (part,))
            if path != ("customer", "id") and (not text or (isinstance(content, str) and not _formed(content)))
        ]
        return paths[:FIELDS_MAX]


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(node, dict):
        for key, part in node.items():
            yield from _walk(part, (*path, key))
    elif node is not None:
        yield path, node


def _formed(text: str) -> bool:
    """Whether a text may be a number or a time, where words would be no event."""
    return text[:1].isdigit() or text[:1] in "+-"


def _with(event: dict[str, Any], path: tuple[str, ...], content: object) -> dict[str, Any]:
    over: Any = content
    for name in reversed(path):
        over = {name: over}
    return merged(event, over)
