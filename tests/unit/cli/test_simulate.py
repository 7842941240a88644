"""`hookline simulate` says which seed found what and what came before, and replays it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeline.cli import main
from pipeline.core.gates import consent

if TYPE_CHECKING:
    import pytest


def test_seeds_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "3", "--first-seed", "5"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 of 3 seeds held: ")
    assert " h a second)" in out


def test_a_flaw_names_its_seed_and_can_be_replayed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent, "granted", lambda *_: True)
    assert main(["simulate", "--seeds", "3", "--json"]) == 1
    (first, *_) = json.loads(capsys.readouterr().out)["found"]
    seed, flaw = first["seed"], first["flaws"][0]
    assert flaw.endswith("was sent without consent")
    assert main(["simulate", "--seeds", "1", "--first-seed", str(seed)]) == 1
    out = capsys.readouterr().out
    assert f"seed {seed}: {flaw}" in out
    assert f"all that happened: hookline simulate --replay {seed}" in out
    assert main(["simulate", "--replay", str(seed)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "worker 1   starts" in lines[0]
    at = next(index for index, line in enumerate(lines) if f"FLAW       {flaw}" in line)
    event = flaw.partition(" was sent")[0]
    assert f"for {event}: " in lines[at - 1], "the request the flaw is about is told right before"
    assert f"{first['events']} events, {first['requests']} requests" in lines[-1]


def test_a_replay_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--replay", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flaws"] == []
    assert len(found["trace"]) > found["events"]
