"""run/lease: who stood still for too long sends nothing."""

from __future__ import annotations

from time import monotonic

from pipeline.errors import BrokerError
from pipeline.run import dispatch, lease
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import step, until


async def test_a_worker_that_was_stopped_for_long_sends_nothing_when_it_wakes_up(world, monkeypatch) -> None:
    endpoint = FakeEndpoint()
    lane = world.lane(endpoint)
    woken_s = monotonic() + lease.LEASE_S + 1
    monkeypatch.setattr(lease, "monotonic", lambda: woken_s)
    monkeypatch.setattr(dispatch, "monotonic", lambda: woken_s)
    lane.offer(world.deliveries(step())[0])
    await until(lambda: bool(world.errors))
    assert "stood still" in str(world.errors[0])
    world.errors.clear()
    assert endpoint.requests == []
    assert world.producer.records == []


def test_a_lease_that_is_renewed_in_time_lasts() -> None:
    held = lease.Lease(60.0)
    assert held.check() is None
    assert held.renew() is None
    assert isinstance(lease.Lease(-1.0).renew(), BrokerError)
