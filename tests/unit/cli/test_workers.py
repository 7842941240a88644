"""Workers in `hookline status`: which configuration each runs, and why one could not take over another."""

from __future__ import annotations

from datetime import datetime

import orjson
import pytest

from pipeline.cli import screen, status, workers
from pipeline.config.load import load
from pipeline.core.fleet import Fleet
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


def test_those_that_fell_silent_come_last(fleet, capsys):
    [one, other] = fleet.alive(NOW_MS)
    screen.console().print(workers.table([one], [other], NOW_MS + 1_000))
    lines = [line for line in capsys.readouterr().out.splitlines() if " h " in line]
    assert [("gone" in line) for line in lines] == [False, True]
