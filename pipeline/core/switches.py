"""Decides from the control topic what is held back by hand, and what waiting runs were told to do.

A switch holds: a paused destination, journey or step, or an operation that is disabled because it answered that it is
gone. An order is for runs that waited when it was given: go now, end as dropped; or for a breaker: close. Each has a
key of its own, so that the newest record of a key is all there is to know, and a reader may start at any time.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.model import value
from pipeline.said import DAMAGED, at_ms, rate, whole

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from pipeline.model import Step

PAUSED: Final = "paused"
DISABLED: Final = "disabled"
HELD: Final = (PAUSED, DISABLED)
"""Why a delivery waits that is held back by hand; in its `retrying` outcome in the place of a failure class."""
RELEASE: Final = "release"
DROP: Final = "drop"
RESET: Final = "reset"
INTAKE: Final = "intake"
SCOPES: Final = ("destination", "journey", "step", INTAKE)
"""What can be paused; a step is named JOURNEY.STEP, an intake by its topic, or its role: `retry`, `ordered`."""
TEXT_MAX: Final = 500
"""Characters kept of a reason or a name."""
DROP_SLACK_MS: Final = 8 * 86_400_000
"""How long a drop is kept beyond the greatest age of a run: the last retry tier, clocks, and a fleet's absence."""
RELEASE_GRACE_MS: Final = 10_000
"""A release also means runs that were held back this much later: workers need a moment to hear of a resumption."""

_PAUSE: Final = "pause"


@value
class Switch:
    """One thing that is, or was, held back. `state` is paused, resumed, disabled or reset; `at_ms` since when."""

    scope: str  # destination | journey | step | intake | operation
    name: str
    state: str
    who: str
    reason: str
    at_ms: int

    @property
    def on(self) -> bool:
        """Whether it holds."""
        return self.state in HELD


@value
class Order:
    """What one destination's waiting runs, or its breakers, were told. Means runs that waited at `at_ms`, Unix ms.

    `before_ms` 0 means all of them, else those that began earlier. `rate_per_s` 0 is unlimited, fleet-wide.
    """

    verb: str  # release | drop | reset
    destination: str
    who: str
    reason: str
    at_ms: int
    rate_per_s: float = 0.0
    newest_first: bool = False
    before_ms: int = 0
    given_ms: int = 0  # by the clock of who gave it; part of a drop's key

    def means(self, written_ms: int, started_ms: int, *, held: bool = False) -> bool:
        """Whether a run that began at `started_ms` and waits since `written_ms` is meant.

        `held`: it waits because it was held back by hand. What waits after a failure is never meant by an order given
        before: it would be tried again and again, without its wait, until the grace is over.
        """
        grace_ms = RELEASE_GRACE_MS if held and self.verb == RELEASE else 0
        return written_ms <= self.at_ms + grace_ms and (self.before_ms == 0 or started_ms < self.before_ms)


# --------------------------------------------------------------------------------------------------- what is written


def pause_key(scope: str, name: str) -> bytes:
    """Name the record of a pause."""
    return f"{_PAUSE}/{scope}/{name}".encode()


def disabled_key(destination: str, operation: str) -> bytes:
    """Name the record of a disabled operation."""
    return f"{DISABLED}/{destination}.{operation}".encode()


def order_key(verb: str, destination: str, at_ms: int) -> bytes:
    """Name the record of an order. A later release or reset means all that an earlier one did; a drop does not."""
    return f"{verb}/{destination}/{at_ms}".encode() if verb == DROP else f"{verb}/{destination}".encode()


def content(state: str, who: str, reason: str, at_ms: int, **more: object) -> bytes:
    """Write the value of a record: JSON with who, when and why."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return orjson.dumps({"state": state, "who": who, "reason": reason[:TEXT_MAX], "at": at, **more})


# ------------------------------------------------------------------------------------------------------ what is read


class Switches:
    """Takes records in the order of the topic. Owner: who reads it, a worker or a command."""

    def __init__(self) -> None:
        self._switches: dict[tuple[str, str], Switch] = {}
        self._orders: dict[str, Order] = {}

    def note(self, key: bytes | None, content: bytes | None, written_ms: int) -> Switch | Order | None:
        """Take one record; return what it says, None for what is no business of this module or is damaged.

        `written_ms` is the record's own timestamp: the clock that retry records have, too.
        """
        name = key.decode("utf-8", "replace") if key is not None else ""
        verb, _, rest = name.partition("/")
        if verb not in (_PAUSE, DISABLED, RELEASE, DROP, RESET) or not rest:
            return None
        if content is None:
            self._orders.pop(name, None)
            if verb in (_PAUSE, DISABLED):
                self._switches.pop(_place(verb, rest), None)
            return None
        try:
            doc = orjson.loads(content)
            if verb in (_PAUSE, DISABLED):
                scope, named = _place(verb, rest)
                switch = Switch(scope, named, *_told(doc), at_ms(doc["at"]))
                self._switches[scope, named] = switch
                return switch
            order = _order(verb, rest, doc, written_ms)
        except DAMAGED:
            return None
        self._orders[name] = order
        return order

    def all(self) -> tuple[Switch, ...]:
        """Return every switch there ever was, those that hold first."""
        return tuple(sorted(self._switches.values(), key=lambda each: (not each.on, each.scope, each.name)))

    def on(self) -> tuple[Switch, ...]:
        """Return the switches that hold."""
        return tuple(each for each in self.all() if each.on)

    def orders(self, *verbs: str) -> tuple[Order, ...]:
        """Return the orders of these kinds, oldest first."""
        return tuple(sorted((each for each in self._orders.values() if each.verb in verbs), key=lambda o: o.at_ms))

    def outdated(self, now_ms: int, max_age_ms: int) -> tuple[bytes, ...]:
        """Return the keys of drops that mean nothing any more: what they mean is too old to be sent by itself.

        `max_age_ms` is the greatest age that the event of a run may have.
        """
        return tuple(
            order_key(DROP, each.destination, each.given_ms)
            for each in self.orders(DROP)
            if now_ms - each.at_ms > max_age_ms + DROP_SLACK_MS
        )

    def of_intake(self, name: str) -> Switch | None:
        """Return the last word on an intake, None if there is none."""
        return self._switches.get((INTAKE, name))

    def of(self, destination: str) -> tuple[Switch, ...]:
        """Return what holds this destination or one of its operations back."""
        return tuple(
            each
            for each in self.on()
            if (each.scope == "destination" and each.name == destination)
            or (each.scope == "operation" and each.name.partition(".")[0] == destination)
        )

    def gates(self, calls: Mapping[tuple[str, str], str]) -> dict[str, Held]:
        """Return for each destination what to ask before a delivery starts; those nothing concerns are left out.

        `calls` has the destination of each step, by (journey, step).
        """
        named = {each.name for each in self.on() if each.scope in ("journey", "step")}
        found = {}
        for name in set(calls.values()):
            mine = self.of(name)
            journeys = frozenset(
                paused
                for (journey, step), called in calls.items()
                if called == name
                for paused in (journey, f"{journey}.{step}")
                if paused in named
            )
            if mine or journeys:
                disabled = frozenset(each.name.partition(".")[2] for each in mine if each.scope == "operation")
                whole = any(each.scope == "destination" for each in mine)
                found[name] = Held(whole, disabled, journeys)
        return found


class Held:
    """Answers why a step of one destination may not go now: `paused`, `disabled`, or "" if it may."""

    __slots__ = ("_disabled", "_journeys", "whole")

    def __init__(self, whole: bool, disabled: frozenset[str], journeys: frozenset[str]) -> None:  # noqa: FBT001
        self.whole = whole
        """Whether nothing of the destination may go."""
        self._disabled = disabled
        self._journeys = journeys  # names of journeys, and of steps as JOURNEY.STEP

    def __call__(self, step: Step) -> str:
        """Answer for one step."""
        if self.whole or step.journey in self._journeys or f"{step.journey}.{step.name}" in self._journeys:
            return PAUSED
        return DISABLED if step.operation in self._disabled else ""


def told(
    orders: Iterable[Order], destinations: Container[str], written_ms: int, started_ms: int, *, held: bool = False
) -> Order | None:
    """Return the order that means a waiting run with steps for these destinations; a drop before a release."""
    found: Order | None = None
    for order in orders:
        if order.destination in destinations and order.means(written_ms, started_ms, held=held):
            if order.verb == DROP:
                return order
            found = order
    return found


def _place(verb: str, rest: str) -> tuple[str, str]:
    if verb == DISABLED:
        return "operation", rest
    scope, _, name = rest.partition("/")
    return scope, name


def _told(doc: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(doc["state"])[:TEXT_MAX], str(doc["who"])[:TEXT_MAX], str(doc["reason"])[:TEXT_MAX]


def _order(verb: str, rest: str, doc: Mapping[str, Any], written_ms: int) -> Order:
    _, who, reason = _told(doc)
    at_ms(doc["at"])  # whole, or damaged
    destination, _, given = rest.partition("/")
    return Order(
        verb, destination, who, reason, written_ms, rate(doc.get("rate", 0.0)), bool(doc.get("newest_first", False)),
        whole(doc.get("before_ms", 0)), whole(given or 0),
    )  # fmt: skip
