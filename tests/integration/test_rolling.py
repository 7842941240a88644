"""A fleet of three under load is restarted, one worker after the other, under both group protocols."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.fleet import KEEP_REQUESTS, Fleet
from tests.support.system import System

WORKERS = 3
PER_S = 80
SECTIONS = {"cooperative-sticky": {}, "kip-848": {"group_protocol": "consumer"}}
"""The `kafka` section beside `bootstrap`."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS)
async def test_a_rolling_restart_under_load_repeats_no_delivery(tmp_path, kafka, unique, section) -> None:
    receiver = Receiver(Behaviour(latency_ms=20, unavailable=0.03), keep=KEEP_REQUESTS)
    await receiver.start()
    system = System(tmp_path / "config", kafka, unique, partitions=6)
    system.hookline["kafka"] = {"bootstrap": kafka.bootstrap, **section}
    system.destination("crm", receiver.url)
    fleet = Fleet(system, receiver)
    try:
        await fleet.begin(WORKERS)
        assert kafka.group_protocol(unique) == section.get("group_protocol", "classic")
        async with fleet.load(PER_S):
            for old in tuple(fleet.running):
                await fleet.under_way()
                await fleet.term(old)
                await fleet.start()
                await fleet.serving()
            await fleet.under_way()
        await fleet.settled()
    finally:
        system.stop()
        await receiver.stop()
    times = Counter(each.delivery_id for each in fleet.accepted())
    assert len(times) == len(fleet.places)
    assert [each for each, count in times.items() if count > 1] == []
