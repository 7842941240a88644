"""Performances are each on a clock of their own, and the same events give the same records."""

from __future__ import annotations

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config import staged
from pipeline.config.load import load
from pipeline.config.plain import NoEventError
from pipeline.testing.stage import declared
from pipeline.testing.stage.perform import Arrival, Events, Performer, Sent, live, unix_ms

EVENT = {
    "id": "7:placed", "type": "purchase.completed", "time": "2026-11-23T10:00:00Z",
    "customer": {"id": "c-1", "email": "ann@example.org"}, "consent": {"email": "granted"},
    "properties": {"total": "129.50", "state": "paid"},
}  # fmt: skip


@pytest.fixture
def parts(folder):
    return load(folder, None), dict(Folders((packaged(), folder / "schemas")).readers)


def test_the_same_events_give_the_same_records(parts):
    config, readers = parts
    events = Events(config, readers, ["thanks"])
    performer, script = events.performer(), declared.script(config)
    arrivals = [Arrival(unix_ms(EVENT["time"]) + 1_000, [events.record(EVENT)])]
    first, second = (performer.perform(arrivals, script, seed=7) for _ in range(2))
    assert first == second
    assert first.requests != performer.perform(arrivals, script, seed=8).requests  # span IDs are chance


def test_a_type_no_entry_makes(parts):
    with pytest.raises(NoEventError, match="no `events` entry"):
        Events(*parts, ["thanks"]).record(EVENT | {"type": "cart.lost"})


def test_what_is_no_event_is_said(parts):
    config, readers = parts
    performer = Performer(staged.bare(live(config, ["thanks"])), readers, {})
    assert "schema header" in performer.event(Sent("shop.orders", None, b"nothing"))


def test_times_are_read(parts):
    assert unix_ms("1970-01-01T01:00:01+01:00") == unix_ms(1_000) == 1_000
