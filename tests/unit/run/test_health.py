"""run/health: only the probe closes or opens a half-open breaker, and no probe wedges it, however it ends."""

from __future__ import annotations

import pytest

from pipeline.model import BreakerPolicy, FailureClass
from pipeline.ports import LaneStats
from pipeline.run.health import Health
from pipeline.testing.fakes import FakeClock, FakeTelemetry
from tests.unit.run.conftest import step


class Scene:
    def __init__(self, world) -> None:
        self.now_s = 0.0
        self.stats = LaneStats()
        self.telemetry = FakeTelemetry()
        policy = BreakerPolicy(0.5, 4, 1_000, 8_000, rejections=0.2, rejections_of=10)
        self.health = Health("crm", policy, self.stats, self.telemetry, FakeClock(), lambda: self.now_s)
        self._world = world

    def delivery(self):
        return self._world.deliveries(step())[0]

    def opened(self):
        """Refused and open; a second later it is half-open."""
        self.health.refused(self.delivery())
        assert not self.health.admits(self.now_s)
        self.now_s += 1.0

    def probe(self):
        assert self.health.admits(self.now_s)
        delivery = self.delivery()
        self.health.started(delivery)
        assert not self.health.admits(self.now_s)
        return delivery


@pytest.fixture
def scene(world) -> Scene:
    return Scene(world)


def test_opening_and_closing_are_told_once_with_since_when_and_why(scene) -> None:
    delivery = scene.delivery()
    scene.health.noted(delivery, FailureClass.TIMEOUT)
    assert [scene.health.failed(scene.delivery()) for _ in range(4)] == [False, False, False, True]
    assert (scene.stats.state, scene.stats.last_class) == ("open", "timeout")
    scene.now_s = 1.0
    scene.health.succeeded(scene.probe())
    assert scene.stats.state == "closed"
    assert [event for _, event, _ in scene.telemetry.lines] == ["breaker_open", "breaker_closed"]


def test_what_began_before_the_breaker_opened_says_nothing_while_it_is_half_open(scene) -> None:
    old = [scene.delivery() for _ in range(4)]
    scene.opened()
    probe = scene.probe()
    assert not scene.health.failed(old[0])
    scene.health.succeeded(old[1])
    assert not scene.health.rejected(old[2])
    scene.health.refused(old[3])
    assert scene.stats.state == "half-open"
    scene.health.succeeded(probe)
    assert scene.stats.state == "closed"


@pytest.mark.parametrize("end", ["succeeded", "failed", "rejected", "refused", "abandoned"])
def test_however_the_probe_ends_another_attempt_is_admitted_in_time(scene, end) -> None:
    scene.opened()
    probe = scene.probe()
    getattr(scene.health, end)(probe)
    scene.now_s += 8.0
    assert scene.health.admits(scene.now_s)


def test_a_fifth_of_rejections_opens_it_and_a_rejected_probe_keeps_it_open(scene) -> None:
    for number in range(20):
        if number % 10 == 9:
            assert not scene.health.rejected(scene.delivery()), "one in ten is no mistake of ours"
        else:
            scene.health.succeeded(scene.delivery())
    assert scene.health.rejected(scene.delivery())
    assert scene.stats.state == "open"
    scene.now_s = 1.0
    assert scene.health.rejected(scene.probe())
    scene.now_s = 3.0
    scene.health.succeeded(scene.probe())
    assert scene.stats.state == "closed"


def test_a_rejected_probe_closes_what_failures_opened(scene) -> None:
    scene.opened()
    assert not scene.health.rejected(scene.probe())
    assert scene.stats.state == "closed"
