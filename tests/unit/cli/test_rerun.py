"""cli/rerun: what of a run is sent again, what goes on with it, and what a worker makes of the record."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli import rerun
from pipeline.cli.rerun import Chosen, Kept
from pipeline.core import journeys, replay, runstate
from pipeline.model import Edge, Outcome, Result
from tests.support.followed import ENDED

SKIPPED = ("skipped", "upstream")


def target(name: str, *parents: str | tuple[str, ...], keeps=False, any_parent=False) -> replay.Target:
    """A step; a parent is its name, or name and outcomes."""
    edges = [Edge(each, ENDED) if isinstance(each, str) else Edge(each[0], frozenset(map(Outcome, each[1:])))
             for each in parents]  # fmt: skip
    return replay.Target(name, "update", drops_repeats=True, suffix=name.encode(), after=tuple(edges),
                         any_parent=any_parent, keeps=keeps)  # fmt: skip


def row(outcome: str, reason: str = "", hop: int = 0, **more) -> SimpleNamespace:
    told = {"topic": "in", "partition": 1, "offset": 7, "record_time_ms": 5, "deliveries": 4, "event_id": "e-1",
            "trace_id": "t" * 32, "status": 0}  # fmt: skip
    return SimpleNamespace(**told, outcome=Outcome(outcome), reason=reason, hop=hop, **more)


def planned(targets, failed: dict[str, Kept | None], **ended: tuple[str, ...] | str):
    """Plan a run of these steps: those that failed by what their letters keep, the others by how they ended."""
    steps = {each.name: each for each in targets}
    rows = {name: row(*((each,) if isinstance(each, str) else each)) for name, each in ended.items()}
    rows |= {name: row("dead", "timeout") for name in failed if name not in rows}
    chosen = [Chosen((0, at), rows[name], steps[name], "timeout", False, kept)
              for at, (name, kept) in enumerate(failed.items())]  # fmt: skip
    return rerun.plan("welcome", steps, chosen, rows)


def kept(*retried: str, **ended: str) -> Kept:
    return Kept({name: Result(Outcome(each), "", 0) for name, each in ended.items()}, frozenset(retried))


CHAIN = (target("ask", keeps=True), target("send", "ask"), target("report", "send"))


def shape(found: rerun.Rerun | None) -> tuple:
    assert found is not None
    return found.steps, found.ahead, {name: each.outcome.value for name, each in found.results.items()}


def test_a_first_step_goes_on_with_all_that_was_skipped_because_of_it_without_any_letter() -> None:
    found, left, stay = planned(CHAIN, {"ask": None}, send=SKIPPED, report=SKIPPED)
    assert (shape(found), left, stay) == ((("ask",), ("send", "report"), {}), {}, 0)
    assert (found.size, len(found.along)) == (3, 2)


def test_a_later_step_has_the_results_it_may_read_and_goes_on() -> None:
    found, left, _ = planned(CHAIN, {"send": kept(ask="delivered")}, report=SKIPPED)
    assert (shape(found), left) == ((("send",), ("report",), {"ask": "delivered"}), {})


def test_without_the_answers_it_may_read_a_later_step_is_left_alone() -> None:
    found, left, _ = planned(CHAIN, {"send": None}, ask="delivered", report=SKIPPED)
    assert (found, left) == (None, {replay.NO_RESULTS: 1})
    found, left, _ = planned(CHAIN, {"report": None}, ask="delivered", send="delivered")
    assert (found, left) == (None, {replay.NO_RESULTS: 1})
    plain = (target("ask"), *CHAIN[1:])
    found, _, _ = planned(plain, {"send": None}, ask="delivered", report=SKIPPED)
    assert shape(found) == (("send",), ("report",), {"ask": "delivered"}), "outcomes say all there is to know"


def test_what_ended_is_not_started_again_whatever_it_came_after() -> None:
    steps = (target("a"), target("sorry", ("a", "dead")), target("next", "a"), target("both", "sorry", "next"))
    found, _, _ = planned(steps, {"a": None}, sorry="delivered", next=SKIPPED, both=SKIPPED)
    assert shape(found) == (("a",), ("next", "both"), {"sorry": "delivered"})
    found, _, _ = planned(steps, {"a": None}, sorry="delivered", next=("skipped", "consent"), both=SKIPPED)
    assert shape(found) == (("a",), ("both",), {"sorry": "delivered", "next": "skipped"})


def test_a_step_that_only_came_after_a_failure_is_asked_again_whether_it_still_does() -> None:
    steps = (target("a"), target("sorry", ("a", "dead")))
    letter = kept(a="dead")
    assert shape(planned(steps, {"sorry": letter}, a=("dead", "timeout"))[0]) == (("sorry",), (), {"a": "dead"})
    found, left, _ = planned(steps, {"sorry": letter}, a="delivered")
    assert (found, left) == (None, {replay.UPSTREAM: 1}), "a was delivered since: by a replay"
    assert planned(steps, {"sorry": letter}, a=("retrying", "replayed"))[1] == {replay.RUNS: 1}
    found, _, _ = planned(steps, {"a": None, "sorry": letter})
    assert shape(found) == (("a",), ("sorry",), {}), "once it is known how a ended"
    assert found.along == ()


def test_failures_of_one_run_go_together_and_what_comes_after_both_goes_on() -> None:
    steps = (target("a"), target("b"), target("both", "a", "b"), target("one", "a", "b", any_parent=True))
    found, _, _ = planned(steps, {"a": None, "b": None}, both=SKIPPED, one=SKIPPED)
    assert shape(found) == (("a", "b"), ("both", "one"), {})
    found, _, stay = planned(steps, {"a": None}, b=("dead", "tls"), both=SKIPPED, one=SKIPPED)
    assert (shape(found), stay) == ((("a",), ("both", "one"), {"b": "dead"}), 0), "skipped again, or started, by a"


def test_a_run_of_which_another_step_waits_is_left_alone_if_a_later_step_comes_after_both() -> None:
    steps = (target("a"), target("b"), target("both", "a", "b"), target("last", "both"))
    found, left, _ = planned(steps, {"a": None}, b=("retrying", "timeout"), both=SKIPPED, last=SKIPPED)
    assert (found, left) == (None, {replay.RUNS: 1})
    apart = (target("a"), target("b"), target("x", "a"))
    found, _, _ = planned(apart, {"a": None}, b=("retrying", "timeout"), x=SKIPPED)
    assert shape(found) == (("a",), ("x",), {})


def test_what_comes_after_an_answer_nobody_has_any_more_stays_skipped_and_is_counted() -> None:
    steps = (target("a"), target("b", keeps=True), target("both", "a", "b"), target("last", "both"), target("x", "a"))
    found, left, stay = planned(steps, {"a": None}, b="delivered", both=SKIPPED, last=SKIPPED, x=SKIPPED)
    assert (shape(found), left, stay) == ((("a",), ("x",), {}), {}, 2)
    found, _, stay = planned(steps, {"a": kept(b="delivered")}, b="delivered", both=SKIPPED, last=SKIPPED, x=SKIPPED)
    assert (shape(found), stay) == ((("a",), ("both", "last", "x"), {"b": "delivered"}), 0)
    _, _, stay = planned(steps, {"a": kept(b="dead")}, b="delivered", both=SKIPPED, last=SKIPPED, x=SKIPPED)
    assert stay == 2, "b was replayed since: the letter does not have that answer"


def test_an_edge_by_retrying_stays_fulfilled() -> None:
    steps = (target("slow"), target("meanwhile", ("slow", "retrying")))
    found, _, _ = planned(steps, {"meanwhile": kept("slow", slow="retrying")}, slow="delivered")
    assert shape(found) == (("meanwhile",), (), {"slow": "delivered"})
    assert found.retried == ("slow",)
    found, _, _ = planned(steps, {"meanwhile": kept("slow", slow="retrying")}, slow=("retrying", "timeout"))
    assert shape(found) == (("meanwhile",), (), {"slow": "retrying"})


@pytest.mark.parametrize("reason", ["shadow", "dry"])
def test_a_step_that_was_not_sent_on_purpose_counts_as_delivered(reason) -> None:
    found, _, _ = planned(CHAIN[1:], {"report": kept(send="delivered")}, send=("skipped", reason))
    assert shape(found) == (("report",), (), {"send": "delivered"})


def test_the_record_is_the_next_hop_with_today_s_names_and_the_answers_of_the_letters() -> None:
    found, _, _ = planned(
        CHAIN, {"send": kept(ask="delivered")}, send=("dead", "timeout", 3), report=("skipped", "upstream", 1)
    )
    found = dataclasses.replace(found, chosen=(dataclasses.replace(found.chosen[0], ambiguous=True),))
    letter = runstate.RunState(
        journey="old", hash="h", event_id="e-1", source=("in", 1, 7, 5), deliveries=4, started_ms=1, hop=3, parks=0,
        due_ms=0, trace_id="", sampled=False, link="", steps={"send": runstate.StepState(1, 0, 0, "", 0)},
        results={"query": Result(Outcome.DELIVERED, "", 200, {"code": "A"})},
    )  # fmt: skip
    made = rerun.state(found, [letter], {"query": "ask", "send": "send"}, 5_000, 6_000)
    assert runstate.decode(runstate.encode(made)) == made
    assert (made.journey, made.hash, made.hop, made.deliveries) == ("welcome", "", 4, 4)
    assert (made.source, made.started_ms, made.due_ms) == (("in", 1, 7, 5), 5_000, 6_000)
    assert made.steps == {"send": runstate.StepState(0, 6_000, 0, "replayed", 0, ambiguous=True)}
    assert (made.ahead, made.results["ask"].response) == (("report",), {"code": "A"})
    again = rerun.state(found, [letter], {"query": "ask"}, 9_000, 9_500)
    assert runstate.identity(again) == runstate.identity(made), "a second copy is known as one"


def test_what_a_letter_keeps_is_read_under_today_s_names_and_without_answers() -> None:
    state = SimpleNamespace(results={"query": Result(Outcome.DELIVERED, "", 200, {"code": "A"})}, retried=("query",))
    assert rerun.kept(state, {"query": "ask"}) == Kept({"ask": Result(Outcome.DELIVERED, "", 200)}, frozenset({"ask"}))


# --------------------------------------------------------------------------------------------------------- properties


@st.composite
def runs(draw: st.DrawFn):
    """Any journey, any last outcomes, any letters."""
    targets: list[replay.Target] = []
    for number in range(draw(st.integers(1, 7))):
        parents = (
            draw(st.lists(st.sampled_from(targets), max_size=3, unique_by=lambda each: each.name)) if targets else []
        )
        edges = tuple(
            Edge(each.name, frozenset(draw(st.lists(st.sampled_from(list(Outcome)), min_size=1, max_size=3))))
            for each in parents
        )
        targets.append(
            dataclasses.replace(
                target(f"s{number}", any_parent=draw(st.booleans()), keeps=draw(st.booleans())), after=edges
            )
        )
    words = st.sampled_from(
        [("dead", "timeout"), ("delivered",), SKIPPED, ("skipped", "consent"), ("retrying", "timeout"), None]
    )
    ended = {each.name: told for each in targets if (told := draw(words)) is not None}
    dead = [name for name, told in ended.items() if told[0] == "dead" and draw(st.booleans())]
    names = st.sampled_from([each.name for each in targets])
    letters = st.none() | st.dictionaries(names, st.sampled_from(["delivered", "dead", "retrying"])).map(
        lambda each: kept(**each)
    )
    return targets, {name: draw(letters) for name in dead}, ended


@given(runs())
def test_whatever_the_run_nothing_waits_in_vain_and_nothing_that_ended_well_starts_again(drawn) -> None:
    targets, failed, ended = drawn
    found, left, _ = planned(targets, failed, **ended)
    assert len(failed) == sum(left.values()) + (0 if found is None else len(found.chosen))
    if found is None:
        return
    going = {*found.steps, *found.ahead}
    assert len(going) == found.size
    assert all(ended[name] in (("dead", "timeout"), SKIPPED) for name in going)
    steps = {each.name: each for each in targets}
    for name in found.ahead:
        assert journeys.before([name], targets) & {*found.steps}, "it comes after something that is sent"
        for edge in steps[name].after:
            known = found.results.get(edge.parent)
            assert edge.parent in going or (known is not None and known.outcome is not Outcome.RETRYING)
    # However what is sent ends, a worker comes to the end of the run.
    results = {**found.results} | {name: Result(Outcome.DEAD, "", 0) for name in found.steps}
    ahead = list(found.ahead)
    for _ in range(len(ahead)):
        for name in [each for each in ahead if journeys.ready(steps[each], results, found.retried) is not None]:
            ahead.remove(name)
            results[name] = Result(Outcome.DEAD, "", 0)
    assert ahead == []
