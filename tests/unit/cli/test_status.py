"""cli/status: which destination a waiting step belongs to. The command itself: tests/integration."""

from __future__ import annotations

import pytest

from pipeline.cli import status
from pipeline.config.load import load
from pipeline.core.fleet import Fleet
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
    tiers = tuple(status.Tier(topic, 20, 1, {"crm": 10}, partial=False) for topic in ("a", "b"))
    ((state, waiting, drain),) = status._rows(config, status.Seen(1, Fleet(), (), tiers))
    assert (state.name, state.state, waiting, drain) == ("crm", "unknown", 20, 2_000)


def test_nothing_is_unsettled_without_workers():
    seen = status.Seen(1, Fleet(), (status.Lag("a", 1, 5), status.Lag("b", 1, 2)), ())
    assert status._lags(seen) == (7, 7, 0)
