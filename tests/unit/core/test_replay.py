"""core/replay: which failed deliveries are sent again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.core import replay
from pipeline.model import Outcome

STEP = replay.Target("crm", "update", drops_repeats=True, suffix=b"/welcome/crm")


def row(outcome: Outcome, hop: int = 0, at_ms: int = 1_000, reason: str = "") -> SimpleNamespace:
    return SimpleNamespace(outcome=outcome, hop=hop, settled_at_ms=at_ms, reason=reason)


def why(last, target=STEP, *, ambiguous=False, asked_for=False) -> str:
    return replay.left_alone(last, target, ambiguous=ambiguous, with_ambiguous=asked_for)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_what_is_still_failed_is_sent_again(outcome) -> None:
    assert (why(row(outcome)) == "") is (outcome in (Outcome.DEAD, Outcome.REJECTED))


def test_each_reason_to_leave_one_alone() -> None:
    dead = row(Outcome.DEAD)
    keeps = replay.Target("crm", "update", drops_repeats=False, suffix=b"")
    assert why(None) == replay.UNKNOWN
    assert why(dead, None) == replay.REMOVED
    assert why(dead, replay.Target("b", "decide", drops_repeats=True, suffix=b"")) == replay.DECIDE
    assert why(dead, keeps, ambiguous=True) == replay.AMBIGUOUS
    assert why(dead, keeps, ambiguous=True, asked_for=True) == ""
    assert why(dead, keeps) == why(dead, STEP, ambiguous=True) == ""
    assert why(row(Outcome.DEAD, replay.HOP_MAX)) == replay.HOPS
    ordered = replay.Target("crm", "update", drops_repeats=True, suffix=b"", ordered=True)
    assert why(dead, ordered) == replay.ORDERED
    assert replay.left_alone(dead, ordered, ambiguous=False, with_ambiguous=False, out_of_order=True) == ""
