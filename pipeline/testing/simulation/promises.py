"""Asks of each request whether it may be: consent, suppressions, erasure, cancelling events, caps, pauses, ownership.

Written against the documentation, not against `core/`: what is promised of a request is told here once more, in plain
words and from what really was said and done. Times have the bounds that are documented; what a worker could not know
within them is no flaw.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.testing.simulation.drawn import CODE, ERASED
from pipeline.testing.simulation.weather import code
from pipeline.testing.simulation.words import READ_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.config.models import JourneyConfig, StepConfig
    from pipeline.model import Known, Suppress
    from pipeline.testing.simulation.facts import Facts, Published, Remembered
    from pipeline.testing.stage.endpoints import Request
    from pipeline.testing.stage.worker import StageWorker

FRESH_S: Final = 1.0
"""An answer of the gates is good for so long."""
FOLLOWED_S: Final = 30.0
"""Of what is remembered elsewhere a worker knows by then, or holds."""
OBEYED_S: Final = 5.0
"""What is paused is held back everywhere by then."""
CLOSE_S: Final = 0.2
"""What turns of the loop, and a request between gates and wire, may take beside these."""

_SHORTENS: Final = ("crash", "zombie", "fatal", "jump", "order", "clock")
"""Faults after which a delivery may rightly be sent sooner than it was to."""


class Promises:
    """Of one run. `flaw` is told what did not hold."""

    def __init__(self, facts: Facts, flaw: Callable[[str], None]) -> None:
        self.ids: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        """Delivery IDs by event, journey and step."""
        self.asked: dict[str, list[float]] = defaultdict(list)
        """When each delivery was requested."""
        self._not_before: dict[str, tuple[float, float]] = {}
        self._facts = facts
        self._flaw = flaw
        config = facts.config
        self._lag_s = config.consent.table_lag_max_ms / 1e3 + FRESH_S + READ_S + CLOSE_S
        self._skew_ms = config.consent.skew_ms
        self._steps = {
            (name, step.name): (journey, step) for name, journey in config.journeys.items() for step in journey.steps
        }

    def request(self, worker: StageWorker, request: Request, wait_s: float) -> None:
        """Look at one request as it is written, and is answered that nothing is wanted for `wait_s` seconds."""
        name = request.headers["webhook-id"]
        since_s, waits_s = self._not_before.get(name, (0.0, 0.0))
        if self._facts.now_s() - since_s < waits_s - CLOSE_S / 10 and not self._facts.hit(*_SHORTENS):
            self._flaw(f"delivery {name[:8]} was sent before the system wanted it again")
        if wait_s:
            self._not_before[name] = self._facts.now_s(), wait_s
        body = orjson.loads(request.body)
        for item in body if isinstance(body, list) else [body]:
            meta = item.get("hookline")
            if meta is not None:
                self._delivery(worker, meta["event_id"], meta["journey"], meta["step"], meta["delivery_id"], item)
            else:
                self._delivery(worker, request.headers["hookline-event-id"], request.journey, request.step, name, item)

    def _delivery(
        self, worker: StageWorker, event_id: str, journey_name: str, step_name: str, delivery_id: str, body: Any
    ) -> None:
        event = self._facts.events.get(event_id)
        if event is None:
            self._flaw("sent an event that nobody published")
            return
        self.ids[event_id, journey_name, step_name].add(delivery_id)
        self.asked[delivery_id].append(self._facts.now_s())
        journey, step = self._steps[journey_name, step_name]
        which = f"{self._facts.name(event_id)} {journey_name}.{step_name}"
        for what in self._wrong(worker, event, journey, step, delivery_id):
            self._flaw(f"{which} was sent {what}")
        if body["customer"] != event.customer or body["event"] != event_id:
            self._flaw(f"{which} was sent with values of another event")
        for name, given in body.items():
            if name in step.after or (journey_name, name) in self._steps:
                expected = {code(each) for each in self.ids[event_id, journey_name, name]} | {CODE}
                if given not in expected:
                    self._flaw(f"{which} was sent with another answer than {name} had")

    def _wrong(
        self, worker: StageWorker, event: Published, journey: JourneyConfig, step: StepConfig, delivery_id: str
    ) -> Iterator[str]:
        if journey.status != "live":
            yield f"by a journey that is {journey.status}"
        if not worker.owns(event.id):
            yield "by a worker whose partition it was not"
        if self._denied(journey, step, event):
            yield "without consent"
        if self._erased(journey, step, event):
            yield "though the customer was erased"
        if self._suppressed(journey, step, event):
            yield "though it was suppressed"
        if self._cancelled(worker, journey, event):
            yield "though it was cancelled"
        if self._capped(journey, step, event, delivery_id):
            yield "beyond a cap"
        if any(self._paused(each.scope, each.name, journey, step) for each in self._facts.pauses if self._holds(each)):
            yield "though it was paused"

    def _holds(self, pause: Any) -> bool:
        now_s = self._facts.now_s()
        return bool(pause.since_s + OBEYED_S < now_s < pause.until_s)

    @staticmethod
    def _paused(scope: str, name: str, journey: JourneyConfig, step: StepConfig) -> bool:
        named = {"destination": step.destination, "journey": journey.name, "step": f"{journey.name}.{step.name}"}
        return named.get(scope) == name

    # ------------------------------------------------------------------------------------------- what was said

    def _known(self, event: Published, bound_s: float) -> Iterator[Known]:
        """Yield what a worker may have known of the customer."""
        since_s = self._facts.now_s() - bound_s - self._facts.set_back_s
        return self._facts.words.within(event.customer, since_s)

    def _denied(self, journey: JourneyConfig, step: StepConfig, event: Published) -> bool:
        basis = journey.basis_of(step)
        if basis not in ("consent", "legitimate_interest"):
            return False
        reaches = [step.reaches] if step.reaches else []
        if basis == "consent" and not reaches:
            reaches = sorted({each.reaches for each in journey.steps if each.reaches})
        purpose = journey.purpose_of(step)
        allowed = _granted if basis == "consent" else _unobjected
        return not any(allowed(self._said(event, known), purpose, reaches) for known in self._known(event, self._lag_s))

    def _said(self, event: Published, known: Known) -> dict[str, bool]:
        """Return the newest word on each key; a denial wins within the skew."""
        said = dict(event.flags)
        for key, word in known.consent.items():
            flag = event.flags.get(key)
            if flag is None or flag == word.granted:
                said[key] = word.granted
            elif abs(event.at_ms - word.at_ms) <= self._skew_ms:
                said[key] = False
            elif word.at_ms > event.at_ms:
                said[key] = word.granted
        return said

    def _erased(self, journey: JourneyConfig, step: StepConfig, event: Published) -> bool:
        # Who needs no consent is not held by tables that are behind: then it lasts until they are followed again.
        bound_s = self._lag_s + (self._facts.unheard_s if journey.basis_of(step) not in _ASKED else 0.0)
        return event.type != ERASED and all(known.erased_ms for known in self._known(event, bound_s))

    def _suppressed(self, journey: JourneyConfig, step: StepConfig, event: Published) -> bool:
        if journey.basis_of(step) not in _ASKED:
            return False
        return all(
            any(self._stands(each, event) and _means(each, journey, step) for each in known.suppressions)
            for known in self._known(event, self._lag_s)
        )

    def _stands(self, suppress: Suppress, event: Published) -> bool:
        if suppress.until_ms and self._facts.now_ms() >= suppress.until_ms - 1_000:
            return False
        return not suppress.until_event or not any(
            each.type == suppress.until_event and each.customer == event.customer and each.at_ms >= suppress.at_ms
            for each in self._facts.events.values()
        )

    # ------------------------------------------------------------------------------------- what is remembered

    def _cancelled(self, worker: StageWorker, journey: JourneyConfig, event: Published) -> bool:
        facts = self._facts
        if not journey.cancel_on or facts.words.at(event.customer, facts.now_s()).erased_ms:
            return False  # of an erased customer nothing is remembered
        return any(
            self._cancels(each, event, keyed=rule.match != "true")
            for rule in journey.cancel_on
            for each in facts.happened[event.customer, rule.event]
            if each.at_s < facts.now_s() - self._remembered_s(worker, each)
        )

    def _remembered_s(self, worker: StageWorker, entry: Remembered) -> float:
        """Return within what time a worker must know of something that is on the memory topic.

        Who owned its partition when it came knows at once; others as far as they follow, or they hold.
        """
        own = entry.owner is worker and not self._facts.crashed()
        bound_s = FRESH_S + CLOSE_S if own else FRESH_S + CLOSE_S + FOLLOWED_S + self._facts.unread_s
        return bound_s + self._facts.set_back_s

    def _cancels(self, entry: Remembered, event: Published, *, keyed: bool) -> bool:
        came = self._facts.events[entry.by]
        if came.id == event.id or came.at_ms < event.at_ms:
            return False
        if came.type == event.type and came.at_ms == event.at_ms:
            return False  # two that would cancel each other: of one moment only one is remembered
        return not keyed or came.key == event.key

    def _capped(self, journey: JourneyConfig, step: StepConfig, event: Published, delivery_id: str) -> bool:
        facts = self._facts
        caps = [
            each
            for each in facts.config.caps
            if each.category == journey.category and each.channel == step.reaches
            and journey.basis_of(step) != "legal_obligation"
        ]  # fmt: skip
        bound_s = FRESH_S + CLOSE_S + FOLLOWED_S + facts.unread_s + facts.set_back_s
        for cap in caps:
            contacts = {
                each.by
                for each in facts.contacts[event.customer, cap.category, cap.channel]
                if each.at_s < facts.now_s() - bound_s and each.by_ms > facts.now_ms() - cap.per_ms
            }
            if len(contacts - {delivery_id}) >= cap.max:
                return True
        return False


_ASKED: Final = ("consent", "legitimate_interest")


def _granted(said: dict[str, bool], purpose: str, channels: list[str]) -> bool:
    if said.get(purpose) is False:
        return False
    for channel in channels:
        words = [said.get(f"{purpose}.{channel}"), said.get(channel)]
        if False not in words and True in (*words, said.get(purpose)):
            return True
    return False


def _unobjected(said: dict[str, bool], purpose: str, channels: list[str]) -> bool:
    keys = [purpose, *channels, *(f"{purpose}.{channel}" for channel in channels)]
    return not any(said.get(key) is False for key in keys)


def _means(suppress: Suppress, journey: JourneyConfig, step: StepConfig) -> bool:
    names = {"category": journey.category, "channel": step.reaches, "journey": journey.name}
    return names.get(suppress.scope) == suppress.of
