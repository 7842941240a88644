"""READ FIRST. The way of one event: decode, envelope, routes, gates, payload, then its lanes.

Synchronous from start to end: one call takes a Kafka record to run/follow, which starts the steps of its runs and
offers them to `lane.offer()` (run/dispatch), whose verdict comes back to run/settle, which has run/follow start what
comes after, and closes the position in core/offsets, which run/consume commits. Decisions are made in core/; here they
are only put in order and acted on.

What has to wait comes back: run/release or run/turns hold it, and hand it to `retry` once it is due or has its turn.
Where inputs are not keyed by customer and journeys remember, run/rekey takes their records, and `copy` the copies.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.core import definitions, gates, payload, rekey, routes, runstate, tracecontext
from pipeline.core.brake import BRAKING
from pipeline.model import (
    NOTHING,
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
from pipeline.run import follow, resume
from pipeline.run.misses import ONCE, TRIGGER, Misses
from pipeline.run.reading import Read, Reading, position, unread
from pipeline.run.seen import Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.core.offsets import Tracker
    from pipeline.core.switches import Order
    from pipeline.model import Datum, SchemaRef, Sign
    from pipeline.ports import Acked, Marks, Telemetry, Unknown
    from pipeline.run.asking import Asking
    from pipeline.run.dispatch import Lane
    from pipeline.run.memory import Recall
    from pipeline.run.reading import Foretell
    from pipeline.run.settle import Settlement
    from pipeline.run.suspects import Suspects


NO_EVENT: Final = Undecodable("run without its event")
NO_ORIGIN: Final = Undecodable("a run without what its event was copied from")
UNMAPPED: Final = "no mapping for this record any more"


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
        copies: str = "",
        *,
        rekeyed: bool = False,
    ) -> None:
        """`marks` is wanted where steps mark, `recall` where journeys ask for what is remembered.

        `copies` is the topic of events under their customers' IDs, "" if there is none; `rekeyed` says that journeys
        run from there, and not from the inputs: then run/rekey takes their records.
        """
        self._recall = recall
        if recall is not None:
            settlement.contacted = partial(recall.contacted, settlement.write)
        settlement.underway = asking.underway
        self.reading = Reading(planner)
        self._read = self.reading.read
        self._settlement = settlement
        self._sampled = telemetry.sampled
        self._log = telemetry.log
        self._newer = 0  # retry records of a later release, seen since that was last said
        self.misses = Misses(telemetry.log)
        self._follow = follow.Follow(lanes, settlement, self.misses, asking, marks)
        self._resumed = resume.Resume(self._follow, settlement, asking)
        self._asking = asking
        self._seen = Seen(copies)
        self.forget = self._seen.forget  # of partitions that go, what is open there
        self._copies = copies
        self._rekeyed = rekeyed
        self.told: Callable[[str, int, int, bool], Order | None] | None = None
        """`(destination, waiting since, begun, held back by hand)`, Unix ms, to the order that means such a step."""

    def taking(self, role: str) -> tuple[Callable[[Record, Tracker, int], Wanted | None], Foretell]:
        """Return what takes up records of a role (of a source), and what foretells what comes of it."""
        return {
            "input": (self.record, self.foretell), "events": (self.copy, self.foretell_copy),
            "retry": (self.retry, self.foretell_run), "ordered": (self.retry, self.foretell_run),
        }[role]  # fmt: skip

    def watch(self, suspects: Suspects) -> None:
        """Have it noted what is done for a record outside of its turn, and give up what is not to be taken up."""
        self._follow.noting = suspects.noting
        suspects.give_up = self._give_up

    def learn(self, topic: str, ref: SchemaRef, schema: object | Unknown) -> None:
        """Plan for records of a writer schema on a topic; an Unknown one makes them undecodable."""
        self.reading.learn(topic, ref, schema)

    def each_minute(self) -> None:
        """Say what came to nothing, and what is for a later release; ask again for schemas the registry did not know.

        One may have been registered late, or was read from a replica that lags.
        """
        self.misses.sum_up()
        if self._newer:
            self._log("warning", "run_state_newer", records=self._newer)
            self._newer = 0
        self.reading.ask_again()

    async def read(self, wanted: Unread) -> None:
        """Return once a partition of what is remembered has been read."""
        assert self._recall is not None
        await self._recall.whole(wanted.partition)

    def assigned(self, topic: str, partition: int) -> None:
        """Prepare for records of an input partition, or one of copies, that is ours from now on."""
        if self._recall is not None and (topic == self._copies) == self._rekeyed:
            self._recall.assigned(partition)

    def gone(self, topic: str, partition: int) -> None:
        """Note that an input partition, or one of copies, is not ours any more."""
        if self._recall is not None and (topic == self._copies) == self._rekeyed:
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

    def copy(self, record: Record, tracker: Tracker, now_ns: int) -> Wanted | None:
        """Take up one event that was copied under its customer's ID (run/rekey), the first time it was."""
        original = rekey.consumed(record)
        if original is None or original.value is None:
            self._undecodable(record, tracker, "a copy without what it was copied from", now_ns)
            return None
        record = rekey.taken(record, original)
        read = self._read(original)
        if isinstance(read, (int, bytes)):
            return original.topic, read
        if isinstance(read, tuple) and (partition := self._unready(read, position(record))) is not None:
            return Unread(partition)
        if self._seen.copy(original, record):
            self._settlement.empty(tracker, record.offset, LedgerReason.COPIED_TWICE)
        elif isinstance(read, tuple):
            self._event(record, tracker, read, now_ns)
        elif isinstance(read, LedgerReason):
            self._settlement.empty(tracker, record.offset, read)
        else:
            self._undecodable(record, tracker, read.detail, now_ns)
        return None

    def passed_over(self, record: Record) -> None:
        """Note what is not taken up again: of a copy its origin, so that a second one is known."""
        original = rekey.consumed(record) if record.topic == self._copies else None
        if original is not None:
            self._seen.copy(original, rekey.taken(record, original))

    def _unready(self, read: Read, source: tuple[str, int, int, int]) -> int | None:
        """Return the partition of the memory topic that must be read before an event can be asked about, if any."""
        if self._recall is None:
            return None
        partition = self._recall.partition(read[1].customer_id, source)
        return None if self._recall.ready(partition) else partition

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
        flight = Flight(record, tracker, position(record), event, self._trace(record, event), now_ns)
        for route, _ in matched:
            flight.deliveries += len(route.steps)
            runs[route.journey] = runs.get(route.journey, 0) + 1
        self._settlement.opened(flight, flight.deliveries)
        headers = payload.event_headers(event)
        if signs is not None and self._recall is not None:
            self._recall.notice(flight, signs, datum, now_ms, self._settlement.write)
        asking = self._asking
        known = asking.known(event, flight) if asking.looks or asking.tables.erasures else NOTHING
        duplicate = SkipReason.DUPLICATE if self._seen.event(event.id, flight.source) else None
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
        flight = Flight(record, tracker, position(record), event, self._trace(record, event), now_ns, ledger=reason)

        def write(flight: Flight) -> Acked:
            if not flight.open:
                settlement.opened(flight, 0)
            return settlement.write(flight)

        if not self._recall.notice(flight, signs, datum, now_ns // 1_000_000, write):
            settlement.empty(tracker, record.offset, reason)

    # ------------------------------------------------------------------------------------- a run handed over

    def retry(self, record: Record, tracker: Tracker, now_ns: int) -> Wanted | None:
        """Take up one released retry record, or an entry of a log whose turn it is: the waiting steps of one run."""
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        if isinstance(state, runstate.Unreadable) and state.newer:
            self._newer += 1
            self._settlement.pass_on(unread(record, tracker, now_ns))
            return None
        if isinstance(state, runstate.Unreadable):
            self._undecodable(record, tracker, state.detail, now_ns)
            return None
        original = self._as_consumed(record, state.source)
        read = self._read(original) if isinstance(original, Record) else original
        if isinstance(read, (int, bytes)):
            assert isinstance(original, Record)
            return original.topic, read
        if isinstance(read, tuple) and (partition := self._unready(read, state.source)) is not None:
            return Unread(partition)
        route = self._route(state, read) if isinstance(read, tuple) else None
        if route == definitions.LATER:
            self._newer += 1
            self._settlement.pass_on(unread(record, tracker, now_ns))
        elif self._seen.hop(state, record):
            self._settlement.dropped(tracker, record.offset)
        elif isinstance(read, tuple):
            _, event, datum = read
            self._resume(record, tracker, state, event, datum, route, now_ns)
        else:  # its deliveries were announced: each has to end, under what the state still says of the event
            event = Event(state.event_id, "", state.source[3], "", {})
            why = read if isinstance(read, Undecodable) else UNMAPPED
            self._resume(record, tracker, state, event, {}, why, now_ns)
        return None

    def _route(self, state: runstate.RunState, read: Read) -> Route | str | None:
        """Find what a run is finished by: the definition it began with, or a word that says why there is none."""
        plan, event, _ = read
        route = next((each for each in plan.routes.get(event.type, ()) if each.journey == state.journey), None)
        if (route is None or route.hash != state.hash) and plan.pinned is not None and definitions.is_kept(state.hash):
            return plan.pinned(state.hash)
        return route

    def _resume(
        self, record: Record, tracker: Tracker, state: runstate.RunState, event: Event, datum: Datum,
        route: Route | Undecodable | str | None, now_ns: int,
    ) -> None:  # fmt: skip
        trace = Trace(state.trace_id, state.link, state.sampled)
        flight = Flight(record, tracker, state.source, event, trace, now_ns, deliveries=state.deliveries)
        self._resumed.go_on(flight, state, route, event, datum, self.told, now_ns // 1_000_000)

    def _as_consumed(self, record: Record, source: tuple[str, int, int, int]) -> Record | Undecodable:
        """Put a retry record back where its event came from: an ID derived from the position must not change."""
        topic, partition, offset, stamp_ms = source
        if record.value is None:
            return NO_EVENT
        if topic == self._copies:
            return rekey.consumed(record) or NO_ORIGIN
        return Record(topic, partition, offset, record.key, record.value, record.headers, stamp_ms)

    def _give_up(self, role: str, record: Record, tracker: Tracker, now_ns: int) -> None:
        """Put a record on the dead topic that workers died over; of a run that waited, end all deliveries."""
        flight = unread(record, tracker, now_ns)
        if role not in ("retry", "ordered") or not self._resumed.give_up(flight):
            self._settlement.undecodable(flight, FailureClass.BUG, resume.CRASHED)

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

    def foretell_copy(self, record: Record, now_ns: int) -> FailureClass | tuple[str, SchemaRef] | None:
        """Say the same of a copied event."""
        original = rekey.consumed(record)
        return FailureClass.UNDECODABLE if original is None else self.foretell(original, now_ns)

    def foretell_run(self, record: Record, _now_ns: int) -> FailureClass | tuple[str, SchemaRef] | None:
        """Say the same of a released retry record."""
        state = runstate.decode(record.header(runstate.STATE_HEADER))
        if isinstance(state, runstate.Unreadable):
            return None if state.newer else FailureClass.UNDECODABLE
        original = self._as_consumed(record, state.source)
        read = self._read(original) if isinstance(original, Record) else original
        if isinstance(read, (int, bytes)):
            assert isinstance(original, Record)
            return original.topic, read
        if self._asking.drafted(state.journey):
            return None
        if not isinstance(read, tuple):
            return FailureClass.CONFIG if isinstance(read, LedgerReason) else FailureClass.UNDECODABLE
        route = self._route(state, read)
        if route == definitions.LATER:
            return None
        steps = {step.name for step in route.steps} if isinstance(route, Route) else set()
        return None if steps.issuperset(state.steps) else FailureClass.CONFIG

    # ----------------------------------------------------------------------------------------------- both

    def _undecodable(self, record: Record, tracker: Tracker, detail: str, now_ns: int) -> None:
        self._settlement.undecodable(unread(record, tracker, now_ns), FailureClass.UNDECODABLE, detail)

    def _trace(self, record: Record, event: Event) -> Trace:
        trace_id, parent_id, flagged = tracecontext.parse(
            record.header(tracecontext.HEADER) if record.headers else None, event.id
        )
        return Trace(trace_id, parent_id, flagged or self._sampled(trace_id))
