"""Promise 5 on a real Kafka: one worker, a destination that is well beside a dead and a refusing one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.ports import free_port
from tests.support.system import event, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

EVENTS = 300
ILL: Sequence[str] = ("dead", "refusing")


@pytest.fixture
async def refusing() -> AsyncIterator[Receiver]:
    made = Receiver(Behaviour(unauthorised=True))
    await made.start()
    yield made
    await made.stop()


async def test_a_destination_that_is_well_gets_all_of_its_own_while_others_are_parked(
    system, receiver, refusing
) -> None:
    system.destination("crm", receiver.url)
    system.destination("dead", f"http://127.0.0.1:{free_port()}")
    system.destination("refusing", refusing.url)
    for name in ILL:
        system.journey(f"to_{name}", step(name, f"{name}.upsert"))
    system.tiers = ["10s", "30m", "1h"]
    system.prepare()
    system.worker()
    system.feed([event(n) for n in range(EVENTS)])

    def delivered() -> int:
        return sum(row.outcome == "delivered" for row in system.final().values())

    await eventually(lambda: delivered() == EVENTS, timeout_s=60)
    await eventually(lambda: len(system.final()) == EVENTS * 3)
    await eventually(lambda: system.broker.lag(system.group, system.topic) == 0)
    assert system.dead() == [], "nothing is dead before its age limit"
    parked = system.broker.records(f"{system.group}.retry.30m")
    assert len(parked) >= EVENTS, "what waits for the others is on the tier of half an hour"
    assert system.account()["balanced"] is True
