"""`hookline report` on a real Kafka: who was held out is told from who was treated, and a success from other events."""

from __future__ import annotations

import asyncio
import json
import signal
import time

from tests.support.conditions import eventually
from tests.support.system import event, step

CUSTOMERS = 40
WITHIN_S = 5


async def test_success_of_treated_and_held_out(system, receiver) -> None:
    """Every fourth customer buys the plan they looked at, every other one of the rest another plan."""
    system.destination("crm", receiver.url)
    match = "event.properties.plan == trigger.properties.plan"
    system.journey(
        "welcome", step("crm", "crm.upsert"), basis="consent", purpose="service", holdout="50%", category="service",
        success={
            "event": "purchase.completed", "match": match, "within": f"{WITHIN_S}s", "value": "event.properties.n",
        },
    )  # fmt: skip
    system.journeys["welcome"]["steps"][0]["reaches"] = "email"
    await asyncio.to_thread(system.prepare)
    worker = system.worker()
    began_ms = int(time.time() * 1_000)
    signups = [event(n, time=began_ms) for n in range(CUSTOMERS)]
    await asyncio.to_thread(system.feed, signups)
    bought = [_purchase(n, began_ms, "pro" if n % 4 == 0 else "basic") for n in range(0, CUSTOMERS, 2)]
    await asyncio.to_thread(system.feed, bought)
    await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 40) == 0
    held = {row.event_id for row in system.outcomes() if row.reason == "holdout"}
    out = [n for n, each in enumerate(signups) if each["id"] in held]
    assert 0 < len(out) < CUSTOMERS
    await eventually(lambda: time.time() * 1_000 > began_ms + WITHIN_S * 1_000 + 1_000, timeout_s=30)

    made = await asyncio.to_thread(system.run, "report", "--json")
    assert made.returncode == 0, made.stderr
    [journey] = json.loads(made.stdout)["journeys"]
    expected = {
        group: {
            "customers": len(some), "succeeded": sum(n % 4 == 0 for n in some),
            "value": float(sum(n for n in some if n % 4 == 0)),
        }
        for group, some in (("treated", [n for n in range(CUSTOMERS) if n not in out]), ("holdout", out))
    }  # fmt: skip
    told = {group: {key: journey["success"][group][key] for key in expected[group]} for group in expected}
    assert told == expected
    assert (journey["success"]["window_open"], journey["success"]["unknown"]) == (0, 0)
    assert journey["steps"]["crm"]["outcomes"] == {"delivered": CUSTOMERS - len(out), "skipped": len(out)}
    shown = await asyncio.to_thread(system.run, "report", "--since", "1h")
    assert "success: purchase.completed within 5 s" in shown.stdout
    assert not any(each["customer"]["id"] in made.stdout + shown.stdout for each in signups[10:])


def _purchase(number: int, began_ms: int, plan: str):
    properties = {"plan": plan, "n": number}
    return event(number, type="purchase.completed", time=began_ms + 1_000, properties=properties)
