"""core/journeys: what starts depends on how the steps before ended; tiers climb."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import journeys
from pipeline.model import Edge, Kind, Outcome, Result
from tests.unit.run.conftest import step

TIERS = (10_000, 60_000, 600_000, 3_600_000, 21_600_000)
ENDED = ("delivered", "defaulted")


def after(name, *, any_parent=False, **parents):
    edges = tuple(Edge(parent, frozenset(map(Outcome, outcomes))) for parent, outcomes in parents.items())
    return dataclasses.replace(step(name), after=edges, any_parent=any_parent)


def results(**outcomes):
    return {name: Result(Outcome(outcome), "", 0) for name, outcome in outcomes.items()}


@pytest.mark.parametrize(
    ("ended", "every", "either"),
    [
        ({}, None, None),
        ({"a": "delivered"}, None, True),
        ({"a": "defaulted", "b": "delivered"}, True, True),
        ({"a": "dead"}, False, None),
        ({"a": "dead", "b": "delivered"}, False, True),
        ({"a": "dead", "b": "skipped"}, False, False),
        ({"a": "retrying"}, None, None),
        ({"a": "retrying", "b": "rejected"}, False, None),
    ],
)
def test_a_step_starts_when_all_its_parents_or_any_ended_as_its_edges_say(ended, every, either) -> None:
    edges = {"a": ENDED, "b": ENDED}
    assert journeys.ready(after("x", **edges), results(**ended), ()) is every
    assert journeys.ready(after("x", any_parent=True, **edges), results(**ended), ()) is either


@pytest.mark.parametrize(
    ("ended", "retried", "starts"),
    [
        ({}, (), None),
        ({"a": "retrying"}, ("a",), True),
        ({"a": "delivered"}, ("a",), True),
        ({"a": "delivered"}, (), False),
        ({}, ("a",), True),
    ],
)
def test_an_edge_by_retrying_is_fulfilled_by_ever_having_waited(ended, retried, starts) -> None:
    assert journeys.ready(after("x", a=["retrying"]), results(**ended), retried) is starts


def test_a_run_waits_for_the_steps_that_start_with_it_but_for_record_steps() -> None:
    later = after("x", a=ENDED)
    assert journeys.shape((step("a"), step("b", kind=Kind.RECORD), later)) == (1, (later,))


def test_what_a_step_may_read_is_what_it_comes_after_however_far_back() -> None:
    steps = (step("a"), step("z"), after("b", a=ENDED), after("c", b=ENDED), after("d", c=ENDED, z=ENDED))
    assert journeys.before(["c"], steps) == {"a", "b"}
    assert journeys.before(["d", "gone"], steps) == {"a", "b", "c", "z"}
    assert journeys.unknown(steps[3:], {"c"}) == {"b", "z"}


def test_the_tier_is_the_largest_not_longer_than_the_wait() -> None:
    waits = (0, 9_999, 10_000, 59_999, 60_000, 10**12)
    assert [journeys.tier_for(wait, TIERS) for wait in waits] == [0, 0, 0, 0, 1, 4]


@pytest.mark.parametrize(
    ("tiers", "climb"),
    [
        (TIERS, [600_000, 3_600_000, 3_600_000, 3_600_000]),
        ((1_200_000, 1_800_000, 2_400_000, 3_000_000, 3_600_000), [1_800_000, 2_400_000, 3_000_000, 3_600_000]),
        ((10_000, 60_000), [60_000] * 4),
        ((7_200_000,), [7_200_000] * 4),
    ],
)
def test_parking_climbs_a_tier_each_time_up_to_its_bound(tiers, climb) -> None:
    assert [tiers[journeys.park_tier(parks, tiers, 3_600_000)] for parks in range(4)] == climb


@given(
    st.lists(st.integers(1_000, 21_600_000), min_size=1, max_size=10, unique=True).map(sorted), st.integers(0, 3_000)
)
def test_with_a_tier_of_half_an_hour_or_more_a_parked_run_is_written_at_most_twice_an_hour(delays, slack_ms) -> None:
    tiers = [each for each in delays if each < 1_800_000] + [1_800_000, 3_600_000]
    at_ms, written = 0, []
    for parks in range(10):
        written.append(at_ms)
        at_ms += tiers[journeys.park_tier(parks, tiers, 3_600_000)] + slack_ms
    assert all(later - first >= 3_600_000 for first, later in zip(written, written[2:], strict=False))
