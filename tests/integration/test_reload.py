"""Another configuration takes over in a running worker; a bad one is refused, and nothing is repeated."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import event, step

if TYPE_CHECKING:
    from tests.support.children import Child

EVENTS = 20


def said(worker: Child, name: str) -> int:
    return worker.log.read_text().count(f'"{name}"')


def bodies(receiver: Receiver) -> list[dict[str, object]]:
    return [json.loads(each.body) for each in receiver.seen]


async def test_a_bad_configuration_is_refused_and_the_old_one_goes_on(system, receiver, tmp_path) -> None:
    system.destination("crm", receiver.url)
    await asyncio.to_thread(system.prepare)
    worker = system.worker()
    await asyncio.to_thread(system.feed, [event(n) for n in range(5)])
    await eventually(lambda: receiver.accepted() == 5, timeout_s=60)
    running, deployed = shutil.copytree(system.folder, tmp_path / "running"), system.folder
    system.journey("welcome", step("crm", "crm.upsert", kind="updaet"))
    system.write()
    await eventually(lambda: said(worker, "configuration_refused") == 1, timeout_s=30)
    await asyncio.to_thread(system.feed, [event(n) for n in range(5)])
    await eventually(lambda: receiver.accepted() == 10, timeout_s=30)

    system.folder = running  # who looks has a configuration that can be read

    async def told() -> bool:
        shown = await asyncio.to_thread(system.run, "status")
        return shown.returncode == 1 and "is refused:\njourneys/welcome.yaml:" in shown.stdout

    await eventually(told, timeout_s=30)
    system.folder = deployed
    assert said(worker, "worker_started") == 1

    system.journey("welcome", step("crm", "crm.upsert"))  # as it was: the mistake is taken back
    system.write()
    await eventually(lambda: said(worker, "configuration_unchanged") == 1, timeout_s=30)
    worker.send(signal.SIGHUP)
    await eventually(lambda: said(worker, "configuration_unchanged") == 2, timeout_s=30)
    assert said(worker, "worker_started") == 1
    worker.send(signal.SIGTERM)
    assert await asyncio.to_thread(worker.wait, 30) == 0


async def test_another_configuration_takes_over_while_events_come(system, receiver) -> None:
    """Journeys, a destination that was not there before, a retry tier less; every delivery once."""
    late = Receiver(Behaviour(), keep=1_000)
    await late.start()
    system.destination("crm", receiver.url)
    await asyncio.to_thread(system.prepare)
    worker = system.worker()
    sent = [event(n) for n in range(EVENTS)]
    await asyncio.to_thread(system.feed, sent)
    await eventually(lambda: receiver.accepted() == EVENTS, timeout_s=60)

    system.destination("log", late.url)
    payload = {"event_id": "${event.id}", "version": 2}
    system.journey("welcome", step("crm", "crm.upsert", payload=payload), step("log", "log.upsert"))
    system.tiers = system.tiers[:2]
    feeding = asyncio.create_task(_feed(system, lambda: said(worker, "worker_started") == 2))
    await asyncio.to_thread(system.write)
    sent += await asyncio.wait_for(feeding, 60)
    await asyncio.to_thread(system.feed, more := [event(n) for n in range(10)])
    await eventually(lambda: receiver.accepted() == len(sent) + len(more), timeout_s=60)
    await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)

    asked = Counter(str(each["event_id"]) for each in bodies(receiver))
    assert asked == Counter(each["id"] for each in (*sent, *more)), "each once"
    told = {str(each["event_id"]) for each in bodies(late)}
    new = {str(each["event_id"]) for each in bodies(receiver) if each.get("version") == 2}
    assert {each["id"] for each in more} <= told
    assert new == told, "an event is of one configuration, whole"
    assert {row.attempts for row in system.final().values()} == {1}
    assert (await asyncio.to_thread(system.account))["balanced"] is True
    await late.stop()


async def _feed(system, over) -> list[dict]:
    """Feed one event after the other until `over`; return them."""
    fed = []
    while not over():
        fed.append(event(len(fed)))
        await asyncio.to_thread(system.feed, fed[-1:])
    return fed


async def test_the_supervisor_passes_the_hangup_on(system, receiver) -> None:
    system.destination("crm", receiver.url)
    await asyncio.to_thread(system.prepare)
    fleet = system.worker("--workers", "2")
    await eventually(lambda: said(fleet, "worker_started") == 2, timeout_s=60)
    fleet.send(signal.SIGHUP)
    await eventually(lambda: said(fleet, "configuration_unchanged") == 2, timeout_s=30)
    assert fleet.returncode is None
