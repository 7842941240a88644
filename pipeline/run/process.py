"""READ FIRST. The way of one event: decode, envelope, routes, gates, payload, then its lanes.

Synchronous from start to end: one call takes a Kafka record to run/follow, which starts the steps of its runs and
offers them to `lane.offer()` (run/dispatch), whose verdict comes back to run/settle, which has run/follow start what
comes after, and closes the position in core/offsets, which run/consume commits. Decisions are made in core/; here they
are only put in order and acted on.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.core import decode, definitions, gates, payload, routes, runstate, tracecontext
from pipeline.core.brake import BRAKING
from pipeline.model import (
    NOTHING,
    Datum,
    Event,
    FailureClass,
    Flight,
    LedgerReason,
    Plan,
    Record,
    Route,
    SkipReason,
    Trace,
    Undecodable,
    value,
)
from pipeline.run import follow
from pipeline.run.misses import ONCE, TRIGGER, Misses
from pipeline.run.resume import Resume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.core.offsets import Tracker
    from pipeline.core.switches import Order
    from pipeline.model import SchemaRef, Sign
    from pipeline.ports import Acked, Marks, Telemetry, Unknown
    from pipeline.run.asking import Asking
    from pipeline.run.dispatch import Lane
    from pipeline.run.memory import Recall
    from pipeline.run.settle import Settlement

UNKNOWN_REMEMBERED: Final = 1_000
"""References without a schema remembered: damaged records name new ones without end."""

Read: TypeAlias = tuple[Plan, Event, Datum]
"""A record as the first two stages leave it."""


@value
class Unread:
    """A partition of the memory topic that must be read before anything of it can be asked."""

    partition: int


Wanted: TypeAlias = "tuple[str, SchemaRef] | Unread"
"""What must be had before a record can be taken up.

A writer schema that is not known yet (the input topic it is for, and its reference), or what is remembered.
"""


class Process:
    """One event through the stages. `record` and `retry` never wait and never raise but for a bug of ours.

    Both answer None when the record was taken up, or what must be had first: a schema by `(topic, reference)`, for
    which the caller calls `learn`, or what is remembered, for which it awaits `read`. Until then it holds the
    partition; then it offers the same record again.
    """

    def __init__(
        self,
        planner: Callable[[str, object], Plan | Undecodable | None],
        lanes: Mapping[str, Lane],
        settlement: Settlement,
        telemetry: Telemetry,
        asking: Asking,
        marks: Marks | None = None,
        recall: Recall | None = None,
    ) -> None:
        """`marks` is wanted where steps mark, `recall` where journeys ask for what is remembered."""
        self._recall = recall
        if recall is not None:
            settlement.contacted = partial(recall.contacted, settlement.write)
        self._planner = planner
        self._settlement = settlement
        self._sampled = telemetry.sampled
        self._log = telemetry.log
        self._newer = 0  # retry records of a later release, seen since that was last said
        self.misses = Misses(telemetry.log)
        self._follow = follow.Follow(lanes, settlement, self.misses, asking, marks)
        self._resumed = Resume(self._follow, settlement, asking)
        self._plans: dict[tuple[str, SchemaRef], Plan | Undecodable | None] = {}
        self._asking = asking
        self._ids = gates.Window()
        self._unknown: OrderedDict[tuple[str, SchemaRef], None] = OrderedDict()
        self.told: Callable[[str, int, int, bool], Order | None] | None = None
        """`(destination, waiting since, begun, held back by hand)`, Unix ms, to the order that means such a step."""

    def learn(self, topic: str, ref: SchemaRef, schema: object | Unknown) -> None:
        """Plan for records of a writer schema on a topic; an Unknown one makes them undecodable."""
        detail = getattr(schema, "detail", None)
        if detail is None:
            self._plans[topic, ref] = self._planner(topic, schema)
            return
        self._unknown[topic, ref] = None
        self._plans[topic, ref] = Undecodable(f"unknown schema: {detail}")
        if len(self._unknown) > UNKNOWN_REMEMBERED:
            del self._plans[self._unknown.popitem(last=False)[0]]

    def each_minute(self) -> None:
        """Say what came to nothing, and what is for a later release; ask again for schemas the registry did not know.

        One may have been registered late, or was read from a replica that lags.
        """
        self.misses.sum_up()
        if self._newer:
            self._log("warning", "run_state_newer", records=self._newer)
            self._newer = 0
        while self._unknown:
            del self._plans[self._unknown.popitem(last=False)[0]]

    async def read(self, unread: Unread) -> None:
        """Return once a partition of what is remembered has been read."""
        assert self._recall is not None
        await self._recall.whole(unread.partition)

    def assigned(self, partition: int) -> None:
        """Prepare for records of an input partition that is ours from now on."""
        if self._recall is not None:
            self._recall.assigned(partition)

    def gone(self, partition: int) -> None:
        """Note that an input partition is not ours any more."""
        if self._recall is not None:
            self._recall.gone(partition)

    # ------------------------------------------------------------------------------------------ a new event

    def record(self, record: Record, tracker: Tracker, now_ns: int) -> Wanted | None:
        """Take up one input record."""
        if record.value is None:
            self._settlement.empty(tracker, record.offset, LedgerReason.TOMBSTONE)
            return None
        read = self._read(record)
        if isinstance(read, tuple):
            if self._recall is not None and not self._recall.ready(record.partition):
                return Unread(record.partition)
            self._event(record, tracker, read, now_ns)
            return None
        if isinstance(read, LedgerReason):
            self._settlement.empty(tracker, record.offset, read)
            return None
        if isinstance(read, Undecodable):
            self._undecodable(record, tracker, read.detail, now_ns)
            return None
        return record.topic, read

    def _event(self, record: Record, tracker: Tracker, read: Read, now_ns: int) -> None:
        """Start the runs of one event, or note why it starts none."""
        plan, event, datum = read
        now_ms = now_ns // 1_000_000
        signs = plan.signs.get(event.type) if plan.signs else None
        wanted = plan.routes.get(event.type)
        if wanted is None:
            if signs is None:
                self.misses.no_journey(record, event.type, event.id, plan.routes)
            self._starts_nothing(record, tracker, read, signs, LedgerReason.NO_JOURNEY, now_ns)
            return
        taken, runs = self.misses.taken, self.misses.runs
        taken[event.type] = taken.get(event.type, 0) + 1
        matched = routes.match(wanted, datum, now_ms)
        if not matched:
            self._starts_nothing(record, tracker, read, signs, LedgerReason.CONDITION_FALSE, now_ns)
            return
        flight = Flight(record, tracker, _place(record), event, self._trace(record, event), now_ns)
        for route, _ in matched:
            flight.deliveries += len(route.steps)
            runs[route.journey] = runs.get(route.journey, 0) + 1
        self._settlement.opened(flight, flight.deliveries)
        headers = payload.event_headers(event)
        if signs is not None and self._recall is not None:
            self._recall.notice(flight, signs, datum, now_ms, self._settlement.write)
        asking = self._asking
        known = asking.known(event, flight) if asking.looks or asking.tables.erasures else NOTHING
        duplicate = SkipReason.DUPLICATE if self._ids.repeats(event.id, flight.source) else None
        for route, refused in matched:
            refusal, place = refused or duplicate, TRIGGER
            if refusal is None and (route.rollout < 1.0 or route.holdout):
                refusal = gates.enter(route, event)
            if refusal is None and route.once is not None and self._recall is not None:
                refusal, place = self._recall.enter(flight, route, datum, now_ms, self._settlement.write), ONCE
            if refusal is SkipReason.CONDITION_ERROR:
                self.misses.condition(route.journey, place, event.id)
            self._follow.begin(flight, route, event, datum, known, refusal, headers, now_ms)

    def _starts_nothing(
        self, record: Record, tracker: Tracker, read: Read, signs: Sequence[Sign] | None, reason: LedgerReason,
        now_ns: int,
    ) -> None:  # fmt: skip
        """Settle an event without a run, once it is remembered if a journey waits for it."""
        _, event, datum = read
        settlement = self._settlement
        if signs is None or self._recall is None:
            settlement.empty(tracker, record.offset, reason)
            return
        flight = Flight(record, tracker, _place(record), event, self._trace(record, event), now_ns, ledger=reason)

        def write(flight: Flight) -> Acked:
            if not flight.open:
                settlement.opened(flight, 0)
            return settlement.write(flight)

        if not self._recall.notice(flight, signs, datum, now_ns // 1_000_000, write):
            settlement.empty(tracker, record.offset, reason)

    def _read(self, record: Record) -> Read | Undecodable | LedgerReason | SchemaRef:
        """Decode and map; a schema reference is asked back when its schema is not known yet."""
        assert record.value is not None
        frame = decode.locate(record.value, record.headers)
        if isinstance(frame, Undecodable):
            return frame
        ref, start = frame
        try:
            plan = self._plans[record.topic, ref]
        except KeyError:
            return ref
        if plan is None:
            return LedgerReason.UNMAPPED
        if isinstance(plan, Undecodable):
            return plan
        datum = plan.read(record.value, start)
        if isinstance(datum, Undecodable):
            return datum
        event = plan.envelope(datum, record)
        return event if isinstance(event, Undecodable) else (plan, event, datum)

    # ------------------------------------------------------------------------------------- a run handed over

    def retry(self, record: Record, tracker: Tracker, now_ns: int) -> Wanted | None:
        """Take up one released retry record, or an entry of a log whose turn it is: the waiting steps of one run."""
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        if isinstance(state, runstate.Unreadable) and state.newer:
            self._newer += 1
            self._settlement.pass_on(_unread(record, tracker, now_ns))
            return None
        if isinstance(state, runstate.Unreadable) or record.value is None:
            detail = state.detail if isinstance(state, runstate.Unreadable) else "run without its event"
            self._undecodable(record, tracker, detail, now_ns)
            return None
        read = self._read(_as_consumed(record, state.source))
        if isinstance(read, (int, bytes)):
            return state.source[0], read
        if isinstance(read, tuple) and self._recall is not None and not self._recall.ready(state.source[1]):
            return Unread(state.source[1])
        route = self._route(state, read) if isinstance(read, tuple) else None
        if route == definitions.LATER:
            self._newer += 1
            self._settlement.pass_on(_unread(record, tracker, now_ns))
        elif self._resumed.repeated(state, record):
            self._settlement.dropped(tracker, record.offset)
        elif isinstance(read, tuple):
            self._resume(record, tracker, state, read, route, now_ns)
        else:
            detail = read.detail if isinstance(read, Undecodable) else "no mapping for this record any more"
            self._undecodable(record, tracker, detail, now_ns)
        return None

    def _route(self, state: runstate.RunState, read: Read) -> Route | str | None:
        """Find what a run is finished by: the definition it began with, or a word that says why there is none."""
        plan, event, _ = read
        route = next((each for each in plan.routes.get(event.type, ()) if each.journey == state.journey), None)
        if (route is None or route.hash != state.hash) and plan.pinned is not None and definitions.is_kept(state.hash):
            return plan.pinned(state.hash)
        return route

    def _resume(
        self, record: Record, tracker: Tracker, state: runstate.RunState, read: Read, route: Route | str | None,
        now_ns: int,
    ) -> None:  # fmt: skip
        _, event, datum = read
        trace = Trace(state.trace_id, state.link, state.sampled)
        flight = Flight(record, tracker, state.source, event, trace, now_ns, deliveries=state.deliveries)
        self._resumed.go_on(flight, state, route, event, datum, self.told, now_ns // 1_000_000)

    # --------------------------------------------------------------------------------------- before either

    def foretell(self, record: Record, now_ns: int) -> FailureClass | tuple[str, SchemaRef] | None:
        """Say what would come of a record, without taking it up: why it would come to nothing, None if it would not.

        Or the schema that must be had first to say so. What only later steps or answers show is not foreseen.
        """
        if record.value is None:
            return None
        read = self._read(record)
        if isinstance(read, (int, bytes)):
            return record.topic, read
        if not isinstance(read, tuple):
            return FailureClass.UNDECODABLE if isinstance(read, Undecodable) else None
        plan, event, datum = read
        now_ms = now_ns // 1_000_000
        matched = routes.match(plan.routes.get(event.type, ()), datum, now_ms)
        classes = (follow.foretold(route, datum, now_ms) for route, refused in matched if refused is None)
        return next((cls for cls in classes if cls in BRAKING), None)

    def foretell_run(self, record: Record, _now_ns: int) -> FailureClass | tuple[str, SchemaRef] | None:
        """Say the same of a released retry record."""
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        if isinstance(state, runstate.Unreadable):
            return None if state.newer else FailureClass.UNDECODABLE
        read = self._read(_as_consumed(record, state.source)) if record.value is not None else None
        if isinstance(read, (int, bytes)):
            return state.source[0], read
        if not isinstance(read, tuple):
            return FailureClass.UNDECODABLE
        route = self._route(state, read)
        if route == definitions.LATER or self._asking.drafted(state.journey):
            return None
        steps = {step.name for step in route.steps} if isinstance(route, Route) else set()
        return None if steps.issuperset(state.steps) else FailureClass.CONFIG

    # ----------------------------------------------------------------------------------------------- both

    def _undecodable(self, record: Record, tracker: Tracker, detail: str, now_ns: int) -> None:
        self._settlement.undecodable(_unread(record, tracker, now_ns), FailureClass.UNDECODABLE, detail)

    def _trace(self, record: Record, event: Event) -> Trace:
        trace_id, parent_id, flagged = tracecontext.parse(
            record.header(tracecontext.HEADER) if record.headers else None, event.id
        )
        return Trace(trace_id, parent_id, flagged or self._sampled(trace_id))


def _unread(record: Record, tracker: Tracker, now_ns: int) -> Flight:
    """Make the flight of a record of whose event nothing is known."""
    place = _place(record)
    trace_id, parent_id, sampled = tracecontext.parse(record.header(tracecontext.HEADER), "/".join(map(str, place[:3])))
    return Flight(record, tracker, place, None, Trace(trace_id, parent_id, sampled), now_ns)


def _place(record: Record) -> tuple[str, int, int, int]:
    return record.topic, record.partition, record.offset, record.timestamp_ms


def _as_consumed(record: Record, source: tuple[str, int, int, int]) -> Record:
    """Put a retry record back where its event came from: an ID derived from the position must not change."""
    topic, partition, offset, stamp_ms = source
    return Record(topic, partition, offset, record.key, record.value, record.headers, stamp_ms)
