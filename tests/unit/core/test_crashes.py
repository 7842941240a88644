"""core/crashes: how often workers died over a record is counted on the control topic, for the whole fleet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import crashes
from pipeline.core.crashes import CRASHES_MAX, KEPT_MS, Crashes

NOW = 1_795_428_000_000
HERE = ("shop.orders", 3, 1_234)


def test_each_crash_counts_and_whoever_reads_knows() -> None:
    writer, reader = Crashes(), Crashes()
    for number in range(1, 5):
        assert reader.note(*writer.count(HERE, "worker a", NOW))
        assert writer.suspects == reader.suspects == {HERE: number}
        assert reader.given_up(NOW) == (number >= CRASHES_MAX)


def test_one_that_was_taken_up_after_all_is_forgotten() -> None:
    made = Crashes()
    made.count(HERE, "worker a", NOW)
    assert made.note(crashes.key(HERE), None)
    assert made.suspects == {}
    assert made.over(NOW + 2 * KEPT_MS) == []


def test_what_is_long_over_can_be_forgotten() -> None:
    made = Crashes()
    for _ in range(CRASHES_MAX):
        made.count(HERE, "worker a", NOW)
    assert made.over(NOW + KEPT_MS) == []
    assert made.over(NOW + KEPT_MS + 1) == [HERE]
    assert made.given_up(NOW + KEPT_MS) == 0


@pytest.mark.parametrize("key", [None, b"worker/a", b"pause/intake/x", b"crash", b""])
def test_other_keys_are_somebody_elses(key) -> None:
    assert not Crashes().note(key, b"{}")


@given(st.binary(max_size=40), st.one_of(st.none(), st.binary(max_size=60)))
def test_damage_is_passed_over(rest, content) -> None:
    made = Crashes()
    assert made.note(b"crash/" + rest, content)
    assert all(0 < count <= crashes.COUNT_MAX for count in made.suspects.values())
