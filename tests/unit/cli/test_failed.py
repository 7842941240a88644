"""cli/failed: what is read of a letter, and which delivery of today it belongs to. On a broker: tests/integration."""

from __future__ import annotations

import dataclasses
import shutil
from types import SimpleNamespace

from pipeline.cli import failed
from pipeline.cli.letter import letter
from pipeline.cli.rerun import Chosen
from pipeline.config import load
from pipeline.core import payload, replay, runstate
from pipeline.model import Edge, Outcome, Record, Result
from tests.support.followed import ENDED
from tests.unit.config.test_compile_worked import WORKED

JOURNEY = failed.Journey(
    "welcome", {"send": replay.Target("send", "update", drops_repeats=True, suffix=b"/hello/post")},
    {"post": "send", "send": "send"},
)  # fmt: skip


def read(value: bytes | None = b"x", run: bytes | None = None, **says: str) -> failed.Failed:
    headers = [(f"hookline-{name.replace('_', '-')}", text.encode()) for name, text in says.items()]
    headers += [] if run is None else [(runstate.STATE_HEADER, run)]
    return failed.failed_by(letter(Record("dead", 2, 5, None, value, tuple(headers), 1_000)), {"welcome": JOURNEY})


def test_whether_it_may_have_arrived_is_recorded_and_guessed_for_letters_of_earlier_releases() -> None:
    assert read(attempts="3", status="422", ambiguous="yes").ambiguous
    assert not read(attempts="3", ambiguous="no").ambiguous
    assert read(attempts="3").ambiguous
    assert not read(attempts="3", status="503").ambiguous
    assert not read(attempts="0").ambiguous
    assert not read().ambiguous
    assert read(None).oversize


def test_what_it_keeps_of_its_run_is_read_under_today_s_names_and_damage_is_nothing() -> None:
    state = runstate.RunState("welcome", "", "e-1", ("in", 1, 7, 5), 2, 400, 3, 0, 0, "", False, "",
                              {"crm": runstate.StepState(0, 0, 0, "", 0)},
                              results={"post": Result(Outcome.DELIVERED, "", 200, {"code": "A"})})  # fmt: skip
    header = runstate.encode(state)
    found = read(run=header, journey="welcome")
    assert (found.kept.ended, found.began_ms) == ({"send": Result(Outcome.DELIVERED, "", 200)}, 400)
    assert read(run=header).kept.ended.keys() == {"post"}, "a journey nobody knows any more"
    assert read(run=b"junk").kept is None
    assert (read().kept, read().began_ms) == (None, 1_000)


def test_a_renamed_step_is_known_by_its_delivery_id_and_another_of_that_name_is_not() -> None:
    name = payload.delivery_id("e-1", b"/hello/post")
    one = dataclasses.replace(read(delivery_id=name), kept=None)
    row = SimpleNamespace(
        outcome=Outcome.DEAD, journey="hello", step="post", event_id="e-1", hop=0, settled_at_ms=1, delivery_id=name
    )
    known = {"hello": JOURNEY, "welcome": JOURNEY}
    chosen = failed._chosen(one, row, known, with_ambiguous=False)
    assert isinstance(chosen, Chosen)
    assert chosen.target.name == "send"
    other = dataclasses.replace(one, delivery_id=payload.delivery_id("e-1", b"/welcome/send"))
    assert failed._chosen(other, row, known, with_ambiguous=False) == replay.REMOVED
    assert failed._chosen(one, row, {}, with_ambiguous=False) == replay.REMOVED
    assert failed._chosen(dataclasses.replace(one, oversize=True), row, known, with_ambiguous=False) == replay.OVERSIZE


def test_today_s_journeys_are_known_by_all_their_names_with_their_edges(tmp_path) -> None:
    shutil.copytree(WORKED, tmp_path / "worked")
    config = load.load(tmp_path / "worked", None)
    known = failed.journeys(config)
    assert known.keys() >= config.journeys.keys()
    recovery = known["cart_recovery"].targets
    edges = {name: [edge.parent for edge in each.after] for name, each in recovery.items()}
    written = config.journeys["cart_recovery"].steps
    assert edges == {step.name: list(step.after) for step in written}
    assert any(Edge(parent, ENDED) in each.after for each in recovery.values() for parent in recovery)
    assert {step.name for step in written if step.kind in ("enrich", "decide")} >= {
        name for name, each in recovery.items() if each.keeps
    }
