"""`hookline demo` as a newcomer runs it: no Kafka, no Java, no terminal; it accounts for everything and ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.adapters.kafka.admin import Admin
from tests.support.children import Child
from tests.support.conditions import wait_until

HANG_S = 120
"""No measure of speed: after that it hangs."""
EVENTS = "300"

pytestmark = pytest.mark.timeout(HANG_S + 30)


def demo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", "demo", "--events", EVENTS, *arguments]


def left_behind(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.name.startswith("hookline-demo-")]


def test_it_accounts_for_every_event_prints_one_trace_and_leaves_nothing(tmp_path) -> None:
    done = subprocess.run(
        demo(), capture_output=True, text=True, timeout=HANG_S, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    told = done.stdout
    assert "309 records sent; accounted for:" in told
    assert "hookline account: balanced" in told
    assert "✗" not in told
    assert told.count("✓") == 7
    assert re.search(r"deliveries are called delivered; the receivers accepted the same [1-9]", told)
    assert len(re.findall(r"^event [0-9a-f-]{36}  \w+\.\w+$", told, re.MULTILINE)) == 1
    assert re.search(r"handed over \(hop 1\)|attempt 2", told)
    assert "mail is down: its breaker is open" in told
    assert "\x1b" not in told
    assert len(told.splitlines()) < 100
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_its_worker_and_leaves_nothing(tmp_path, number) -> None:
    log = tmp_path / "demo.log"
    running = Child(demo(), log, TMPDIR=str(tmp_path))
    try:
        wait_until(lambda: "crm 1" in log.read_text(), HANG_S, "first deliveries")
        (folder,) = left_behind(tmp_path)
        assert workers(folder)
        running.send(number)
        assert running.wait(HANG_S) == 130
        assert "Traceback" not in log.read_text()
        assert left_behind(tmp_path) == []
        assert not workers(folder)
    finally:
        running.stop()


def workers(folder: str) -> list[str]:
    """Command lines of the workers of one demo."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = each.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "run" in words and any(folder in word for word in words):
            found.append(" ".join(words))
    return found


def test_a_kafka_that_is_not_there_is_said_in_one_line(tmp_path) -> None:
    done = subprocess.run(
        demo("--bootstrap", "127.0.0.1:1"), capture_output=True, text=True, timeout=HANG_S, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "Kafka did not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_runs_on_a_real_kafka_and_takes_its_topics_away(kafka, tmp_path) -> None:
    admin = Admin({"bootstrap.servers": kafka.bootstrap})
    before = {name for name in admin.partitions() if name.startswith("demo-")}
    done = subprocess.run(
        demo("--bootstrap", kafka.bootstrap), capture_output=True, text=True, timeout=HANG_S, check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗" not in done.stdout
    wait_until(lambda: {name for name in admin.partitions() if name.startswith("demo-")} == before)
