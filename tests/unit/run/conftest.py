"""A small world for run/: fakes wired by hand, one or two destinations, compiled steps without a configuration."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from pipeline.core import outcome
from pipeline.core.offsets import Tracker
from pipeline.model import (
    BreakerPolicy,
    Delivery,
    Destination,
    Event,
    Flight,
    Kind,
    Record,
    RetryPolicy,
    Route,
    Run,
    Step,
    Trace,
)
from pipeline.ports import LaneStats
from pipeline.run.dispatch import Lane
from pipeline.run.settle import OwnTopics, Settlement
from pipeline.testing.fakes import FakeClock, FakeEndpoint, FakeProducer, FakeTelemetry, dice

TIERS = (10_000, 60_000, 600_000)
DAY = 86_400_000


def step(name="crm", kind=Kind.UPDATE, destination="crm", in_process=(250, 1_000), **policy) -> Step:
    retry = {"max_attempts": 8, "max_age_ms": DAY, "retry_ambiguous": True, "tiers_ms": TIERS, "on_status": {}} | policy
    return Step(
        journey="welcome", name=name, kind=kind, destination=destination, operation="op", method="POST",
        url_template="/x", basis="contract", purpose="", channels=(), max_age_ms=DAY,
        id_suffix=f"/welcome/{name}".encode(), when=None, render=lambda _datum, _now: b"{}",
        head=lambda delivery_id, _headers, traceparent, _now, _body, _target: f"{delivery_id} {traceparent}".encode(),
        retry=RetryPolicy(**retry, in_process_ms=in_process),
        outcome_prefix=outcome.prefix("welcome", "h", name, destination, "op"),
    )  # fmt: skip


class World:
    """One settlement and its lanes over fakes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.producer = FakeProducer({"g.retry.10s": 2, "g.retry.1m": 2, "g.retry.10m": 2})
        self.telemetry = FakeTelemetry()
        self.dice = dice()
        self.errors: list[BaseException] = []
        own = OwnTopics(("g.retry.10s", "g.retry.1m", "g.retry.10m"), "g.dead", "g.outcomes", TIERS)
        self.settlement = Settlement(own, self.producer, self.telemetry, self.clock, self.dice, lambda _id: "r" * 32)
        self.tracker = Tracker("in", 0, 0)
        self.lanes: dict[str, Lane] = {}

    def lane(self, endpoint: FakeEndpoint, name="crm", watch=None, *, settler=None, batching=None, **limits) -> Lane:
        chosen = {"timeout_ms": 200, "concurrency": 2, "queue": 10, "rate_per_s": 0.0,
                  "breaker": BreakerPolicy(0.5, 4, 1_000, 8_000), "drops_repeats": True} | limits  # fmt: skip
        destination = Destination(
            name=name, host="h", port=1, tls=False, private_networks=(), response_bytes_max=1, **chosen
        )
        lane = Lane(
            destination, endpoint, settler or self.settlement, self.telemetry, LaneStats(), self.clock, self.dice,
            self.errors.append, lambda: 1.0, watch, batching=batching,
        )  # fmt: skip
        self.lanes[name] = lane
        return lane

    def deliveries(self, *steps: Step, offset: int | None = None) -> list[Delivery]:
        """Open one position with one run of these steps."""
        if offset is None:
            offset = self.tracker.next
            assert self.tracker.received(offset)
        now_ms = self.clock() // 1_000_000
        record = Record("in", 0, offset, b"key", b"value", (("traceparent", b"kept"),), now_ms)
        event = Event(f"e-{offset}", "signup", now_ms, "customer-7", {})
        flight = Flight(
            record, self.tracker, ("in", 0, offset, now_ms), event, Trace("a" * 32, "", False), self.clock()
        )
        flight.deliveries = len(steps)
        self.settlement.opened(flight, len(steps))
        run = Run(flight, Route("welcome", "h", DAY, None, steps), now_ms,
                  moving=sum(each.kind is not Kind.RECORD for each in steps))  # fmt: skip
        return [Delivery(f"d-{offset}-{each.name}", each, run, b"{}", b"", now_ms + DAY) for each in steps]

    def outcomes(self) -> list[outcome.OutcomeRow]:
        rows = [outcome.decode(record.value) for record in self.producer.of("g.outcomes")]
        return [row for row in rows if isinstance(row, outcome.OutcomeRow)]


async def until(condition, bound_s: float = 30.0) -> None:
    """Wait for a condition; the bound is against hanging only."""
    deadline = asyncio.get_running_loop().time() + bound_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition never came true"
        await asyncio.sleep(0.001)


@pytest.fixture
async def world():
    made = World()
    yield made
    for lane in made.lanes.values():
        with contextlib.suppress(asyncio.CancelledError):
            await lane.close()
    assert made.errors == []
