"""A small world for run/: fakes wired by hand, one or two destinations, compiled steps without a configuration."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest

from pipeline.core import outcome, runstate
from pipeline.core.offsets import Tracker
from pipeline.model import (
    BreakerPolicy,
    Delivery,
    Destination,
    Event,
    Flight,
    GatePolicy,
    Kind,
    Plan,
    Record,
    RetryPolicy,
    Route,
    Run,
    Step,
    Trace,
    Undecodable,
)
from pipeline.ports import LaneStats
from pipeline.run.asking import Asking
from pipeline.run.dispatch import Lane
from pipeline.run.process import Process
from pipeline.run.settle import OwnTopics, Settlement
from pipeline.testing.fakes import FakeClock, FakeEndpoint, FakeProducer, FakeTelemetry, dice

TIERS = (10_000, 60_000, 600_000)
DAY = 86_400_000
REF = 5
FRAME = b"\x00\x00\x00\x00\x05"


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

    def __init__(self, clock=None) -> None:
        self.clock = clock or FakeClock()
        self.producer = FakeProducer({"g.retry.10s": 2, "g.retry.1m": 2, "g.retry.10m": 2})
        self.telemetry = FakeTelemetry()
        self.dice = dice()
        self.errors: list[BaseException] = []
        own = OwnTopics(("g.retry.10s", "g.retry.1m", "g.retry.10m"), "g.dead", "g.outcomes", TIERS)
        self.settlement = Settlement(own, self.producer, self.telemetry, self.clock, self.dice, lambda _id: "r" * 32)
        self.tracker = Tracker("in", 0, 0)
        self.lanes: dict[str, Lane] = {}

    def lane(
        self, endpoint: FakeEndpoint, name="crm", watch=None, *, settler=None, batching=None, again=None, **limits
    ) -> Lane:
        chosen = {"timeout_ms": 200, "concurrency": 2, "queue": 10, "rate_per_s": 0.0,
                  "breaker": BreakerPolicy(0.5, 4, 1_000, 8_000), "drops_repeats": True} | limits  # fmt: skip
        destination = Destination(
            name=name, host="h", port=1, tls=False, private_networks=(), response_bytes_max=1, **chosen
        )
        lane = Lane(
            destination, endpoint, settler or self.settlement, self.telemetry, LaneStats(), self.clock, self.dice,
            self.errors.append, lambda: 1.0, watch, batching=batching, again=again,
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
        return [
            Delivery(f"d-{offset}-{each.name}", each, run, b"{}", b"", now_ms + DAY, asked_ns=self.clock())
            for each in steps
        ]

    def outcomes(self) -> list[outcome.OutcomeRow]:
        rows = [outcome.decode(record.value) for record in self.producer.of("g.outcomes")]
        return [row for row in rows if isinstance(row, outcome.OutcomeRow)]


async def until(condition, bound_s: float = 100.0) -> None:
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


class Plans:
    """A plan made by hand: the datum is the text after the frame, and names what the stages answer."""

    def __init__(self, world, *steps) -> None:
        self.world = world
        self.steps = steps or (step(),)
        self.condition = None
        self.of_route: dict[str, object] = {}  # what else its route says
        self.flags: dict[str, bool] = {}  # what its events say of consent
        self.asked: list[str] = []
        self.pinned = None  # what finds past definitions

    def __call__(self, topic, schema) -> Plan | Undecodable | None:
        self.asked.append(topic)
        route = Route("welcome", "h", DAY, self.condition, self.steps, **self.of_route)
        plan = Plan(self._read, self._envelope, {"signup": (route,)}, self.pinned)
        return plan if schema == "known" else None

    @staticmethod
    def _read(value, start):
        text = value[start:].decode()
        return Undecodable("damaged") if text == "damaged" else text

    def _envelope(self, datum, record) -> Event | Undecodable:
        if datum == "nameless":
            return Undecodable("missing id")
        kind = "other" if datum == "other" else "signup"
        return Event(f"e-{record.offset}", kind, record.timestamp_ms, "c", self.flags)


@pytest.fixture
async def made(world):
    world.lane(FakeEndpoint())
    plans = Plans(world)
    process = Process(plans, world.lanes, world.settlement, world.telemetry, Asking(GatePolicy(DAY)))
    process.plans = plans
    process.learn("in", REF, "known")
    return process


def take(world, process, text: str | None, **over):
    offset = world.tracker.next
    world.tracker.received(offset)
    now_ms = world.clock() // 1_000_000
    value = None if text is None else FRAME + text.encode()
    record = Record("in", 0, offset, b"k", value, (), now_ms)
    return process.record(dataclasses.replace(record, **over), world.tracker, world.clock())


def retry_record(world, steps: dict[str, tuple[int, int]], **over) -> Record:
    """A retry record as settle writes it; `steps` by name: attempts and how far off it is due."""
    now_ms = world.clock() // 1_000_000
    fields = {
        "journey": "welcome", "hash": "h", "event_id": "e-7", "source": ("in", 3, 7, now_ms - 20_000), "deliveries": 2,
        "started_ms": now_ms - 20_000, "hop": 2, "parks": 0, "due_ms": now_ms, "trace_id": "c" * 32, "sampled": False,
        "link": "d" * 16,
        "steps": {
            name: runstate.StepState(attempts, now_ms + off_ms, now_ms - 10_000, "timeout", 0)
            for name, (attempts, off_ms) in steps.items()
        },
    } | over  # fmt: skip
    header = runstate.encode(runstate.RunState(**fields))
    return Record("g.retry.10s", 0, 7, b"k", FRAME + b"hello", ((runstate.STATE_HEADER, header),), now_ms)


@pytest.fixture
async def workers():
    """Makes workers of a configuration with steps after others: tests/support/followed."""
    from tests.support.followed import Worker  # noqa: PLC0415 - which is made of what is here

    made: list[Worker] = []

    def worker(*steps, **more) -> Worker:
        made.append(Worker(*steps, **more))
        return made[-1]

    yield worker
    for each in made:
        with contextlib.suppress(asyncio.CancelledError):
            await each.lane.close()
        assert each.world.errors == []
