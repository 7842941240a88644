"""app/alerting: what fails, opens, errs or stops is told to those its step names; nobody else, and nothing more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from pipeline.app import alerting as module
from pipeline.app.alerting import SHARE_WINDOW_MS, Alerting
from pipeline.config.alerts import Audience
from pipeline.model import Outcome
from pipeline.ports import Halt, LaneStats
from pipeline.run.misses import Misses
from pipeline.testing.fakes import FakeTelemetry
from pipeline.testing.notifier import FakeNotifier
from tests.unit.run.conftest import until

MINUTE_MS = 60_000
SLACK = "oncall"


class Scene:
    """Alerting on a clock of its own: `look` is what its timer does each second."""

    def __init__(self) -> None:
        self.now_ms = 1_795_428_000_000
        self.telemetry = FakeTelemetry()
        self.misses = Misses(self.telemetry.log)
        self.mail = LaneStats()
        self.halts: list[Halt] = []
        self.notifier = FakeNotifier()
        audience = Audience(
            {SLACK: 5 * MINUTE_MS, "sales": 5 * MINUTE_MS},
            {"mail": (SLACK,)},
            {("welcome", "trigger.when"): (SLACK,), ("welcome", "steps.hello.when"): ("sales",)},
            {"welcome": ("signup.completed", "signup.imported")},
        )
        self.alerting = Alerting(
            audience, self.notifier, {"mail": self.mail, "crm": LaneStats()}, self.misses,
            lambda: self.now_ms * 1_000_000, self.telemetry.log, "group shop, worker w-1",
            lambda: self.halts,
        )  # fmt: skip

    def look(self, minutes: float = 0) -> None:
        self.now_ms += int(minutes * MINUTE_MS)
        self.alerting._timer.cancel()
        self.alerting._look()

    def fail(self, *alerts: str, event: str = "e-1", outcome: Outcome = Outcome.DEAD) -> None:
        step = SimpleNamespace(journey="welcome", name="hello", destination="mail", alerts=alerts)
        flight = SimpleNamespace(event=SimpleNamespace(id=event))
        self.alerting.failed(SimpleNamespace(step=step, run=SimpleNamespace(flight=flight)), outcome, "timeout")

    def titles(self) -> list[tuple[str, str]]:
        return [(name, title) for name, title, _, _ in self.notifier.told]


@pytest.fixture
async def scene():
    made = Scene()
    yield made
    await made.alerting.close()
    assert made.notifier.closed


async def test_a_failure_is_told_to_those_its_step_names(scene) -> None:
    scene.fail()
    scene.look()
    assert scene.titles() == []
    scene.fail(SLACK, outcome=Outcome.DEFAULTED)
    scene.look()
    [(name, title, body, well)] = scene.notifier.told
    assert (name, title, well) == (SLACK, "Hookline: 1 delivery failed", False)
    assert body.startswith("1 defaulted(timeout): welcome.hello to mail\n")
    assert "group shop, worker w-1" in body
    scene.look(5)
    assert scene.titles()[1:] == [(SLACK, "Hookline: all is well again")]


async def test_a_name_that_is_no_longer_configured_is_nobody(scene) -> None:
    scene.fail("gone", SLACK)
    scene.look()
    assert [name for name, _ in scene.titles()] == [SLACK]


async def test_the_first_one_goes_out_by_itself_and_within_a_second(scene, monkeypatch) -> None:
    scene.alerting._timer.cancel()
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    scene.alerting._look()
    scene.fail(SLACK)
    await until(lambda: scene.titles() != [])
    await until(lambda: scene.alerting.results == {(SLACK, "sent"): 1})


async def test_breakers_of_destinations_whose_steps_alert(scene) -> None:
    scene.mail.state, scene.mail.last_class = "open", "timeout"
    scene.look()
    scene.mail.state = "half-open"
    scene.look(6)
    scene.mail.state = "open"
    scene.look(6)
    assert scene.titles() == [(SLACK, "Hookline: mail does not take deliveries")]
    scene.mail.state = "closed"
    scene.look(1)
    assert scene.titles()[1:] == [(SLACK, "Hookline: all is well again")]


async def test_conditions_that_fail_too_often_are_told_by_their_place(scene) -> None:
    scene.misses.taken.update({"signup.completed": 600, "signup.imported": 400, "other": 10_000})
    for _ in range(10):
        scene.misses.condition("welcome", "trigger.when", "e")
    scene.look()
    assert scene.titles() == []
    scene.misses.condition("welcome", "trigger.when", "e")
    scene.look()
    [(name, title, body, _)] = scene.notifier.told
    assert (name, title) == (SLACK, "Hookline: conditions fail")
    assert body.startswith("1.1% of 1,000 times the condition failed: welcome trigger.when\n")


async def test_the_share_is_of_a_window(scene) -> None:
    scene.misses.runs["welcome"] = 100_000
    scene.misses.condition("welcome", "steps.hello.when", "e")
    scene.look()
    scene.look(SHARE_WINDOW_MS / MINUTE_MS + 1)
    scene.misses.runs["welcome"] += 10
    scene.misses.condition("welcome", "steps.hello.when", "e")
    scene.look()
    [(name, _, body, _)] = scene.notifier.told
    assert name == "sales"
    assert body.startswith("10.0% of 10 times the condition failed: welcome steps.hello.when\n")


async def test_a_worker_that_stops_tells_everybody(scene) -> None:
    scene.alerting.worker_failed("BrokerError")
    assert sorted(scene.titles()) == [(SLACK, "Hookline: a worker stopped"), ("sales", "Hookline: a worker stopped")]


async def test_a_worker_that_is_stopped_tells_what_it_still_has_to_tell(scene) -> None:
    scene.fail(SLACK)
    scene.look()
    scene.fail(SLACK)
    scene.fail(SLACK)
    await scene.alerting.close()
    await scene.alerting.close()
    assert scene.titles()[1:] == [(SLACK, "Hookline: 2 deliveries failed")]


@pytest.mark.parametrize("how", ["refuses", "room"])
async def test_what_cannot_be_sent_is_counted_logged_and_told_later(scene, how) -> None:
    setattr(scene.notifier, how, how == "refuses" or 0)
    scene.fail(SLACK, event="e-1")
    scene.look()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert scene.alerting.results == {(SLACK, "failed"): 1}
    assert [(level, event, fields["alert"]) for level, event, fields in scene.telemetry.lines] == [
        ("error", "alert_failed", SLACK)
    ]
    scene.notifier.refuses, scene.notifier.room = False, 9
    scene.look(1)
    assert scene.titles() == []
    scene.look(4)
    await asyncio.sleep(0)
    [(_, title, body, _)] = scene.notifier.told
    assert title == "Hookline: 1 delivery failed"
    assert "with e-1" in body


async def test_what_stands_still_is_told_to_everybody_once_and_that_it_goes_on(scene) -> None:
    scene.look()
    why = "50 undecodable of the last 612 positions"
    scene.halts = [Halt("intake events", scene.now_ms, why, scene.now_ms + 10_000)]
    scene.look()
    assert scene.titles() == [(SLACK, "Hookline: intake events stands still"),
                              ("sales", "Hookline: intake events stands still")]  # fmt: skip
    assert scene.notifier.told[0][2].startswith(f"intake events stands still: {why}. Nothing is lost; see: hookline")
    scene.look(6)
    scene.fail(SLACK)
    scene.look()
    assert scene.titles()[2:] == [(SLACK, "Hookline: 1 delivery failed")], "not well, not told again, not forgotten"
    assert "intake events stands still" in scene.notifier.told[2][2]
    scene.halts = []
    scene.look(6)
    assert scene.titles()[3:] == [(SLACK, "Hookline: all is well again"), ("sales", "Hookline: all is well again")]
    assert "intake events goes on again" in scene.notifier.told[4][2]
