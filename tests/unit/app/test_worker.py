"""app/worker: an exception nobody catches stops the worker; the fleet's rates are shared by partitions."""

from __future__ import annotations

import asyncio

import pytest

from pipeline.app.worker import Worker
from pipeline.cli.bench import scene
from pipeline.cli.bench.figures import Scenario
from pipeline.config.load import load
from pipeline.core.offsets import Tracker
from pipeline.testing.fakes import FakeSource
from tests.unit.run.conftest import until


@pytest.fixture
async def worker(tmp_path, monkeypatch):
    for name, content in scene.ENVIRON.items():
        monkeypatch.setenv(name, content)
    files = scene.documents("g", "in", "nowhere:9", Scenario("", 0, 8), "http://127.0.0.1:9", "")
    del files["hookline.yaml"]["telemetry"]
    scene.write(tmp_path, files)
    made = Worker(load(tmp_path, "bench"), worker_id="w")
    yield made
    made.telemetry.close()


class Halting:
    """Stands where an intake stands."""

    def __init__(self, role: str, owned: int, total: int) -> None:
        self.source = FakeSource(role, total)
        self.trackers = {("in", n): Tracker("in", n, 0) for n in range(owned)}
        self.halted = False

    def halt(self) -> None:
        self.halted = True


async def test_an_exception_in_a_callback_of_the_loop_is_fatal(worker) -> None:
    intake = Halting("input", 1, 1)
    worker.intakes.append(intake)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(worker._broken)

    def broken() -> None:
        raise ZeroDivisionError

    loop.call_later(0, broken)
    await until(worker._stopping.is_set)
    assert isinstance(worker._error, ZeroDivisionError)
    assert intake.halted


async def test_noise_of_the_network_is_not(worker, caplog) -> None:
    worker._broken(asyncio.get_running_loop(), {"message": "transport", "exception": OSError(), "transport": None})
    assert worker._error is None
    assert "transport" in caplog.text


@pytest.mark.parametrize(
    ("inputs", "retries", "share"), [(4, 4, 1.0), (2, 2, 0.5), (0, 4, 0.2), (0, 0, 0.0), (4, 0, 0.8)]
)
async def test_whoever_owns_partitions_has_a_share_of_the_rates(worker, inputs, retries, share) -> None:
    worker.intakes += [Halting("input", inputs, 4), Halting("retry", retries, 4)]
    assert worker._share() == pytest.approx(share)
