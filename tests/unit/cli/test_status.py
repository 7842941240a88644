"""cli/status: which destination a waiting step belongs to. The command itself: tests/integration."""

from __future__ import annotations

from datetime import datetime

import orjson
import pytest

from pipeline.cli import status
from pipeline.config.load import load
from pipeline.core import switches
from pipeline.core.fleet import DestinationState, Fleet
from pipeline.core.switches import Switches
from tests.support.folder import write_folder


@pytest.fixture
def config(tmp_path):
    return load(write_folder(tmp_path, "shop", "events", "broker:9092"), None)


@pytest.mark.parametrize(
    ("journey", "step", "named"), [("welcome", "hello", "crm"), ("welcome", "x", ""), ("x", "x", "")]
)
def test_a_waiting_step_waits_for_its_destination(config, journey, step, named):
    assert status._destination(config, journey, step) == named


def test_what_waits_drains_at_the_configured_rate_while_none_is_seen(config):
    tiers = tuple(status.Tier(topic, 20, 1, {"crm": 10}, {"crm": 1}, partial=False) for topic in ("a", "b"))
    ((state, waiting, drain),) = status._rows(config, status.Seen(1, Fleet(), Switches(), (), tiers))
    assert (state.name, state.state, waiting, drain) == ("crm", "unknown", 20, 2_000)


def test_nothing_is_unsettled_without_workers():
    seen = status.Seen(1, Fleet(), Switches(), (status.Lag("a", 1, 5), status.Lag("b", 1, 2)), ())
    assert status._lags(seen) == (7, 7, 0)


def test_places_with_a_name_that_may_be_misspelt_are_shown_the_most_frequent_first():
    misses = [["condition", "welcome", f"steps.s{n}.when", n + 1] for n in range(12)]
    misses.append(["type", "signup.completed", "events", 1_000])
    told = {
        "at": "2026-01-01T00:00:00+00:00", "host": "h", "pid": 1, "version": "1", "unsettled": 0, "oldest_ms": 0,
        "assigned": {}, "lanes": {}, "misses": misses,
    }  # fmt: skip
    fleet = Fleet()
    fleet.note(b"worker/a", orjson.dumps(told))
    seen = status.Seen(int(datetime.fromisoformat(told["at"]).timestamp() * 1_000), fleet, Switches(), (), ())
    lines = status._misses(seen)
    assert (
        lines[0]
        == "events: an event's type was almost signup.completed 1,000 times, and no journey asks for it: misspelt?"
    )
    assert lines[1].startswith("welcome: steps.s11.when failed 12 times")
    assert lines[-1] == "and 3 more places like these: --json has them all"
    assert len(lines) == status.MISSES_SHOWN + 1


@pytest.mark.parametrize(
    ("state", "cls", "said"),
    [
        ("open", "auth", "renew the credentials"),
        ("open", "client_error", "hookline dead list --destination crm"),
        ("half-open", "timeout", "hookline affected --destination crm"),
    ],
)
def test_a_destination_in_trouble_comes_with_what_to_do_next(config, state, cls, said):
    of_crm = DestinationState("crm", state, 1, 0, cls, "e", 0, 0, 0, 0, None)
    seen = status.Seen(10**13, Fleet(), Switches(), (), ())
    assert said in status._advice(config, seen, of_crm, 5)
    well = DestinationState("crm", "closed", 0, 0, "", "", 0, 0, 0, 0, None)
    assert status._advice(config, seen, well, 5) == ""
    back = DestinationState("crm", "closed", 10**13 - 1, 0, "", "", 0, 0, 0, 0, None)
    assert "hookline waiting release --destination crm" in status._advice(config, seen, back, 5)


def test_what_is_held_back_comes_first(config):
    said = Switches()
    said.note(switches.disabled_key("crm", "upsert"), switches.content("disabled", "worker a", "answered 410", 1), 1)
    seen = status.Seen(10**13, Fleet(), said, (), ())
    state = DestinationState("crm", "open", 1, 0, "timeout", "e", 0, 0, 0, 0, None)
    assert "hookline destination reset crm.upsert" in status._advice(config, seen, state, 0)
    assert status._word(seen, state) == ("open", 1)
    said.note(switches.pause_key("destination", "crm"), switches.content("paused", "ada", "coupon", 7), 7)
    assert status._word(seen, state) == ("paused", 7)
