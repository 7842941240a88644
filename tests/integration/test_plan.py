"""`hookline plan --live` counts the runs that wait on a real Kafka and that a change touches."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys

from tests.support.conditions import eventually
from tests.support.system import event, step


async def test_runs_that_wait_are_counted_by_journey_and_tier(system, receiver, tmp_path) -> None:
    receiver.behaviour.unavailable = 1.0
    receiver.behaviour.retry_after = "3600"  # put off once, for the longest tier
    system.destination("crm", receiver.url, retry={"max_attempts": 8})
    system.journey("other", step("crm", "crm.upsert"), trigger={"events": ["signup.imported"]})
    system.tiers = ["1s", "1h"]
    await asyncio.to_thread(system.prepare)
    system.worker()
    sent = [event(n) for n in range(3)] + [event(n, type="signup.imported") for n in range(2)]
    await asyncio.to_thread(system.feed, sent)

    async def waiting() -> int:
        listed = await asyncio.to_thread(system.run, "waiting", "list", "--json")
        return int(json.loads(listed.stdout)["count"]) if listed.returncode == 0 else 0

    async def all_wait() -> bool:
        return await waiting() == len(sent)

    await eventually(all_wait, timeout_s=60)
    old = shutil.copytree(system.folder, tmp_path / "old")
    system.journey("welcome", step("crm", "crm.upsert"), goal="Another goal")
    system.write()
    said = await asyncio.to_thread(plan, old, system)
    assert [(each["journey"], each["what"], each["runs"], each["deliveries"]) for each in said["in_flight"]] == [
        ("welcome", "changed", 3, 3)
    ]
    assert said["in_flight"][0]["tier"].startswith(f"{system.group}.retry.")
    assert said["in_flight"][0]["why"] == ["journey welcome changed"]
    system.destination("crm", receiver.url, retry={"max_attempts": 9})
    system.write()
    said = await asyncio.to_thread(plan, old, system)
    assert [(each["journey"], each["what"], each["why"], each["runs"]) for each in said["in_flight"]] == [
        ("other", "unchanged", ["destination crm changed"], 2),
        ("welcome", "changed", ["journey welcome changed", "destination crm changed"], 3),
    ]
    (system.folder / "journeys/other.yaml").unlink()
    said = await asyncio.to_thread(plan, old, system)
    assert [(each["journey"], each["what"], each["runs"]) for each in said["in_flight"]] == [
        ("other", "removed", 2),
        ("welcome", "changed", 3),
    ]


def plan(old, system) -> dict[str, object]:
    words = ["plan", str(old), str(system.folder), "--live", "--json", "--env", "test"]
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", *words], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **system.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
