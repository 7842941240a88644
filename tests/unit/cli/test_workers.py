"""Workers in `hookline status`: which configuration each runs, and why one could not take over another."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import orjson
import pytest

from pipeline.cli import screen, status, workers
from pipeline.config.load import load
from pipeline.core.fleet import Fleet, Stuck
from pipeline.core.switches import Switches
from tests.support.folder import write_folder

TOLD = {
    "at": "2026-01-01T00:00:00+00:00", "host": "h", "pid": 1, "version": "1", "unsettled": 0, "oldest_ms": 0,
    "assigned": {"input": ["events/0"]}, "lanes": {},
}  # fmt: skip
NOW_MS = int(datetime.fromisoformat(TOLD["at"]).timestamp() * 1_000)
PROBLEM = "journeys/welcome.yaml:3:1: gaol: there is no such key (did you mean [goal])"


@pytest.fixture
def fleet():
    made = Fleet()
    made.note(b"worker/a", orjson.dumps(TOLD | {"config": "0123456789ab", "refused": [PROBLEM]}))
    made.note(b"worker/b", orjson.dumps(TOLD))
    return made


def test_what_is_refused_is_told_and_needs_attention(fleet, tmp_path, capsys):
    config = load(write_folder(tmp_path, "shop", "events", "broker:9092"), None)
    seen = status.Seen(NOW_MS, fleet, Switches(), (), ())
    assert status._attention(config, seen)
    status._print(config, seen)
    out = capsys.readouterr().out
    assert "0123456789ab" in out
    assert f"a goes on as it is; the configuration in its folder is refused:\n{PROBLEM}\n" in out
    assert "b goes on" not in out


def test_workers_of_releases_that_did_not_tell(fleet):
    told = {each.id: workers.document(each) for each in fleet.alive(NOW_MS)}
    assert (told["a"]["config"], told["a"]["refused"]) == ("0123456789ab", (PROBLEM,))
    assert (told["b"]["config"], told["b"]["refused"]) == ("", ())
    assert list(workers.refused([each for each in fleet.alive(NOW_MS) if each.id == "b"])) == []


def test_workers_that_send_nothing_or_to_a_sink_are_told(fleet):
    for name, mode in (("c", "dry"), ("d", "redirect"), ("e", "dry")):
        fleet.note(f"worker/{name}".encode(), orjson.dumps(TOLD | {"mode": mode}))
    alive = fleet.alive(NOW_MS)
    assert [workers.document(each)["mode"] for each in alive] == ["live", "live", "dry", "redirect", "dry"]
    assert list(workers.unsent(alive)) == [
        "[yellow]mode redirect: 1 of 5 workers send every request to the sink[/]",
        "[yellow]mode dry: 2 of 5 workers send nothing[/]",
    ]
    assert list(workers.unsent(alive[:2])) == []


def test_those_that_fell_silent_come_last(fleet, capsys):
    [one, other] = fleet.alive(NOW_MS)
    screen.console().print(workers.table([one], [other], NOW_MS + 1_000))
    lines = [line for line in capsys.readouterr().out.splitlines() if " h " in line]
    assert [("gone" in line) for line in lines] == [False, True]


def test_what_stands_still_is_told_once_for_all_workers_with_what_to_do(fleet, tmp_path, capsys):
    since_ms = NOW_MS - 240_000
    for name, look_ms in (("a", NOW_MS + 72_000), ("c", NOW_MS + 90_000)):
        halts = [["intake events", since_ms, "50 undecodable of the last 612 positions", look_ms]]
        fleet.note(f"worker/{name}".encode(), orjson.dumps(TOLD | {"halts": halts}))
    config = load(write_folder(tmp_path, "shop", "events", "broker:9092"), None)
    seen = status.Seen(NOW_MS, fleet, Switches(), (), ())
    assert status._attention(config, seen)
    status._print(config, seen)
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "intake events stands still in 2 of 3 workers, for 4 m: 50 undecodable of the last 612 positions; "
        "tried again in 1 m 12 s; see: hookline dead list; to go on whatever comes: "
        "hookline resume intake events --reason TEXT"
    ) in out
    assert workers.document(fleet.alive(NOW_MS)[0])["halts"][0].look_ms == NOW_MS + 72_000
    assert fleet.alive(NOW_MS)[1].halts == ()


def test_a_log_that_waits_is_told_with_whose_events_and_what_to_look_at():
    report = SimpleNamespace(stuck=[Stuck("shop.ordered.stage", 3, 1_000, 1), Stuck("shop.ordered.stage", 4, 1_000, 2)])
    one, two = workers.stuck([report], "shop")
    assert "shop.ordered.stage/3 waits: 1,000 events of one customer are held" in one
    assert "hookline waiting list --journey stage" in one
    assert "of 2 customers" in two
