"""The state that changes while an event is under way, each with its one owner. Part of `pipeline.model`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    from pipeline.model import Attempt, Event, LedgerReason, Record, Refused, Result, Route, Step, Trace


@dataclass(slots=True, eq=False)
class Flight:
    """One consumed position until all it started is settled. Owner: run/settle.

    `open` counts deliveries and writes not yet acked; at zero the position is done. `source` is the input position
    (topic, partition, offset, record timestamp): for a retry record the original one, not the retry topic's.
    """

    record: Record
    tracker: Any  # core.offsets.Tracker of this assignment
    source: tuple[str, int, int, int]
    event: Event | None
    trace: Trace
    received_ns: int
    deliveries: int = 0  # of the whole event, over all journeys
    open: int = 0
    ledger: LedgerReason | None = None
    span_id: str = ""  # of the consume span, once one was exported


@dataclass(slots=True, eq=False)
class Run:
    """One journey for one event. Owner: run/settle. Handed over when `moving` is zero and `waiting` is not empty.

    Only a run with steps after others has `results`: how its steps ended, RETRYING for those that wait on a retry tier
    (`retried` names all that ever did). It keeps its `datum` for the steps that are `ahead`: those not started.
    """

    flight: Flight
    route: Route
    started_ms: int
    hop: int = 0
    parks: int = 0
    moving: int = 0
    waiting: list[Waiting] | None = None
    link: str = ""  # span ID of the hop before: of the hand-over this run arrived by
    sent: str = ""  # span ID of the latest hand-over to the next hop,
    sent_to: str = ""  # and the retry topic it went to
    cancels: tuple[str | None, ...] = ()  # correlation hashes of the trigger, for each of the route's `cancel_on`
    results: dict[str, Result] | None = None
    datum: Any = None
    ahead: tuple[Step, ...] = ()
    retried: frozenset[str] = frozenset()
    failed: tuple[tuple[Delivery, list[tuple[str, bytes]]], ...] = ()  # with what is known of their dead letters


@dataclass(slots=True, eq=False)
class Delivery:
    """One step of one run, from offer to outcome. Owner: the lane until it is settled.

    `target` is path and query below the base URL, b"" those that no event changes. `response` has the declared fields
    of the answer that took it, `excerpt` the beginning of the last error response, if the destination keeps any.
    `ambiguous`: an attempt may have arrived though no answer came. `fallback` is what its step's `default` made, to be
    its response if it gets none.
    """

    id: str
    step: Step
    run: Run
    body: bytes
    event_headers: bytes
    expires_ms: int
    attempts: int = 0
    first_ns: int = 0
    last_ns: int = 0
    sent_ns: int = 0  # when the latest request was written; after last_ns by what connecting took
    due_ms: int = 0
    status: int = 0
    last_cls: str = ""
    ambiguous: bool = False
    history: list[Attempt] | None = None
    target: bytes = b""
    response: Mapping[str, object] | None = None
    excerpt: bytes = b""
    zones: tuple[tzinfo, ...] = ()  # the customer's, for each of the step's `quiet`
    asked_ns: int = 0  # when gates last let it pass
    fallback: Mapping[str, object] | Refused | None = None
    budget: Any = None  # asyncio.TimerHandle: of a `decide` that was offered to its lane
    deadline_ms: int = 0  # Unix ms after which no attempt may begin, 0 for none
    expiry: Any = None  # asyncio.TimerHandle: of its deadline, while its lane has it
    over: bool = False  # ended by the clock, before its lane was done with it


@dataclass(slots=True)
class Waiting:
    """A delivery that goes to a retry tier with its run. `parked` tries used no attempt."""

    delivery: Delivery
    due_ms: int
    cls: str
    parked: bool
