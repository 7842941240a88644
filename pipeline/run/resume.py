"""Resumes a run that was handed over: asks everything again that may have changed while its steps waited."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.core import gates, journeys, outcome, payload, runstate, switches
from pipeline.model import (
    REPLAYED,
    RESULTS,
    Datum,
    Delivery,
    Event,
    FailureClass,
    Flight,
    Kind,
    Outcome,
    Refused,
    Result,
    RetryPolicy,
    Route,
    Run,
    SkipReason,
    Step,
    Trace,
    Undecodable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.core.switches import Order
    from pipeline.run.asking import Asking
    from pipeline.run.follow import Follow
    from pipeline.run.settle import Settlement

REMOVED: Final = "step_removed"
"""Reason of a delivery whose step is not in the definition that its run is finished by."""


CRASHED: Final = "crashed_its_worker"
"""Reason of what was given up because workers died over its record."""


class Resume:
    """Of one worker. Nothing here waits or raises but for a bug of ours."""

    def __init__(self, follow: Follow, settlement: Settlement, asking: Asking) -> None:
        self._follow = follow
        self._settlement = settlement
        self._asking = asking

    def go_on(
        self,
        flight: Flight,
        state: runstate.RunState,
        route: Route | Undecodable | str | None,
        event: Event,
        datum: Datum,
        told: Callable[[str, int, int, bool], Order | None] | None,
        now_ms: int,
    ) -> None:
        """Take up the steps of a run that wait, and those that were not started.

        `route` None: its journey is gone; a word says why its definition is of no use, Undecodable why its event is.
        """
        why = route if isinstance(route, (str, Undecodable)) else REMOVED
        route = None if isinstance(route, (str, Undecodable)) else route
        self._settlement.opened(flight, len(state.steps) + len(state.ahead))
        route = self._asking.today(route or Route(state.journey, state.hash, 0, None, ()))
        known = {step.name: step for step in route.steps}
        waiting = [(state.steps[name], known.get(name) or removed(state, name)) for name in state.steps]
        run = Run(
            flight, route, state.started_ms, state.hop, state.parks,
            moving=sum(step.kind is not Kind.RECORD for _, step in waiting), link=state.link,
        )  # fmt: skip
        if run.route.cancel_on:
            run.cancels = gates.cancels(run.route, datum, run.started_ms)
        if state.ahead or state.results:
            self._restore(run, state, known, datum, why)
        headers = payload.event_headers(event)
        for was, step in waiting:
            expires_ms = min(
                event.time_ms + step.max_age_ms, (was.first_ms or state.started_ms) + step.retry.max_age_ms
            )
            delivery = Delivery(
                payload.delivery_id(event.id, step.id_suffix), step, run, b"", headers, expires_ms, was.attempts,
                was.first_ms * 1_000_000, due_ms=was.due_ms, status=was.status, last_cls=was.cls,
                ambiguous=was.ambiguous,
            )  # fmt: skip
            order = None
            if told is not None:
                held = was.cls in switches.HELD
                order = told(step.destination, flight.record.timestamp_ms, state.started_ms, held)
            if order is not None and order.verb == switches.DROP:
                self._settlement.skip(delivery, SkipReason.DROPPED)
                continue
            if order is not None:  # released: what its wait was for counts no more
                delivery.due_ms = 0
            self._step(delivery, event, datum, now_ms, gone="" if step.name in known else why)
        if run.results is not None:
            self._follow.ended(run, now_ms)

    def give_up(self, flight: Flight) -> bool:
        """End all deliveries of a run: workers died over its record. False: the record has no state that says which.

        The event is not read: what is known of it is in the state.
        """
        state = runstate.decode(flight.record.header(runstate.STATE_HEADER))
        if isinstance(state, runstate.Unreadable):
            return False
        flight.source, flight.deliveries = state.source, state.deliveries
        flight.event = Event(state.event_id, "", state.started_ms, "", {})
        flight.trace = Trace(state.trace_id, state.link, state.sampled)
        names = (*state.steps, *state.ahead)
        self._settlement.opened(flight, len(names))
        route = Route(state.journey, state.hash, 0, None, ())
        run = Run(flight, route, state.started_ms, state.hop, state.parks, moving=len(names), link=state.link)
        for name in names:
            was, step = state.steps.get(name), removed(state, name)
            delivery = Delivery(payload.delivery_id(state.event_id, step.id_suffix), step, run, b"", b"", 0)
            if was is not None:
                delivery.attempts, delivery.first_ns, delivery.status = (
                    was.attempts,
                    was.first_ms * 1_000_000,
                    was.status,
                )
            self._settlement.finish(delivery, Outcome.DEAD, FailureClass.BUG, CRASHED)
        return True

    def _restore(
        self, run: Run, state: runstate.RunState, known: Mapping[str, Step], datum: Datum,
        why: str | Undecodable,
    ) -> None:  # fmt: skip
        """Put a run back where it stopped. What the configuration does not have any more ends now."""
        here = tuple(known[name] for name in state.ahead if name in known)
        self._follow.keep(run, datum, here)
        results = run.results
        assert results is not None
        results.update(state.results)
        run.retried = frozenset(state.retried)
        for parent in journeys.unknown(here, {*state.results, *state.steps, *state.ahead}):
            results[parent] = Result(Outcome.SKIPPED, SkipReason.UPSTREAM, 0)
        event = run.flight.event
        assert event is not None
        gone = [removed(state, name) for name in state.ahead if name not in known]
        run.moving += len(gone)
        for step in gone:
            name = payload.delivery_id(event.id, step.id_suffix)
            delivery = Delivery(name, step, run, b"", b"", 0)
            self._removed(delivery, why)

    def _step(self, delivery: Delivery, event: Event, datum: Datum, now_ms: int, *, gone: str | Undecodable) -> None:
        settlement = self._settlement
        if gone:
            self._removed(delivery, gone)
        elif now_ms >= delivery.expires_ms and not _too_old_to_replay(delivery, event, now_ms):
            if delivery.step.default is not None:
                delivery.fallback = delivery.step.default(_seen(datum, delivery.run), delivery.run.started_ms)
            settlement.finish(delivery, Outcome.DEAD, FailureClass.EXPIRED, delivery.last_cls)
        elif delivery.due_ms - now_ms > settlement.smallest_tier_ms:
            settlement.later(delivery, delivery.due_ms, delivery.last_cls, parked=False)
        else:
            self._follow.ask(delivery, event, datum, now_ms)

    def _removed(self, delivery: Delivery, why: str | Undecodable) -> None:
        """Settle what the configuration has no step for: of a draft, of purpose."""
        if self._asking.drafted(delivery.step.journey):
            self._settlement.skip(delivery, SkipReason.STATUS)
        elif isinstance(why, Undecodable):
            self._settlement.finish(delivery, Outcome.DEAD, FailureClass.UNDECODABLE, why.detail)
        else:
            self._settlement.finish(delivery, Outcome.DEAD, FailureClass.CONFIG, why)


def _too_old_to_replay(delivery: Delivery, event: Event, now_ms: int) -> bool:
    """Whether a replayed delivery's event is past its age: its gate says so, which is no failure."""
    return delivery.last_cls == REPLAYED and now_ms - event.time_ms > delivery.step.max_age_ms


def _seen(datum: Datum, run: Run) -> Datum:
    """Give the event as a step of this run sees it: with the results of those before."""
    if run.results is not None:
        datum[RESULTS] = run.results
    return datum


def removed(state: runstate.RunState, name: str) -> Step:
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
