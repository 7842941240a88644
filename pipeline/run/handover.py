"""What of a run goes with it when it is handed over: its state as the next hop needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core import journeys, runstate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.model import Run, Step, Waiting


def state_of(
    run: Run, waiting: Sequence[Waiting], ahead: Sequence[Step], due_ms: int, parks: int, link: str
) -> runstate.RunState:
    """Return the state of a run of which these steps wait and those have not started.

    Of the steps that ended it has those alone that these come after. Times in Unix ms; `link` is the hand-over's span.
    """
    flight = run.flight
    event = flight.event
    assert event is not None
    going = [*(each.delivery.step.name for each in waiting), *(step.name for step in ahead)]
    needed = journeys.before(going, run.route.steps) if run.results else ()
    return runstate.RunState(
        journey=run.route.journey, hash=run.route.hash, event_id=event.id, source=flight.source,
        deliveries=flight.deliveries, started_ms=run.started_ms, hop=run.hop + 1, parks=parks, due_ms=due_ms,
        trace_id=flight.trace.trace_id, sampled=flight.trace.sampled, link=link,
        steps={
            each.delivery.step.name: runstate.StepState(
                each.delivery.attempts, each.due_ms, each.delivery.first_ns // 1_000_000, each.cls,
                each.delivery.status,
            )
            for each in waiting
        },
        ahead=tuple(step.name for step in ahead),
        results={name: result for name, result in (run.results or {}).items() if name in needed},
        retried=tuple(sorted(run.retried.intersection(needed))),
    )  # fmt: skip
