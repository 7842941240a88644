"""core/report: what came of journeys, and success of who was treated against who was held out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.core.report import Group, Report, Wanted, difference, of_copy
from pipeline.model import Outcome

DAY_MS = 86_400_000
NOW = 100 * DAY_MS
WEEK = Wanted(7 * DAY_MS, correlated=True, valued=True)


class Scene:
    """One journey `cart`, of events at offsets; `run` is one run as its rows tell."""

    def __init__(self, wanted: Wanted | None = WEEK) -> None:
        self.report = Report({} if wanted is None else {"cart": wanted})
        self.offset = 0

    def run(
        self, customer: str, *words: str, at_ms: int = 10 * DAY_MS, match: str | None = "k", seen: bool = True,
        took_ms: int = 0,
    ) -> int:  # fmt: skip
        self.offset += 1
        for index, word in enumerate(words or ("delivered",)):
            outcome, _, reason = word.partition("(")
            self.report.outcome(SimpleNamespace(  # type: ignore[arg-type]
                journey="cart", step=f"s{index}", event_id=f"e{self.offset}", topic="in", partition=0,
                offset=self.offset, event_time_ms=at_ms, outcome=Outcome(outcome), reason=reason.rstrip(")"),
                settled_at_ms=at_ms + took_ms, hop=0,
            ))  # fmt: skip
        source = "in", 0, self.offset
        if seen and list(self.report.started(source)):
            self.report.trigger("cart", source, customer, match)
        return self.offset

    def bought(
        self, customer: str, at_ms: int = 11 * DAY_MS, match: str | None = "k", worth: float = 5, id_: str = ""
    ) -> None:
        self.report.success("cart", id_ or f"p-{customer}-{at_ms}", customer, at_ms, match, worth)

    def made(self):
        [journey] = self.report.journeys(["cart"], NOW)
        return journey

    def groups(self) -> tuple[tuple[int, int], tuple[int, int]]:
        found = self.made().success
        return (
            (found.treated.customers, found.treated.succeeded), (found.holdout.customers, found.holdout.succeeded)
        )  # fmt: skip


def test_customers_count_once_and_by_the_draw_alone() -> None:
    scene = Scene()
    scene.run("a")
    scene.run("a", "dead(timeout)")
    scene.run("b", "skipped(consent)")
    scene.run("c", "skipped(holdout)", "skipped(holdout)")
    scene.run("d", "skipped(holdout)")
    for customer in "abc":
        scene.bought(customer)
    assert scene.groups() == ((2, 2), (2, 1))
    success = scene.made().success
    assert (success.treated.worth, success.holdout.worth, success.open, success.unknown) == (10.0, 5.0, 0, 0)


@pytest.mark.parametrize("reason", ["rollout", "duplicate", "once", "status", "shadow", "dry", "stale"])
def test_who_was_not_let_in_is_in_no_group(reason: str) -> None:
    scene = Scene()
    scene.run("a", f"skipped({reason})", f"skipped({reason})")
    scene.bought("a")
    assert scene.groups() == ((0, 0), (0, 0))
    assert (scene.made().runs, scene.made().skipped, scene.made().skips) == (1, 1, {reason: 1})


def test_a_step_that_was_skipped_for_its_condition_is_no_refusal_of_the_run() -> None:
    scene = Scene()
    scene.run("a", "skipped(condition_error)", "delivered")
    assert scene.groups() == ((1, 0), (0, 0))
    assert scene.made().skipped == 0


@pytest.mark.parametrize(
    ("at_ms", "match", "succeeded"),
    [
        (10 * DAY_MS, "k", 1), (17 * DAY_MS, "k", 1), (17 * DAY_MS + 1, "k", 0), (10 * DAY_MS - 1, "k", 0),
        (11 * DAY_MS, "other", 0), (11 * DAY_MS, None, 0),
    ],
)  # fmt: skip
def test_success_is_in_the_window_and_of_the_same_thing(at_ms: int, match: str | None, succeeded: int) -> None:
    scene = Scene()
    scene.run("a")
    scene.bought("a", at_ms, match)
    scene.bought("somebody else")
    assert scene.groups()[0] == (1, succeeded)


def test_a_trigger_without_a_correlation_matches_nothing_unless_none_is_asked_for() -> None:
    for wanted, succeeded in ((WEEK, 0), (Wanted(7 * DAY_MS, correlated=False), 1)):
        scene = Scene(wanted)
        scene.run("a", match=None)
        scene.bought("a", match=None)
        assert scene.groups()[0] == (1, succeeded)


def test_an_event_is_no_success_of_itself_and_counts_once_however_often_it_came() -> None:
    scene = Scene()
    number = scene.run("a")
    scene.bought("a", id_=f"e{number}")
    assert scene.groups()[0] == (1, 0)
    scene.bought("a", id_="p", worth=7)
    scene.bought("a", id_="p", worth=7)
    assert scene.made().success.treated.worth == 7.0


def test_open_windows_and_triggers_that_are_gone_are_counted_apart() -> None:
    scene = Scene()
    scene.run("a", at_ms=NOW - 7 * DAY_MS + 1)
    scene.run("b", seen=False)
    scene.bought("a", NOW - DAY_MS)
    success = scene.made().success
    assert (success.treated.customers, success.open, success.unknown) == (0, 1, 1)


def test_the_last_word_counts_and_steps_are_told_apart() -> None:
    scene = Scene(None)
    assert not scene.report.judges()
    scene.run("a", "retrying(timeout)", "skipped(cap)")
    scene.offset -= 1
    scene.run("a", "delivered")
    scene.offset -= 1
    scene.run("a", "retrying(timeout)")
    made = scene.made()
    assert (made.steps, made.reasons) == (
        {"s0": {"delivered": 1}, "s1": {"skipped": 1}}, {"s1": {"skipped(cap)": 1}},
    )  # fmt: skip
    assert made.success is None


def test_the_bounds_are_newcombes() -> None:
    """His example (a), method 10: 56 of 70 and 48 of 80."""
    low, high = difference(Group(70, 56, None), Group(80, 48, None))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)
    low, high = difference(Group(10, 0, None), Group(10, 0, None))
    assert round(low, 4) == -round(high, 4) == -0.2775
    assert difference(Group(0, 0, None), Group(5, 1, None)) == (-1.0, 1.0)


def test_a_run_of_a_copied_event_is_known_by_the_events_id() -> None:
    report = Report({"cart": WEEK}, "g.events")
    for topic, number in (("g.events", 1), ("in", 2)):
        report.outcome(SimpleNamespace(  # type: ignore[arg-type]
            journey="cart", step="s0", event_id=f"e{number}", topic=topic, partition=0, offset=number,
            event_time_ms=10 * DAY_MS, outcome=Outcome.DELIVERED, reason="", settled_at_ms=1, hop=0,
        ))  # fmt: skip
    assert list(report.started(of_copy("e1"))) == ["cart"]
    assert list(report.started(("g.events", 0, 1))) == []
    assert list(report.started(of_copy("e2"))) == []
    assert list(report.started(("in", 0, 2))) == ["cart"]


def test_freshness_is_from_the_events_own_time_until_it_was_delivered() -> None:
    scene = Scene()
    for number in range(1, 101):
        scene.run(f"c-{number}", took_ms=number * 1_000)
    scene.run("c-late", "dead(timeout)", took_ms=DAY_MS)  # what never arrived has no age
    scene.run("c-early", took_ms=-5_000)  # a producer whose clock is ahead: no fact is younger than new
    [fresh] = scene.made().fresh
    assert (fresh.step, fresh.delivered, fresh.p50_ms, fresh.p95_ms) == ("s0", 101, 50_000, 95_000)
    assert Scene().made().fresh == ()
