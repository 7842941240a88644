"""What gates answer and ask with: the words of a hold are a closed list that no skip reason and no failure shares."""

from __future__ import annotations

from pipeline.model import NOTHING, WAITS, FailureClass, SkipReason


def test_nothing_known_grants_nothing_and_denies_nothing():
    assert not NOTHING.consent
    assert not NOTHING.suppressions
    assert (NOTHING.erased_ms, NOTHING.stale_ms, NOTHING.unreadable, NOTHING.memory) == (0, 0, False, None)


def test_why_a_gate_holds_is_told_apart_from_failures_in_a_retrying_outcome():
    assert not {*WAITS} & {*FailureClass}
    assert {*WAITS} & {*SkipReason} == {"quiet_hours", "cap"}, "the two gates that may skip as well"
