"""`hookline bench` measures on a real Kafka, says what it found, and leaves nothing behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from confluent_kafka.admin import AdminClient


def test_a_short_bench_reports_figures_and_removes_its_topics(kafka):
    known = set(AdminClient(dict(kafka.settings)).list_topics(timeout=20).topics)
    argv = [sys.executable, "-m", "pipeline", "bench", "--bootstrap", kafka.bootstrap, "--rounds", "1", "--no-peers"]

    done = subprocess.run(
        [*argv, "--events", "1000", "--latency", "0", "--in-flight", "32", "--json"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (scenario,) = json.loads(done.stdout)["scenarios"]
    (measured,) = scenario["rounds"]
    assert measured["requests"] == 1000
    assert 0 < measured["deliveries"] <= 1000
    assert measured["peak_mb"] > 0
    left = set(AdminClient(dict(kafka.settings)).list_topics(timeout=20).topics) - known
    assert left <= {"__consumer_offsets"}  # Kafka's own, made when the first group comes


def test_peers_that_can_be_built_are_measured_on_the_same_backlog(kafka):
    if shutil.which("go") is None:
        pytest.skip("no Go here")
    argv = [sys.executable, "-m", "pipeline", "bench", "--bootstrap", kafka.bootstrap, "--quick", "--events", "2000"]
    done = subprocess.run([*argv, "--json"], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    measured = {each["peer"]: each["rounds"] for each in told["peers"]}
    assert {"go", "parallel_consumer"} == measured.keys() | told["skipped"].keys()
    assert "go" in measured, told["skipped"]
    assert all(each["deliveries"] == 2000 for rounds in measured.values() for each in rounds)
    assert told["ratios"].keys() == measured.keys()
