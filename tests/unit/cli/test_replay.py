"""cli/replay: what is written for a run and said of it. The command on a broker: tests/integration."""

from __future__ import annotations

import argparse
import json
from collections import Counter

import pytest

from pipeline.cli import replay
from pipeline.cli.rerun import Chosen, Rerun
from pipeline.config.load import load
from pipeline.core import outcome, payload, runstate
from pipeline.core.replay import NO_LETTER, TOO_LARGE, Target
from pipeline.errors import ConfigError
from pipeline.model import Outcome, Record, Result
from tests.support.folder import write_folder

STEP = Target("crm", "update", drops_repeats=True, suffix=b"/welcome/crm")


def row(step: str = "crm", ended: Outcome = Outcome.DEAD, reason: str = "server_error") -> outcome.OutcomeRow:
    name = payload.delivery_id("e-1", f"/welcome/{step}".encode())
    found = outcome.decode(
        outcome.encode(
            outcome.prefix("welcome", "h" * 16, step, "crm", "upsert"), "e-1", "signup.completed", name, "ref",
            "events", 1, 7, 900, 800, 2, "t" * 32, ended, reason, 503, 4, 1_000, 2_000, 3, 0, (),
        )
    )  # fmt: skip
    assert isinstance(found, outcome.OutcomeRow)
    return found


def run(*places: tuple[int, int], **more) -> Rerun:
    return Rerun("welcome", tuple(Chosen(place, row(), STEP, "server_error") for place in places), ("crm",), **more)


def again(letters: list[Record], left: Counter[str]) -> replay._Again:
    made = object.__new__(replay._Again)
    made.delay_ms, made._left, made._names = 1_000, left, {"welcome": {"crm": "crm"}}
    made._records = lambda _places: iter(letters)
    return made


def kept(offset: int, *, partition=2, **answers: str) -> Record:
    results = {name: Result(Outcome.DELIVERED, "", 200, {"text": text}) for name, text in answers.items()}
    state = runstate.RunState("welcome", "", "e-1", ("events", 1, 7, 900), 2, 1, 3, 0, 0, "", False, "",
                              {"crm": runstate.StepState(0, 0, 0, "", 0)}, results=results)  # fmt: skip
    header = runstate.encode(state)
    assert header is not None
    return Record("dead", partition, offset, b"k", b"x", ((runstate.STATE_HEADER, header),), 1_000)


def test_the_outcome_is_of_the_hop_that_failed() -> None:
    found = outcome.decode(replay._outcome(row(), 5_000, 1_000))
    assert isinstance(found, outcome.OutcomeRow)
    assert (found.delivery_id, found.outcome, found.reason) == (row().delivery_id, "retrying", "replayed")
    assert (found.hop, found.due_ms, found.settled_at_ms, found.deliveries) == (3, 6_000, 5_000, 2)


def test_a_run_is_made_once_all_its_letters_were_read() -> None:
    one, other = run((2, 5), (2, 9), results={"ask": Result(Outcome.DELIVERED, "", 200)}), run((2, 7))
    letters = [kept(4), kept(5), kept(6), kept(7), kept(9, ask="A"), kept(10)]
    (batch,) = again(letters, left := Counter()).batches([one, other], 10)
    assert [each.run for each in batch] == [other, one]
    state, _ = batch[1].header(5_000, 1_000)
    assert (state.results["ask"].response, state.due_ms) == ({"text": "A"}, 6_000)
    assert left == {}


def test_what_cannot_be_made_is_left_alone_and_counted() -> None:
    large = run((2, 5), results={name: Result(Outcome.DELIVERED, "", 200) for name in ("a", "b")})
    letters = [kept(5, a="x" * 60_000)]
    letters[0] = Record("dead", 2, 5, b"k", b"x", letters[0].headers, 0)
    assert len(list(again(letters, Counter()).batches([large], 10))) == 1
    both = run((2, 5), (2, 6), results=large.results)
    left: Counter[str] = Counter()
    found = again([kept(5, a="x" * 40_000), kept(6, b="x" * 40_000)], left).batches([both, run((3, 1))], 10)
    assert (list(found), left) == ([], {TOO_LARGE: 2, NO_LETTER: 1})


def test_what_has_to_be_held_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(replay, "HELD_BYTES_MAX", 1_000)
    letters = [kept(at, ask="x" * 400) for at in range(4)]
    runs = [run((2, at), (2, at + 100)) for at in range(4)]
    with pytest.raises(ConfigError, match="--since"):
        list(again(letters, Counter()).batches(runs, 10))


def test_a_name_of_which_nothing_failed_and_that_is_not_known_is_refused_with_the_nearest(tmp_path) -> None:
    config = load(write_folder(tmp_path, "g", "g.events", "localhost:1"), None)
    asked = {"destination": "crm", "journey": "welcome", "step": "hello"}
    replay._refuse_unknown(argparse.Namespace(**asked), config)
    replay._refuse_unknown(argparse.Namespace(**dict.fromkeys(asked)), config)
    for name, near in asked.items():
        with pytest.raises(ConfigError, match=f"--{name}.*{near}"):
            replay._refuse_unknown(argparse.Namespace(**{**asked, name: near + "s"}), config)


def told(capsys, sent: list[Rerun], *, stay=0, **args: object) -> str:
    replay._say(argparse.Namespace(**({"json": False, "list": False, "dry_run": False} | args)), sent, {}, stay)
    return capsys.readouterr().out


def test_what_follows_is_told_apart_from_what_failed(capsys) -> None:
    sent = [run((2, 5), along=(row("report", Outcome.SKIPPED, "upstream"),))]
    out = told(capsys, sent, stay=3)
    assert "1 deliveries are sent again\n1 that were skipped because of them go on with them\n3 stay skipped" in out
    assert "e-1" not in out
    document = json.loads(told(capsys, sent, json=True, list=True, dry_run=True))
    assert (document["count"], document["following"], document["stay_skipped"]) == (1, 1, 0)
    assert document["groups"] == [
        {"journey": "welcome", "step": "crm", "destination": "crm", "class": "server_error", "count": 1}
    ]
    assert [(each["step"], each["follows"]) for each in document["deliveries"]] == [("crm", False), ("report", True)]
    assert row().delivery_id in told(capsys, sent, list=True)


def test_batches_keep_the_rate_and_what_was_late_is_not_made_up_for() -> None:
    pace = replay.Pace(10.0)
    assert pace.wait_s(10, 100.0) == 0.0
    assert pace.wait_s(5, 100.3) == pytest.approx(0.7)
    assert pace.wait_s(10, 101.0) == pytest.approx(0.5)
    assert pace.wait_s(10, 140.0) == 0.0, "the batch before took long"
    assert pace.wait_s(10, 140.0) == pytest.approx(1.0), "and this one waits its whole turn"


def test_a_rate_is_read_or_refused() -> None:
    assert replay._rate("50/s") == 50.0
    with pytest.raises(argparse.ArgumentTypeError, match="must be a rate"):
        replay._rate("fast")
