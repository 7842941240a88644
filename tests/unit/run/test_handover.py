"""run/handover: the next hop gets what its steps need, and nothing else."""

from __future__ import annotations

from pipeline.model import Outcome, Result, Waiting
from pipeline.run.handover import state_of
from tests.support.followed import after
from tests.unit.run.conftest import step


async def test_only_results_that_what_is_left_may_read_go_with_a_run(world) -> None:
    steps = (step("a"), step("other"), after("b", "a"), after("c", "b"), after("ended", "other"))
    _, _, waits, *_ = world.deliveries(*steps)
    run = waits.run
    run.results = {name: Result(Outcome.DELIVERED, "", 200, {"big": name}) for name in ("a", "other", "ended")}
    run.retried = frozenset({"a", "other"})
    state = state_of(run, [Waiting(waits, 7, "timeout", parked=False)], (steps[3],), 9, 2, "d" * 16)
    assert (set(state.steps), state.ahead, set(state.results), state.retried) == ({"b"}, ("c",), {"a"}, ("a",))
    assert (state.hop, state.parks, state.due_ms, state.deliveries) == (1, 2, 9, 5)


async def test_a_run_whose_steps_come_after_none_has_neither(world) -> None:
    (delivery,) = world.deliveries(step("a"))
    state = state_of(delivery.run, [Waiting(delivery, 7, "timeout", parked=False)], (), 9, 0, "")
    assert (state.ahead, state.results, state.retried) == ((), {}, ())
