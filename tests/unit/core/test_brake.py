"""core/brake: much that comes to nothing stops an intake; a look at what comes next, or a person, ends that."""

from __future__ import annotations

import pytest

from pipeline.core import brake
from pipeline.core.brake import BRAKING, FREE_MS, LOOK_MAX_MS, LOOK_MS, Brake, BrakePolicy

NOW = 1_795_428_000_000


def stopped() -> Brake:
    made = Brake(BrakePolicy(0.05, 100))
    for taken in range(1, 6):
        made.failed("undecodable", taken, NOW)
    assert made.since_ms == NOW
    return made


def test_it_holds_at_its_share_of_the_last_positions_and_not_before() -> None:
    made = Brake(BrakePolicy(0.05, 100))
    assert [made.failed("undecodable", taken, NOW) for taken in (1, 20, 40, 60)] == [False] * 4
    assert made.failed("config", 100, NOW)
    assert made.why == "4 undecodable, 1 config of the last 100 positions"
    assert (made.since_ms, made.look_ms) == (NOW, NOW + LOOK_MS)


def test_what_is_older_than_the_last_positions_counts_no_more() -> None:
    made = Brake(BrakePolicy(0.05, 100))
    assert not any(made.failed("schema", taken, NOW) for taken in range(25, 10_000, 25))


def test_a_share_of_less_than_one_position_is_one() -> None:
    assert Brake(BrakePolicy(0.01, 10)).failed("bug", 1, NOW)


def test_while_it_holds_nothing_more_is_counted() -> None:
    made = stopped()
    assert not made.failed("undecodable", 6, NOW + 5)
    assert made.since_ms == NOW


@pytest.mark.parametrize(("bad", "of", "goes_on"), [(0, 1, True), (0, 100, True), (4, 100, True), (5, 100, False),
                                                    (1, 3, False), (100, 100, False), (0, 0, False)])  # fmt: skip
def test_it_goes_on_once_what_comes_next_is_below_its_share(bad, of, goes_on) -> None:
    made = stopped()
    assert made.looked(bad, of, 5, NOW + LOOK_MS) is goes_on
    assert bool(made.since_ms) is not goes_on


def test_looks_come_ever_more_seldom_up_to_their_bound() -> None:
    made, now, waits = stopped(), NOW, []
    for _ in range(8):
        waits.append(made.look_ms - now)
        now = made.look_ms
        made.looked(100, 100, 5, now)
    assert waits == [10_000, 20_000, 40_000, 80_000, 160_000, LOOK_MAX_MS, LOOK_MAX_MS, LOOK_MAX_MS]


def test_a_look_that_finds_nothing_yet_says_nothing() -> None:
    made = stopped()
    made.looked(0, 0, 5, NOW + LOOK_MS)
    assert made.look_ms == NOW + 2 * LOOK_MS


def test_one_that_holds_again_soon_after_it_went_on_waits_longer_than_one_that_went_well_meanwhile() -> None:
    made = stopped()
    made.looked(0, 100, 5, NOW)
    for taken in range(50, 55):
        made.failed("undecodable", taken, NOW)
    assert made.look_ms == NOW + 2 * LOOK_MS
    made.looked(0, 100, 55, NOW)
    for taken in range(1_000, 1_005):
        made.failed("undecodable", taken, NOW)
    assert made.look_ms == NOW + LOOK_MS


def test_a_person_lets_everything_pass_for_a_while() -> None:
    made = stopped()
    made.free(NOW - 1)
    assert made.since_ms, "what was said before it stopped does not mean this"
    made.free(NOW + 1)
    assert not made.since_ms
    assert not any(made.failed("undecodable", taken, NOW + FREE_MS) for taken in range(6, 1_000))
    assert [made.failed("undecodable", taken, NOW + 1 + FREE_MS) for taken in range(1_000, 1_005)][-1]


def test_it_is_about_data_and_configuration_never_about_destinations() -> None:
    assert sorted(BRAKING) == ["bug", "config", "schema", "undecodable"]
    assert brake.BrakePolicy() == BrakePolicy(0.05, 1_000)
