"""Follows a run: starts its first steps, and each later one once those before it ended.

Asks the gates about a step, builds what they allow, offers it to its lane. Synchronous; what a step that ends at once
makes possible waits in a list for its turn, so that nothing is called from within itself.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from pipeline.core import gates, journeys, payload, switches
from pipeline.model import (
    ABSENT,
    REPLAYED,
    RESULTS,
    ROWS,
    TABLE_STALE,
    TURN,
    WAITS,
    Datum,
    Delivery,
    Event,
    FailureClass,
    Flight,
    Gate,
    Hold,
    Kind,
    Known,
    Mark,
    Outcome,
    Refused,
    Route,
    Run,
    SkipReason,
    Step,
    Waiting,
)
from pipeline.run.budget import Budgets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from pipeline.model import Record
    from pipeline.ports import Marks
    from pipeline.run.asking import Asking
    from pipeline.run.dispatch import Lane
    from pipeline.run.misses import Misses
    from pipeline.run.settle import Settlement


_UNSENT: Final = {"shadow": SkipReason.SHADOW, "dry": SkipReason.DRY}
"""By what a journey's status comes to: nothing is sent, and how its deliveries end instead."""
OVER: Final = (*switches.HELD, *WAITS, REPLAYED, TURN)
"""Why a delivery waited that no attempt of its own was the reason for."""


class Follow:
    """Of one worker. Nothing here waits or raises but for a bug of ours."""

    def __init__(
        self,
        lanes: Mapping[str, Lane],
        settlement: Settlement,
        misses: Misses,
        asking: Asking,
        marks: Marks | None,
    ) -> None:
        """`marks` None: there are no tables to write to, and so no steps that mark."""
        self._lanes = lanes
        self._settlement = settlement
        self._misses = misses
        self._marks = marks
        self._budgets = Budgets(lanes, settlement)
        self._asking = asking
        self._policy = asking.policy
        self._turns: deque[Run] = deque()
        self._turning = False
        self.noting: Callable[[Record], AbstractContextManager[None]] = _unnoted
        """Asked around what is done for a record outside of its turn: see run/suspects."""
        settlement.follow = self.ended

    def begin(  # noqa: C901 - calls less: the hot path
        self, flight: Flight, route: Route, event: Event, datum: Datum, known: Known, refusal: SkipReason | None,
        headers: bytes, now_ms: int,
    ) -> None:  # fmt: skip
        """Start a fresh run: those of its steps that come after no other, or end all of them for `refusal`.

        `known` is what tables and memory say of the customer. Of a journey that keeps order it waits for its turn.
        """
        if route.ordered and refusal is None:
            self._queue(flight, route, event, now_ms)
            return
        moving, ahead = journeys.shape(route.steps)
        run = Run(flight, route, now_ms, moving=moving)
        if route.cancel_on:
            run.cancels = gates.cancels(route, datum, now_ms)
        if refusal is not None:
            run.moving += len(ahead)
        elif ahead:
            self.keep(run, datum, ahead)
        for step in route.steps:
            if refusal is None and step.after:
                continue
            expires_ms = min(event.time_ms + step.max_age_ms, now_ms + step.retry.max_age_ms)
            delivery = Delivery(payload.delivery_id(event.id, step.id_suffix), step, run, b"", headers, expires_ms)
            if step.quiet:
                delivery.zones = gates.zones(step, datum, now_ms)
            if step.looks_up and refusal is None:
                gate = self._looked_up(delivery, event, datum, known, now_ms)
            else:
                gate = refusal or gates.ask(delivery, event, datum, known, self._policy, now_ms)
            if gate is None and step.caps:
                gate = self._asking.underway.enter(delivery, known, now_ms)
            if gate is None:
                delivery.asked_ns = now_ms * 1_000_000
                self.offer(delivery, datum)
            else:
                self.refuse(delivery, gate, told=refusal is not None)

    def _queue(self, flight: Flight, route: Route, event: Event, now_ms: int) -> None:
        """Let a fresh run wait for its turn in the log of its journey: its gates are asked when it comes."""
        run = Run(flight, route, now_ms)
        names = [(step, payload.delivery_id(event.id, step.id_suffix)) for step in route.steps if not step.after]
        waiting = [Waiting(Delivery(name, step, run, b"", b"", 0), 0, TURN, parked=False) for step, name in names]
        self._settlement.queue(run, waiting, [step for step in route.steps if step.after])

    def keep(self, run: Run, datum: Datum, ahead: tuple[Step, ...]) -> None:
        """Make a run keep what its later steps are made of."""
        run.results, run.datum, run.ahead = {}, datum, ahead
        self._settlement.keeps_datum(run.flight)

    # ------------------------------------------------------------------------------------------- what is next

    def ended(self, run: Run, now_ms: int) -> None:
        """Start or end what the steps that ended so far decide; hand the run over if all of the rest waits."""
        self._turns.append(run)
        if self._turning:
            return
        self._turning = True
        try:
            while self._turns:
                run = self._turns.popleft()
                with self.noting(run.flight.record):
                    self._turn(run, now_ms)
        finally:
            self._turning = False

    def _turn(self, run: Run, now_ms: int) -> None:
        if run.flight.tracker.closed:
            return  # another worker's by now, who starts from the position
        results = run.results
        assert results is not None
        going = True
        while going:
            going = False
            for step in run.ahead:
                starts = journeys.ready(step, results, run.retried)
                if starts is not None:
                    going = True
                    run.ahead = tuple(each for each in run.ahead if each is not step)
                    self._next(run, step, now_ms, starts=starts)
        self._settlement.rest(run)

    def _next(self, run: Run, step: Step, now_ms: int, *, starts: bool) -> None:
        """Start a step whose parents allow it, or end it."""
        flight, datum = run.flight, run.datum
        event = flight.event
        assert event is not None
        if step.kind is not Kind.RECORD:
            run.moving += 1
        expires_ms = min(event.time_ms + step.max_age_ms, now_ms + step.retry.max_age_ms)
        name = payload.delivery_id(event.id, step.id_suffix)
        delivery = Delivery(name, step, run, b"", payload.event_headers(event), expires_ms)
        if starts and flight.tracker.leaving:  # nothing new starts here: its gates are asked where it does
            self._settlement.later(delivery, now_ms, "", parked=False)
            return
        if starts:
            self.ask(delivery, event, datum, now_ms)
            return
        gate = gates.of_run(run, event, self._asking.known(event, flight), step.max_age_ms, now_ms)
        self._settlement.skip(delivery, gate if isinstance(gate, SkipReason) else SkipReason.UPSTREAM)

    def ask(self, delivery: Delivery, event: Event, datum: Datum, now_ms: int) -> None:
        """Ask the gates about a step that was not there at the start of its run, or waited; act on what they say."""
        run, step = delivery.run, delivery.step
        if run.results is not None:
            datum[RESULTS] = run.results
        if step.quiet:
            delivery.zones = gates.zones(step, datum, run.started_ms)
        known = self._asking.known(event, run.flight)
        if step.looks_up:
            gate = self._looked_up(delivery, event, datum, known, now_ms)
        else:
            gate = gates.ask(delivery, event, datum, known, self._policy, now_ms)
        if gate is None and step.caps:
            gate = self._asking.underway.enter(delivery, known, now_ms)
        if gate is not None:
            self.refuse(delivery, gate, told=False)
            return
        if delivery.last_cls in OVER:  # is over, or will be said again
            delivery.last_cls = ""
        delivery.asked_ns = now_ms * 1_000_000
        self.offer(delivery, datum)

    def _looked_up(self, delivery: Delivery, event: Event, datum: Datum, known: Known, now_ms: int) -> Gate:
        """Ask the gates about a step that reads look-ups: what skips it comes first, then it waits for rows."""
        rows = self._asking.rows(event, delivery.step)
        if rows is None:
            gate = gates.ask(delivery, event, None, known, self._policy, now_ms)
            return gate or Hold(now_ms + gates.STALE_RECHECK_MS, TABLE_STALE)
        datum[ROWS] = rows
        return gates.ask(delivery, event, datum, known, self._policy, now_ms)

    # ------------------------------------------------------------------------------------------------ one step

    def refuse(self, delivery: Delivery, gate: SkipReason | Hold, *, told: bool) -> None:
        """Let a delivery wait, or end it; a condition that erred is noted unless `told`."""
        if isinstance(gate, Hold):
            self._settlement.later(delivery, gate.until_ms, gate.why, parked=False)
            return
        if gate is SkipReason.CONDITION_ERROR and not told:
            step, event = delivery.step, delivery.run.flight.event
            assert event is not None
            self._misses.condition(step.journey, f"steps.{step.name}.when", event.id)
        self._settlement.skip(delivery, gate)

    def offer(self, delivery: Delivery, datum: Datum) -> None:  # noqa: C901 - calls less: the hot path
        """Build the request and offer the delivery to its lane; what cannot be built is dead."""
        step = delivery.step
        started_ms = delivery.run.started_ms
        if step.deadline is not None and not self._timely(delivery, step.deadline(datum, started_ms)):
            return
        if step.mark is not None:
            self._mark(delivery, step.mark(datum, started_ms))
            return
        body = step.render(datum, started_ms)
        if isinstance(body, Refused):
            self._settlement.finish(delivery, Outcome.DEAD, body.cls, body.field)
            return
        if step.target is not None:
            target = step.target(datum, started_ms)
            if isinstance(target, Refused):
                self._settlement.finish(delivery, Outcome.DEAD, target.cls, target.field)
                return
            delivery.target = target
        if step.default is not None:
            delivery.fallback = step.default(datum, started_ms)
            if step.budget_ms:
                self._budgets.start(delivery)
        if step.metadata is not None:
            event = delivery.run.flight.event
            assert event is not None
            body = step.metadata(body, event, delivery.id)
        delivery.body = body
        if delivery.run.route.status in _UNSENT:
            self._shadow(delivery)
        elif step.batch is None:
            self._lanes[step.destination].offer(delivery)
        else:
            self._lanes[step.destination].gather(delivery, step.batch)

    def _shadow(self, delivery: Delivery) -> None:
        """End what would be sent now; its default is what later steps read."""
        if delivery.fallback is not None and not isinstance(delivery.fallback, Refused):
            delivery.response = delivery.fallback
        self._settlement.skip(delivery, _UNSENT[delivery.run.route.status])

    def _timely(self, delivery: Delivery, deadline: object) -> bool:
        """Whether an attempt may begin now: there is no deadline, or it is to come. Else the delivery is skipped."""
        if deadline is ABSENT:
            return True
        if not isinstance(deadline, int):
            step, event = delivery.step, delivery.run.flight.event
            assert event is not None
            self._misses.condition(step.journey, f"steps.{step.name}.deadline", event.id)
            self._settlement.skip(delivery, SkipReason.CONDITION_ERROR)
            return False
        if self._budgets.until(delivery, deadline):
            return True
        self._settlement.skip(delivery, SkipReason.EXPIRED)
        return False

    def _mark(self, delivery: Delivery, mark: Mark | Refused) -> None:
        """Write to our own tables; the delivery is settled once that is durable."""
        settlement, event = self._settlement, delivery.run.flight.event
        assert event is not None
        if isinstance(mark, Refused):
            settlement.finish(delivery, Outcome.DEAD, mark.cls, mark.field)
        elif delivery.run.route.status in _UNSENT:
            settlement.skip(delivery, _UNSENT[delivery.run.route.status])
        elif self._marks is None:
            settlement.finish(delivery, Outcome.DEAD, FailureClass.CONFIG, "no_tables")
        else:
            now_ms = settlement.clock() // 1_000_000
            if not self._marks.write(event.customer_id, mark, now_ms, partial(settlement.marked, delivery)):
                settlement.finish(delivery, Outcome.DEAD, FailureClass.INVALID_IDENTIFIER, "mark")


_NOTHING: Final[AbstractContextManager[None]] = nullcontext()


def _unnoted(_record: Record) -> AbstractContextManager[None]:
    return _NOTHING


def foretold(route: Route, datum: Datum, now_ms: int) -> FailureClass | None:
    """Say why a first step of a run could not be built; None if all could, or would not start."""
    for step in route.steps:
        if step.after or (step.when is not None and step.when(datum, now_ms) is not True):
            continue
        made: list[object] = [step.render(datum, now_ms) if step.mark is None else step.mark(datum, now_ms)]
        if step.target is not None:
            made.append(step.target(datum, now_ms))
        for each in made:
            if isinstance(each, Refused):
                return each.cls
    return None
