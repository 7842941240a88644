"""core/journeys: hand-over state survives the trip, damage is seen, tiers climb."""

from __future__ import annotations

import dataclasses
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import journeys
from pipeline.core.journeys import RunState, StepState, Unreadable

STATE = RunState(
    journey="j", hash="0123456789abcdef", event_id="e-1", source=("t", 3, 42, 1_700_000_000_000), deliveries=2,
    started_ms=1, hop=1, parks=0, due_ms=5, trace_id="a" * 32, sampled=True, link="b" * 16,
    steps={"crm": StepState(2, 5, 1, "timeout", 0), "log": StepState(0, 0, 0, "", 503)},
)  # fmt: skip
TIERS = (10_000, 60_000, 600_000, 3_600_000, 21_600_000)


def test_state_survives() -> None:
    assert journeys.decode(journeys.encode(STATE)) == STATE


@given(st.integers(min_value=0), st.integers(0, 7))
def test_one_damaged_bit_is_seen(position, bit) -> None:
    header = bytearray(journeys.encode(STATE))
    header[position % len(header)] ^= 1 << bit
    assert isinstance(journeys.decode(bytes(header)), Unreadable)


@given(st.binary(max_size=200))
def test_foreign_bytes_are_unreadable(header) -> None:
    assert isinstance(journeys.decode(header), Unreadable)


def test_newer_state_is_told_apart_from_damage() -> None:
    newer = bytes((journeys.STATE_VERSION + 1,)) + journeys.encode(STATE)[1:]
    assert journeys.decode(newer) == Unreadable(newer=True, detail="run state version 2")
    assert journeys.decode(None) == Unreadable(newer=False, detail="no run state")
    assert isinstance(journeys.decode(bytes(journeys.STATE_BYTES_MAX + 1)), Unreadable)


def test_valid_json_of_another_shape_is_unreadable() -> None:
    for body in (b"[]", b"{}", b'{"source":[1]}', b'"x"'):
        header = bytes((1,)) + zlib.crc32(body).to_bytes(4, "big") + body
        assert isinstance(journeys.decode(header), Unreadable)


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


def test_copies_of_a_hop_have_one_identity_and_one_partition() -> None:
    copy = journeys.decode(journeys.encode(STATE))
    assert isinstance(copy, RunState)
    assert journeys.identity(copy) == journeys.identity(STATE)
    assert journeys.spread(copy) == journeys.spread(STATE)


def test_a_run_without_steps_is_unreadable() -> None:
    empty = dataclasses.replace(STATE, steps={})
    assert journeys.decode(journeys.encode(empty)) == Unreadable(newer=False, detail="run state without steps")
