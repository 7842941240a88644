"""`hookline simulate` says which seed found what, and replays it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pipeline.cli import main
from pipeline.core.gates import consent

if TYPE_CHECKING:
    import pytest


def test_seeds_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "3", "--first-seed", "5"]) == 0
    assert capsys.readouterr().out.startswith("3 of 3 seeds held: ")


def test_a_flaw_names_its_seed_and_can_be_replayed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent, "granted", lambda *_: True)
    assert main(["simulate", "--seeds", "3", "--json"]) == 1
    (first, *_) = json.loads(capsys.readouterr().out)["found"]
    assert first["flaws"] == ["sent without consent"]
    assert main(["simulate", "--replay", str(first["seed"])]) == 1
    out = capsys.readouterr().out
    assert f"seed {first['seed']}: sent without consent" in out
    assert f"{first['events']} events, {first['requests']} requests" in out
