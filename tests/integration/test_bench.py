"""`hookline bench` measures on a real Kafka, says what it found, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys

from confluent_kafka.admin import AdminClient


def test_a_short_bench_reports_figures_and_removes_its_topics(kafka):
    known = set(AdminClient(dict(kafka.settings)).list_topics(timeout=20).topics)
    argv = [sys.executable, "-m", "pipeline", "bench", "--bootstrap", kafka.bootstrap, "--rounds", "1"]

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
