"""run/handover: the next hop gets what its steps need, and nothing else."""

from __future__ import annotations

from pipeline.core import runstate
from pipeline.model import Outcome, Result, Waiting
from pipeline.run.handover import kept_of, state_of
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


# ------------------------------------------------------------------------------------------------ what a letter keeps


def ended(**responses: object) -> dict[str, Result]:
    return {name: Result(Outcome.DELIVERED, "", 200, {"text": text}) for name, text in responses.items()}


async def test_a_letter_keeps_how_all_steps_before_ended_also_those_of_other_branches(world) -> None:
    *_, failed, _ = world.deliveries(step("a"), step("side"), after("b", "a"), after("c", "b", "side"))
    failed.run.results, failed.run.retried = ended(a="A", side="S"), frozenset({"side"})
    failed.attempts, failed.status, failed.ambiguous, failed.run.hop = 3, 422, True, 2
    ((name, header),) = kept_of(failed)
    state = runstate.decode(header)
    assert isinstance(state, runstate.RunState)
    assert (name, state.results, state.retried, state.hop) == (
        runstate.STATE_HEADER,
        ended(a="A", side="S"),
        ("side",),
        2,
    )
    assert state.steps == {"b": runstate.StepState(3, 0, 0, "", 422, ambiguous=True)}


async def test_of_too_much_it_keeps_what_the_step_itself_may_read_and_else_nothing(world) -> None:
    much = "x" * (runstate.STATE_BYTES_MAX - 10_000)
    *_, failed = world.deliveries(step("a"), step("side"), after("b", "a"))
    failed.run.results = ended(a="A", side=much + "x" * 10_000)
    assert list(runstate.decode(dict(kept_of(failed))[runstate.STATE_HEADER]).results) == ["a"]
    failed.run.results = ended(a=much, side="S")
    assert list(runstate.decode(dict(kept_of(failed))[runstate.STATE_HEADER]).results) == ["a", "side"]
    failed.run.results = ended(a=much + "x" * 10_000)
    assert kept_of(failed) == []


async def test_a_run_without_results_keeps_nothing(world) -> None:
    (delivery,) = world.deliveries(step("a"))
    assert kept_of(delivery) == []
    delivery.run.results = {}
    assert kept_of(delivery) == []
