"""READ FIRST. The way of one event: decode, envelope, routes, gates, payload, then its lanes.

Synchronous from start to end: one call takes a Kafka record to `lane.offer()` (run/dispatch), whose verdict comes back
to run/settle, which closes the position in core/offsets, which run/consume commits. Decisions are made in core/; here
they are only put in order and acted on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.core import decode, gates, journeys, outcome, payload, routes, switches, tracecontext
from pipeline.model import (
    Datum,
    Delivery,
    Event,
    FailureClass,
    Flight,
    Kind,
    LedgerReason,
    Outcome,
    Plan,
    Record,
    Refused,
    RetryPolicy,
    Route,
    Run,
    SkipReason,
    Step,
    Trace,
    Undecodable,
)
from pipeline.run.misses import TRIGGER, Misses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipeline.core.offsets import Tracker
    from pipeline.core.switches import Order
    from pipeline.model import SchemaRef
    from pipeline.ports import Telemetry, Unknown
    from pipeline.run.dispatch import Lane
    from pipeline.run.settle import Settlement

HOPS_REMEMBERED: Final = 20_000
"""Hand-overs remembered per worker, to drop the copies a crash between two writes leaves behind."""

UNKNOWN_REMEMBERED: Final = 1_000
"""References without a schema remembered: damaged records name new ones without end."""

Read: TypeAlias = tuple[Plan, Event, Datum]
"""A record as the first two stages leave it."""

Wanted: TypeAlias = "tuple[str, SchemaRef]"
"""A writer schema that is not known yet: the input topic it is for, and its reference."""


class Process:
    """One event through the stages. `record` and `retry` never wait and never raise but for a bug of ours.

    Both answer None when the record was taken up, or `(topic, reference)` of a schema that must be looked up first;
    then the caller holds the partition, calls `learn` with both, and offers the same record again.
    """

    def __init__(
        self,
        planner: Callable[[str, object], Plan | Undecodable | None],
        lanes: Mapping[str, Lane],
        settlement: Settlement,
        telemetry: Telemetry,
        *,
        event_flag_max_age_ms: int,
    ) -> None:
        self._planner = planner
        self._lanes = lanes
        self._settlement = settlement
        self._sampled = telemetry.sampled
        self.misses = Misses(telemetry.log)
        self._flag_max_age_ms = event_flag_max_age_ms
        self._plans: dict[tuple[str, SchemaRef], Plan | Undecodable | None] = {}
        self._unknown: OrderedDict[tuple[str, SchemaRef], None] = OrderedDict()
        self._hops: OrderedDict[int, tuple[str, int, int]] = OrderedDict()
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
        """Say what came to nothing; ask the registry again for schemas it did not know.

        One may have been registered late, or was read from a replica that lags.
        """
        self.misses.sum_up()
        while self._unknown:
            del self._plans[self._unknown.popitem(last=False)[0]]

    # ------------------------------------------------------------------------------------------ a new event

    def record(self, record: Record, tracker: Tracker, now_ns: int) -> Wanted | None:
        """Take up one input record."""
        if record.value is None:
            self._settlement.empty(tracker, record.offset, LedgerReason.TOMBSTONE)
            return None
        read = self._read(record)
        if isinstance(read, tuple):
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
        wanted = plan.routes.get(event.type)
        if wanted is None:
            self.misses.no_journey(record, event.type, event.id, plan.routes)
            self._settlement.empty(tracker, record.offset, LedgerReason.NO_JOURNEY)
            return
        matched = routes.match(wanted, datum, now_ms)
        if not matched:
            self._settlement.empty(tracker, record.offset, LedgerReason.CONDITION_FALSE)
            return
        flight = Flight(record, tracker, _place(record), event, self._trace(record, event), now_ns)
        for route, _ in matched:
            flight.deliveries += len(route.steps)
        self._settlement.opened(flight, flight.deliveries)
        headers = payload.event_headers(event)
        for route, refusal in matched:
            run = Run(flight, route, now_ms, moving=_moving(route.steps))
            self._start(run, event, datum, refusal, headers, now_ms)

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

    def _start(
        self, run: Run, event: Event, datum: Datum, refusal: SkipReason | None, headers: bytes, now_ms: int
    ) -> None:
        """Ask the gates about each step of a fresh run, build what they allow, offer it to its lane."""
        if refusal is not None:
            self.misses.condition(run.route.journey, TRIGGER, event.id)
        for step in run.route.steps:
            expires_ms = min(event.time_ms + step.max_age_ms, now_ms + step.retry.max_age_ms)
            delivery = Delivery(payload.delivery_id(event.id, step.id_suffix), step, run, b"", headers, expires_ms)
            reason = refusal or gates.ask(step, event, datum, now_ms, now_ms, self._flag_max_age_ms)
            if reason is not None:
                self._skip(delivery, reason, told=refusal is not None)
            else:
                self._offer(delivery, datum)

    def _skip(self, delivery: Delivery, reason: SkipReason, *, told: bool) -> None:
        if reason is SkipReason.CONDITION_ERROR and not told:
            step, event = delivery.step, delivery.run.flight.event
            assert event is not None
            self.misses.condition(step.journey, f"steps.{step.name}.when", event.id)
        self._settlement.skip(delivery, reason)

    def _offer(self, delivery: Delivery, datum: Datum) -> None:
        step = delivery.step
        body = step.render(datum, delivery.run.started_ms)
        if isinstance(body, Refused):
            self._settlement.finish(delivery, Outcome.DEAD, body.cls, body.field)
            return
        if step.target is not None:
            target = step.target(datum, delivery.run.started_ms)
            if isinstance(target, Refused):
                self._settlement.finish(delivery, Outcome.DEAD, target.cls, target.field)
                return
            delivery.target = target
        if step.metadata is not None:
            event = delivery.run.flight.event
            assert event is not None
            body = step.metadata(body, event, delivery.id)
        delivery.body = body
        if step.batch is None:
            self._lanes[step.destination].offer(delivery)
        else:
            self._lanes[step.destination].gather(delivery, step.batch)

    # ------------------------------------------------------------------------------------- a run handed over

    def retry(self, record: Record, tracker: Tracker, now_ns: int) -> Wanted | None:
        """Take up one released retry record: the waiting steps of one run."""
        state = journeys.decode(record.header(journeys.STATE_HEADER))
        if isinstance(state, journeys.Unreadable) or record.value is None:
            detail = state.detail if isinstance(state, journeys.Unreadable) else "run without its event"
            self._undecodable(record, tracker, detail, now_ns)
            return None
        read = self._read(_as_consumed(record, state.source))
        if isinstance(read, (int, bytes)):
            return state.source[0], read
        if self._repeated(state, record):
            self._settlement.dropped(tracker, record.offset)
        elif isinstance(read, tuple):
            self._resume(record, tracker, state, read, now_ns)
        else:
            detail = read.detail if isinstance(read, Undecodable) else "no mapping for this record any more"
            self._undecodable(record, tracker, detail, now_ns)
        return None

    def _resume(self, record: Record, tracker: Tracker, state: journeys.RunState, read: Read, now_ns: int) -> None:
        plan, event, datum = read
        now_ms = now_ns // 1_000_000
        trace = Trace(state.trace_id, state.link, state.sampled)
        flight = Flight(record, tracker, state.source, event, trace, now_ns, deliveries=state.deliveries)
        self._settlement.opened(flight, len(state.steps))
        route = next((each for each in plan.routes.get(event.type, ()) if each.journey == state.journey), None)
        known = {step.name: step for step in route.steps} if route is not None else {}
        waiting = [(state.steps[name], known.get(name) or _removed(state, name)) for name in state.steps]
        run = Run(
            flight, route or Route(state.journey, state.hash, 0, None, ()), state.started_ms, state.hop, state.parks,
            moving=_moving(step for _, step in waiting), link=state.link,
        )  # fmt: skip
        headers = payload.event_headers(event)
        for was, step in waiting:
            expires_ms = min(
                event.time_ms + step.max_age_ms, (was.first_ms or state.started_ms) + step.retry.max_age_ms
            )
            delivery = Delivery(
                payload.delivery_id(event.id, step.id_suffix), step, run, b"", headers, expires_ms, was.attempts,
                was.first_ms * 1_000_000, due_ms=was.due_ms, status=was.status, last_cls=was.cls,
            )  # fmt: skip
            told = self.told
            order = None
            if told is not None:
                order = told(step.destination, record.timestamp_ms, state.started_ms, was.cls in switches.HELD)
            if order is not None and order.verb == switches.DROP:
                self._settlement.skip(delivery, SkipReason.DROPPED)
                continue
            if order is not None:  # released: what its wait was for counts no more
                delivery.due_ms = 0
            self._go_on(delivery, event, datum, now_ms, known=step.name in known)

    def _go_on(self, delivery: Delivery, event: Event, datum: Datum, now_ms: int, *, known: bool) -> None:
        """Ask everything again that may have changed while the delivery waited."""
        settlement = self._settlement
        if not known:
            settlement.finish(delivery, Outcome.DEAD, FailureClass.CONFIG, "step_removed")
        elif now_ms >= delivery.expires_ms:
            settlement.finish(delivery, Outcome.DEAD, FailureClass.EXPIRED, delivery.last_cls)
        elif delivery.due_ms - now_ms > settlement.smallest_tier_ms:
            settlement.later(delivery, delivery.due_ms, delivery.last_cls, parked=False)
        elif (reason := self._refusal(delivery, event, datum, now_ms)) is not None:
            self._skip(delivery, reason, told=False)
        else:
            if delivery.last_cls in switches.HELD:  # is over, or will be said again
                delivery.last_cls = ""
            self._offer(delivery, datum)

    def _refusal(self, delivery: Delivery, event: Event, datum: Datum, now_ms: int) -> SkipReason | None:
        return gates.ask(delivery.step, event, datum, now_ms, delivery.run.started_ms, self._flag_max_age_ms)

    def _repeated(self, state: journeys.RunState, record: Record) -> bool:
        """Whether another record brought this hop. The same record again does not repeat: its partition was away."""
        hop = journeys.identity(state)
        place = record.topic, record.partition, record.offset
        known = self._hops.get(hop)
        if known is not None:
            return known != place
        self._hops[hop] = place
        if len(self._hops) > HOPS_REMEMBERED:
            self._hops.popitem(last=False)
        return False

    # ----------------------------------------------------------------------------------------------- both

    def _undecodable(self, record: Record, tracker: Tracker, detail: str, now_ns: int) -> None:
        place = _place(record)
        trace_id, parent_id, sampled = tracecontext.parse(
            record.header(tracecontext.HEADER), "/".join(map(str, place[:3]))
        )
        flight = Flight(record, tracker, place, None, Trace(trace_id, parent_id, sampled), now_ns)
        self._settlement.undecodable(flight, FailureClass.UNDECODABLE, detail)

    def _trace(self, record: Record, event: Event) -> Trace:
        trace_id, parent_id, flagged = tracecontext.parse(
            record.header(tracecontext.HEADER) if record.headers else None, event.id
        )
        return Trace(trace_id, parent_id, flagged or self._sampled(trace_id))


def _place(record: Record) -> tuple[str, int, int, int]:
    return record.topic, record.partition, record.offset, record.timestamp_ms


def _as_consumed(record: Record, source: tuple[str, int, int, int]) -> Record:
    """Put a retry record back where its event came from: an ID derived from the position must not change."""
    topic, partition, offset, stamp_ms = source
    return Record(topic, partition, offset, record.key, record.value, record.headers, stamp_ms)


def _moving(steps: Iterable[Step]) -> int:
    """Count the steps a run's hand-over waits for: `record` steps are handed over by themselves."""
    moving = 0
    for step in steps:
        if step.kind is not Kind.RECORD:
            moving += 1
    return moving


def _removed(state: journeys.RunState, name: str) -> Step:
    """Stand in for a step that is not in the configuration any more, so that its delivery can be settled."""

    def refused(_datum: object, _now_ms: int) -> Refused:
        return Refused(FailureClass.CONFIG, "")

    def no_head(*_: object) -> bytes:
        return b""

    return Step(
        journey=state.journey, name=name, kind=Kind.UPDATE, destination="", operation="", method="", url_template="",
        basis="", purpose="", channels=(), max_age_ms=0, id_suffix=f"/{state.journey}/{name}".encode(), when=None,
        render=refused, head=no_head, retry=RetryPolicy(0, 0, retry_ambiguous=False, tiers_ms=(), on_status={}),
        outcome_prefix=outcome.prefix(state.journey, state.hash, name, "", ""),
    )  # fmt: skip
