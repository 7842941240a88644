"""Decides, from the outcomes and the workers' reports, how far each destination is, and which event to show."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.model import Outcome, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.core.outcome import OutcomeRow

_ATTEMPTS_SHOWN_MAX: Final = 5
"""An event with more attempts in one delivery makes a long picture."""
NOTHING: Final[Counter[str]] = Counter()
"""The count of a destination that has no deliveries yet."""


@value
class Last:
    """The last word on one delivery."""

    event_id: str
    destination: str
    outcome: str
    reason: str
    attempts: int
    hop: int


class Tally:
    """Takes outcome rows in any order and keeps the last word on each delivery: a final one beats `retrying`."""

    def __init__(self) -> None:
        self.deliveries: dict[str, Last] = {}
        self.parked: set[str] = set()  # delivery IDs that ever waited on a retry topic
        self.rows = 0
        self.breakers: dict[str, str] = {}

    def outcome(self, row: OutcomeRow) -> None:
        """Take note of one row."""
        self.rows += 1
        known = self.deliveries.get(row.delivery_id)
        if row.outcome == Outcome.RETRYING:
            self.parked.add(row.delivery_id)
            if known is not None and (known.outcome != Outcome.RETRYING or known.hop > row.hop):
                return
        self.deliveries[row.delivery_id] = Last(
            row.event_id, row.destination, str(row.outcome), row.reason, row.attempts, row.hop
        )

    def report(self, content: bytes | None) -> None:
        """Take note of a worker's report; None is its goodbye."""
        if content is None:
            return
        lanes: dict[str, Any] = orjson.loads(content)["lanes"]
        self.breakers = {name: str(lane["state"]) for name, lane in lanes.items()}

    def counts(self) -> dict[str, Counter[str]]:
        """Return, by destination, how many deliveries have which last word."""
        counted: dict[str, Counter[str]] = {}
        for each in self.deliveries.values():
            counted.setdefault(each.destination, Counter())[each.outcome] += 1
        return counted

    def ended(self, *outcomes: Outcome) -> set[str]:
        """Return the IDs of the deliveries with one of these last words."""
        return {delivery_id for delivery_id, each in self.deliveries.items() if each.outcome in outcomes}

    def worth_showing(self) -> str:
        """Return the ID of an event that was retried and made it, the more colourful the better; "" if none was."""
        marks: Counter[str] = Counter()
        dull: set[str] = set()
        for each in self.deliveries.values():
            if each.outcome != Outcome.DELIVERED or each.attempts > _ATTEMPTS_SHOWN_MAX:
                dull.add(each.event_id)
            marks[each.event_id] += min(each.attempts - 1, 2) + 2 * min(each.hop, 2)
        shown = [(mark, event_id) for event_id, mark in marks.items() if event_id not in dull and mark > 0]
        return max(shown, default=(0, ""))[1]


@value
class Lane:
    """How one destination stands. `waiting`: deliveries on a retry topic; `in_flight`: requests not yet answered."""

    name: str
    requests: int
    in_flight: int
    delivered: int
    waiting: int
    rejected: int
    dead: int
    skipped: int
    breaker: str
    up: bool


@value
class Moment:
    """How everything stands at one moment; `at_s` is since the start."""

    at_s: float
    sent: int
    total: int
    lanes: tuple[Lane, ...]
    settled: bool = False

    @property
    def waiting(self) -> int:
        """Deliveries on retry topics."""
        return sum(lane.waiting for lane in self.lanes)


def lane(name: str, tally: Counter[str], seen: dict[str, Any], breaker: str, *, up: bool) -> Lane:
    """Put together how a destination stands: its deliveries' last words, and what its receiver has seen."""
    answered = sum(seen["statuses"].values()) + seen["resets"]
    return Lane(
        name, seen["requests"], max(seen["requests"] - answered, 0), tally[Outcome.DELIVERED], tally[Outcome.RETRYING],
        tally[Outcome.REJECTED], tally[Outcome.DEAD], tally[Outcome.SKIPPED], breaker or "closed", up,
    )  # fmt: skip


def happening(moment: Moment) -> str:
    """Say in a sentence what is happening."""
    if moment.settled:
        return f"everything is settled, {moment.at_s:.0f} s after the first event"
    down = next((each for each in moment.lanes if not each.up), None)
    if down is not None:
        return _down(down, " and ".join(each.name for each in moment.lanes if each.up))
    recovering = next((each for each in moment.lanes if each.breaker != "closed"), None)
    if recovering is not None:
        doing = "open until its time is up" if recovering.breaker == "open" else "half-open: one request may try"
        return f"{recovering.name} is up again; its breaker is {doing}"
    waiting = f"{moment.waiting:,} deliveries wait for their retry" if moment.waiting else ""
    if moment.sent < moment.total:
        return "all destinations are up" + (f"; {waiting}" if waiting else "")
    return f"all events are sent; {waiting or 'the last ones are being settled'}"


def _down(lane: Lane, others: str) -> str:
    if lane.breaker == "closed":
        return f"{lane.name} is down; the worker has not met it often enough yet to leave it alone"
    return (
        f"{lane.name} is down: its breaker is {lane.breaker}, {lane.waiting:,} deliveries wait on retry topics; "
        f"{others} are not delayed"
    )


def told(rows: Iterable[Lane]) -> str:
    """Return one short line for logs: what each destination has."""
    parts = []
    for each in rows:
        extra = f", {each.waiting:,} waiting" if each.waiting else ""
        extra += f", {each.rejected:,} rejected" if each.rejected else ""
        extra += f", breaker {each.breaker}" if each.breaker != "closed" else ""
        parts.append(f"{each.name} {each.delivered:,} delivered{extra}")
    return " | ".join(parts)
