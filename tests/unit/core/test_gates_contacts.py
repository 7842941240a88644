"""Caps: a sliding window, whatever the order contacts come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.gates import contacts
from pipeline.model import Cap, Contact

NOW = 1_795_000_000_000
WEEK = 7 * 86_400_000


@given(ages=st.lists(st.integers(0, 2 * WEEK), max_size=8), most=st.integers(1, 5))
def test_a_window_never_holds_more_than_its_cap(ages, most):
    seen = [Contact("promotional", "email", NOW - age, str(at)) for at, age in enumerate(ages)]
    within = sum(age < WEEK for age in ages)
    assert contacts.capped((Cap("promotional", "email", most, WEEK),), seen, "new", NOW) is (within >= most)


def test_each_cap_counts_for_itself():
    seen = [Contact("promotional", "email", NOW - 1, "a"), Contact("service", "email", NOW - 1, "b")]
    loose, tight = Cap("promotional", "email", 2, WEEK), Cap("service", "email", 1, WEEK)
    assert not contacts.capped((loose,), seen, "new", NOW)
    assert contacts.capped((loose, tight), seen, "new", NOW)


@given(contacted=st.sets(st.integers(0, 6)), underway=st.sets(st.integers(0, 6)), most=st.integers(1, 5))
def test_what_is_under_way_counts_beside_contacts_and_whoever_is_both_once(contacted, underway, most):
    seen = [Contact("promotional", "email", NOW - each, str(each)) for each in contacted]
    capped = contacts.capped(
        (Cap("promotional", "email", most, WEEK),), seen, "0", NOW, [str(each) for each in underway]
    )
    assert capped is (len((contacted | underway) - {0}) >= most)


def test_what_is_under_way_counts_for_each_cap():
    loose, tight = Cap("promotional", "email", 2, WEEK), Cap("promotional", "email", 1, 1_000)
    assert contacts.capped((loose, tight), [], "new", NOW, {"a": None})
