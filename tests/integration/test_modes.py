"""Environments that call no destination, on a real Kafka: dry settles all, sending nothing; redirect feeds the sink."""

from __future__ import annotations

import asyncio
import signal

from tests.support.conditions import eventually
from tests.support.system import event

EVENTS = 5


async def test_dry_then_redirected_then_live_and_not_back(system, receiver) -> None:
    """The destination's own URL is nowhere, and its secrets are not set: only mode live needs them."""
    system.destination("crm", "https://crm.invalid/api", private_networks=[])
    secrets, system.environ = system.environ, {}
    system.overlay = {"mode": "dry"}
    await asyncio.to_thread(system.prepare)
    await _worked(system)
    outcomes = [(each.outcome, each.reason) for each in await asyncio.to_thread(system.outcomes)]
    assert outcomes == [("skipped", "dry")] * EVENTS
    assert not receiver.seen

    system.overlay = {
        "mode": "redirect",
        "redirect_to": {"url": f"{receiver.url}/sink", "private_networks": ["127.0.0.0/8"]},
    }
    await _worked(system)
    assert [(each.path, each.headers["hookline-original-url"]) for each in receiver.seen] == [
        ("/sink", "https://crm.invalid/api/upsert")
    ] * EVENTS
    assert not any({"authorization", "webhook-signature"} & set(each.headers) for each in receiver.seen)

    system.overlay, system.environ = {}, secrets
    system.destination("crm", receiver.url)
    await _worked(system)
    assert receiver.seen[-1].path == "/upsert"

    for overlay in ({"mode": "dry"}, {"mode": "redirect", "redirect_to": "https://sink.invalid"}):
        system.overlay = overlay
        system.write()
        refused = await asyncio.to_thread(system.run, "run")
        assert refused.returncode == 2
        assert f"mode: group {system.group} sends for real on these brokers" in refused.stderr


async def _worked(system) -> None:
    """Let a worker settle some more events in the present mode, and stop."""
    await asyncio.to_thread(system.write)
    worker = system.worker()
    await asyncio.to_thread(system.feed, [event(n) for n in range(EVENTS)])
    await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 40) == 0
