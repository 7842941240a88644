"""Shares of customers: the same for everybody at any time, independent of each other, and growing keeps who was in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.gates.shares import HOLDOUT, ROLLOUT, within

CUSTOMERS = [f"customer-{number}" for number in range(20_000)]


def test_the_hash_is_written_down_so_that_others_can_tell_who_is_in():
    # printf 'holdout\\0cart_recovery\\0c-1' | sha256sum begins d51163eb: 83.23 %
    place = next(percent for percent in range(10_001) if within(HOLDOUT, "cart_recovery", "c-1", percent / 10_000))
    assert place == 8_323


def test_a_share_has_that_share_of_many_customers():
    for share in (0.01, 0.1, 0.5, 0.9):
        count = sum(within(ROLLOUT, "j", customer, share) for customer in CUSTOMERS)
        # Five standard deviations of a fair draw; the customers are fixed, so this cannot flicker.
        assert abs(count - share * len(CUSTOMERS)) < 5 * (len(CUSTOMERS) * share * (1 - share)) ** 0.5


def test_draws_and_journeys_are_independent():
    for other in ((HOLDOUT, "j"), (ROLLOUT, "k")):
        both = sum(within(ROLLOUT, "j", each, 0.5) and within(*other, each, 0.5) for each in CUSTOMERS)
        assert abs(both - len(CUSTOMERS) / 4) < 5 * (len(CUSTOMERS) * 0.25 * 0.75) ** 0.5


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_growing_keeps_who_was_in(customer, one, other):
    small, large = sorted((one, other))
    assert not within(ROLLOUT, "j", customer, small) or within(ROLLOUT, "j", customer, large)


def test_nobody_and_everybody():
    assert not any(within(ROLLOUT, "j", each, 0.0) for each in CUSTOMERS[:1_000])
    assert all(within(ROLLOUT, "j", each, 1.0) for each in CUSTOMERS[:1_000])


def test_names_do_not_run_into_each_other():
    pairs = [(f"a{number}", "b") for number in range(200)]
    places = [(within(ROLLOUT, journey, customer, 0.5), within(ROLLOUT, journey[0], journey[1:] + customer, 0.5))
              for journey, customer in pairs]  # fmt: skip
    assert len(set(places)) == 4, "all four combinations come up: the two are drawn apart"
