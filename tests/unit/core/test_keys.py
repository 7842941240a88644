from __future__ import annotations

import pytest

from pipeline.core.keys import Sightings


def seen(*sightings: tuple[str, int, int]) -> Sightings:
    made = Sightings()
    for each in sightings:
        made.saw(*each)
    return made


def test_nothing_seen_proves_nothing() -> None:
    assert not seen().scattered()
    assert seen().customers() == 0


def test_each_customer_in_one_partition_is_keyed() -> None:
    made = seen(("a", 0, 1), ("b", 1, 2), ("a", 0, 3), ("b", 1, 4))
    assert not made.scattered()
    assert (made.customers(), made.events) == (2, 4)


@pytest.mark.parametrize("order", [1, -1])
def test_a_customer_who_comes_back_to_a_partition_proves_that_it_is_not(order: int) -> None:
    assert seen(*[("a", 0, 1), ("a", 1, 2), ("a", 0, 3)][::order]).scattered()


def test_partitions_added_once_explain_customers_who_moved_before_and_after_that_moment() -> None:
    assert not seen(("a", 0, 10), ("a", 2, 20), ("b", 1, 12), ("b", 0, 18), ("c", 1, 5), ("c", 1, 30)).scattered()


def test_moves_at_different_times_are_not_explained_by_one_addition() -> None:
    assert seen(("a", 0, 10), ("a", 1, 20), ("b", 1, 30), ("b", 0, 40)).scattered()


def test_three_partitions_one_after_another_are_not_explained_by_one_addition() -> None:
    assert seen(("a", 0, 10), ("a", 1, 20), ("a", 2, 30)).scattered()
    assert seen(("a", 0, 7), ("a", 1, 7), ("a", 2, 7)).scattered()


def test_records_of_the_same_or_of_no_time_prove_nothing() -> None:
    assert not seen(("a", 0, 0), ("a", 1, 0), ("b", 1, 0), ("b", 0, 0)).scattered()
    assert not seen(("a", 0, 7), ("a", 1, 7)).scattered()
