"""The examples, as a user performs them: on the demo's own broker, and on a real Kafka."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pipeline.adapters.kafka.admin import Admin
from pipeline.cli.demo import example

if TYPE_CHECKING:
    from tests.support.broker import Broker

HANG_S = 300
"""No measure of speed: after that it hangs."""

pytestmark = pytest.mark.timeout(HANG_S + 30)


def perform(name: str, folder: object, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "demo", "--example", name, *arguments],
        capture_output=True, text=True, timeout=HANG_S, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "160"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", example.names())
def test_all_goes_as_told_on_a_real_kafka(name: str, kafka: Broker, tmp_path) -> None:
    told = perform(name, tmp_path, "--bootstrap", kafka.bootstrap)
    assert "all as told; every event is accounted for" in told
    assert "\u2717" not in told
    assert [each for each in Admin({"bootstrap.servers": kafka.bootstrap}).partitions() if "demo-" in each] == []


def test_without_kafka_it_brings_its_own_broker_and_leaves_nothing(tmp_path) -> None:
    assert "all as told" in perform("unsubscribe_everywhere", tmp_path)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("hookline-demo-")] == []


def test_one_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "demo", "--example", "card_abandonment"],
        capture_output=True, text=True, timeout=HANG_S, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "cart_abandonment" in done.stderr
