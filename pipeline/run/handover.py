"""What of a run goes with it when it is handed over, and what a dead letter keeps of it: its state for the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core import journeys, runstate

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from pipeline.model import Delivery, Run, Step, Waiting
    from pipeline.ports import Headers


def state_of(
    run: Run, waiting: Sequence[Waiting], ahead: Sequence[Step], due_ms: int, parks: int, link: str
) -> runstate.RunState:
    """Return the state of a run of which these steps wait and those have not started.

    Of the steps that ended it has those alone that these come after. Times in Unix ms; `link` is the hand-over's span.
    """
    going = [*(each.delivery.step.name for each in waiting), *(step.name for step in ahead)]
    needed = journeys.before(going, run.route.steps) if run.results else ()
    steps = {each.delivery.step.name: _step(each.delivery, each.due_ms, each.cls) for each in waiting}
    names = tuple(step.name for step in ahead)
    return _state(run, steps, names, needed, hop=run.hop + 1, parks=parks, due_ms=due_ms, link=link)


def kept_of(failed: Delivery) -> Headers:
    """Return the header that lets a replay go on with the run of a delivery that failed for good; [] without need.

    It is needed where other steps ended, whose results it and the steps after it may read. Of results beyond
    `runstate.STATE_BYTES_MAX` only those are kept that the step itself may read, or none if even these are too large.
    """
    run, step = failed.run, failed.step
    others = (run.results or {}).keys() - {step.name}
    if not others:
        return []
    steps = {step.name: _step(failed, 0, failed.last_cls)}
    for needed in (others, journeys.before([step.name], run.route.steps)):
        state = _state(run, steps, (), needed, hop=run.hop, parks=run.parks, due_ms=0, link="")
        header = runstate.encode(state)
        if header is not None:
            return [(runstate.STATE_HEADER, header)]
    return []


def _step(delivery: Delivery, due_ms: int, cls: str) -> runstate.StepState:
    first_ms = delivery.first_ns // 1_000_000
    return runstate.StepState(delivery.attempts, due_ms, first_ms, cls, delivery.status, delivery.ambiguous)


def _state(
    run: Run, steps: Mapping[str, runstate.StepState], ahead: tuple[str, ...], needed: Collection[str], *, hop: int,
    parks: int, due_ms: int, link: str,
) -> runstate.RunState:  # fmt: skip
    flight = run.flight
    event = flight.event
    assert event is not None
    return runstate.RunState(
        journey=run.route.journey, hash=run.route.hash, event_id=event.id, source=flight.source,
        deliveries=flight.deliveries, started_ms=run.started_ms, hop=hop, parks=parks, due_ms=due_ms,
        trace_id=flight.trace.trace_id, sampled=flight.trace.sampled, link=link, steps=steps, ahead=ahead,
        results={name: result for name, result in (run.results or {}).items() if name in needed},
        retried=tuple(sorted(run.retried.intersection(needed))),
    )  # fmt: skip
