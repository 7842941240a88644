"""The CDNOW purchases, real ones of 1997 and 1998, through a real Kafka and two workers to a receiver with troubles.

Every delivery ends delivered, rejected or dead, the account balances, and the receiver saw every delivery ID. A cut of
the data runs with all tests, the whole of it with `make soak`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.children import Child
from tests.support.conditions import wait_until

DATA = Path(__file__).parents[1] / "data"
PURCHASES = DATA / "cdnow_purchases.txt"
WHOLE = 69_659
CUT = 5_000
PARTITIONS = 8
WORKERS = 2
TIERS = ("2s", "10s", "1m")
SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


class Run:
    """One pass of purchases through a fleet; its configuration is tests/data/config/cdnow with names of its own."""

    def __init__(self, folder: Path, kafka, name: str) -> None:
        self.kafka = kafka
        self.group = name
        self.topic = f"{name}.lifecycle.events"
        self.folder = folder / "config"
        self.snapshot = folder / "seen.json"
        shutil.copytree(DATA / "config" / "cdnow", self.folder)
        main = self.folder / "hookline.yaml"
        text = main.read_text().replace("group: cdnow", f"group: {name}").replace("lifecycle.events", self.topic)
        main.write_text(f"{text}retry_tiers: [{', '.join(TIERS)}]\n")
        self.receiver_log = folder / "receiver.log"
        self.receiver = Child(
            [sys.executable, "-m", "pipeline.testing.receiver", "--latency", "20ms", "--unavailable", "5%", "--reset",
             "1%", "--reject", "0.5%", "--secret-env", "SIGNING", "--snapshot", str(self.snapshot)],
            self.receiver_log, SIGNING=SECRET,
        )  # fmt: skip
        self.receiver.wait_ready(lambda: self.receiver_log.read_text().startswith("http"), 20)
        url = self.receiver_log.read_text().split()[0]
        self.environ = {
            "KAFKA_BOOTSTRAP": kafka.bootstrap, "CRM_URL": url, "WAREHOUSE_URL": url, "CRM_TOKEN": "t",
            "CRM_SIGNING_SECRET": SECRET, "WAREHOUSE_API_KEY": "k", "WAREHOUSE_SIGNING_SECRET": SECRET,
        }  # fmt: skip
        self.fleet: Child | None = None
        self.fleet_log = folder / "fleet.log"

    def hookline(self, *arguments: str) -> str:
        """Run a command that must succeed; return what it printed."""
        done = subprocess.run(
            self._argv(*arguments), env={**os.environ, **self.environ}, capture_output=True, text=True, timeout=600,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        return done.stdout

    def start_fleet(self) -> None:
        """Start the workers."""
        argv = self._argv("run", "--workers", str(WORKERS))
        self.fleet = Child(argv, self.fleet_log, **self.environ)

    def settled(self) -> bool:
        """Whether everything is committed and nothing waits."""
        assert self.fleet is not None
        assert self.fleet.returncode is None, self.fleet.tail()
        groups = [(self.group, self.topic)]
        groups += [(f"{self.group}.retry", f"{self.group}.retry.{tier}") for tier in TIERS]
        return all(self.kafka.lag(group, topic) == 0 for group, topic in groups)

    def seen(self) -> dict[str, Any]:
        """Stop the receiver and return what it saw."""
        self.receiver.send(signal.SIGTERM)
        self.receiver.wait(30)
        return json.loads(self.snapshot.read_text())

    def stop(self) -> None:
        """End what still runs."""
        for child in (self.fleet, self.receiver):
            if child is not None and child.returncode is None:
                child.send(signal.SIGTERM)
                child.wait(60)

    def _argv(self, command: str, *arguments: str) -> list[str]:
        words = [command, *arguments, "--config", str(self.folder), "--env", "test"]
        return [sys.executable, "-m", "pipeline", *words]


@pytest.mark.soak
@pytest.mark.timeout(1_800)
def test_every_purchase_is_accounted_for(tmp_path, kafka, unique, soak) -> None:
    purchases = WHOLE if soak else CUT
    run = Run(tmp_path, kafka, unique)
    try:
        kafka.create_topic(run.topic, PARTITIONS)
        run.hookline("topics", "create")
        run.start_fleet()
        produced = json.loads(run.hookline("produce", str(PURCHASES), "--limit", str(purchases), "--json"))
        assert produced["delivered"] == purchases
        wait_until(run.settled, 60 + purchases / 100, "every purchase settled")
        account = json.loads(run.hookline("account", "--json"))
        run.fleet.send(signal.SIGTERM)
        assert run.fleet.wait(60) == 0
        seen = run.seen()
    finally:
        run.stop()
    print(_summary(purchases, account, seen))  # noqa: T201 - the figures are what a soak is for
    assert account["balanced"] is True
    outcomes = account["deliveries"]
    assert set(outcomes) <= {"delivered", "rejected", "dead"}
    assert sum(outcomes.values()) == 2 * purchases
    assert len(seen["ids"]) == 2 * purchases
    assert seen["bad_signatures"] == 0
    assert sum(accepted > 0 for _, accepted in seen["ids"].values()) == outcomes["delivered"]
    assert 0.002 < outcomes["rejected"] / (2 * purchases) < 0.01
    log = run.fleet_log.read_text()
    assert not re.search(r'"level":"(critical|error)"|Traceback', log), log[-3_000:]


def _summary(purchases: int, account: dict[str, Any], seen: dict[str, Any]) -> str:
    trigger = f"p50 {account['trigger_p50_ms']} ms, p95 {account['trigger_p95_ms']} ms"
    repeated = sum(max(accepted - 1, 0) for _, accepted in seen["ids"].values())
    return (
        f"\n{purchases} purchases, {2 * purchases} deliveries: {account['deliveries']}; time-to-trigger {trigger}; "
        f"requests {seen['requests']}, delivered more than once: {repeated}"
    )
