"""The receiver fails in every way at once, goes away, and answers too late."""

from __future__ import annotations

import time

import pytest

from tests.support.conditions import eventually

WORKERS = 3
PER_S = 80
AWAY_S = 4.0
LATE_MS = 2_000
"""Above the timeout of an attempt (1 s): the receiver has taken it, and we cannot know."""

pytestmark = pytest.mark.timeout(600)


async def test_a_receiver_that_fails_goes_away_and_is_late(fleet_on, kafka_private, receiver, figures) -> None:
    fleet = fleet_on(kafka_private, timeout="1s")
    await fleet.begin(WORKERS)
    async with fleet.load(PER_S):
        receiver.behaviour.unavailable, receiver.behaviour.reset = 0.3, 0.05
        await fleet.under_way(PER_S * 3)
        away = fleet.fault("receiver")
        await receiver.down()
        await eventually(lambda: time.time() >= away.at_s + AWAY_S, AWAY_S + 1)
        await receiver.up()
        away.until_s = time.time()
        await fleet.under_way(PER_S * 3)
        late = fleet.fault("receiver")
        usual, receiver.behaviour.latency_ms = receiver.behaviour.latency_ms, LATE_MS
        await eventually(lambda: time.time() >= late.at_s + AWAY_S, AWAY_S + 1)
        receiver.behaviour.latency_ms = usual
        late.until_s = time.time() + LATE_MS / 1000  # what was taken up before is still answered late
        receiver.behaviour.unavailable, receiver.behaviour.reset = 0.03, 0.01
        await fleet.under_way(PER_S * 3)
    await figures.judge(
        fleet, "30% of answers 503, 5% resets, the receiver gone for 4 s, then 4 s of answers later than the timeout",
        "test_a_receiver_that_fails_goes_away_and_is_late",
    )  # fmt: skip
