"""cli/replay: what is read of a letter and written for a delivery. The command on a broker: tests/integration."""

from __future__ import annotations

import argparse

import pytest

from pipeline.cli import replay
from pipeline.cli.letter import letter
from pipeline.core import outcome, payload, runstate
from pipeline.model import Outcome, Record

ROW = outcome.decode(
    outcome.encode(
        outcome.prefix("welcome", "h" * 16, "crm", "crm", "upsert"), "e-1", "signup.completed",
        payload.delivery_id("e-1", b"/welcome/crm"), "ref", "events", 1, 7, 900, 800, 2, "t" * 32, Outcome.DEAD,
        "server_error", 503, 4, 1_000, 2_000, 3, 0, (),
    )
)  # fmt: skip


def failed(value: bytes | None = b"x", **says: str) -> replay._Failed:
    headers = tuple((f"hookline-{name.replace('_', '-')}", text.encode()) for name, text in says.items())
    return replay._failed(letter(Record("dead", 2, 5, None, value, headers, 1_000)))


def test_an_attempt_without_an_answer_may_have_arrived() -> None:
    assert failed(attempts="3").unanswered
    assert not failed(attempts="3", status="503").unanswered
    assert not failed(attempts="0").unanswered
    assert failed(None).oversize


def test_a_replay_is_the_next_hop_with_all_its_attempts_before_it() -> None:
    assert isinstance(ROW, outcome.OutcomeRow)
    state = replay._state(replay.Chosen((2, 5), ROW, "crm", "server_error"), 5_000, 6_000)
    read = runstate.decode(runstate.encode(state))
    assert isinstance(read, runstate.RunState)
    assert (read.hop, read.source, read.deliveries, read.started_ms) == (4, ("events", 1, 7, 900), 2, 5_000)
    assert read.steps == {"crm": runstate.StepState(0, 6_000, 0, "replayed", 0)}
    again = replay._state(replay.Chosen((2, 5), ROW, "crm", "server_error"), 9_000, 9_500)
    assert runstate.identity(again) == runstate.identity(state), "a second copy is known as one"


def test_the_outcome_is_of_the_hop_that_failed() -> None:
    assert isinstance(ROW, outcome.OutcomeRow)
    row = outcome.decode(replay._outcome(ROW, 5_000, 1_000))
    assert isinstance(row, outcome.OutcomeRow)
    assert (row.delivery_id, row.outcome, row.reason) == (ROW.delivery_id, "retrying", "replayed")
    assert (row.hop, row.due_ms, row.settled_at_ms, row.deliveries) == (3, 6_000, 5_000, 2)


def test_a_rate_is_read_or_refused() -> None:
    assert replay._rate("50/s") == 50.0
    with pytest.raises(argparse.ArgumentTypeError, match="must be a rate"):
        replay._rate("fast")
