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
