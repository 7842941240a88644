"""cli/waiting: what waits, counted."""

from __future__ import annotations

import pytest

from pipeline import cli
from pipeline.cli.backlog import WaitingStep
from pipeline.cli.waiting import groups


def waits(topic: str = "g.retry.10s", cls: str = "timeout", began_ms: int = 5, due_ms: int = 50, event: str = "e"):
    return WaitingStep(topic, 0, due_ms, began_ms, event, f"d-{event}", "welcome", "hello", "crm.upsert", cls, 1, 1)


def test_it_is_counted_by_tier_destination_journey_and_class_with_the_oldest_as_example() -> None:
    rows = groups([waits(), waits(began_ms=3, due_ms=70, event="old"), waits(cls="paused"), waits("g.retry.1m")])
    assert [(row["tier"], row["class"], row["count"]) for row in rows] == [
        ("g.retry.10s", "timeout", 2), ("g.retry.10s", "paused", 1), ("g.retry.1m", "timeout", 1),
    ]  # fmt: skip
    first = rows[0]
    assert (first["oldest_ms"], first["event_id"], first["first_due_ms"], first["last_due_ms"]) == (3, "old", 50, 70)
    assert (first["destination"], first["journey"]) == ("crm", "welcome")


@pytest.mark.parametrize(
    "argv",
    [
        ["waiting"],
        ["waiting", "release", "--reason", "x"],
        ["waiting", "release", "--destination", "crm"],
        ["waiting", "release", "--destination", "crm", "--reason", "x", "--rate", "fast"],
        ["waiting", "drop", "--destination", "crm", "--reason", "x"],
        ["pause", "destination", "crm"],
        ["pause", "planet", "crm", "--reason", "x"],
        ["destination", "reset", "crm"],
        ["affected"],
    ],
)
def test_an_incomplete_call_exits_with_2(argv, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err
