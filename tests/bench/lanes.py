"""Measures what a lane costs, over real sockets to a cheap receiver beside it. Figures, no judgement.

    python -m tests.bench.lanes [--deliveries 20000] [--rounds 7]

1. The CPU a lane adds to the bare HTTP exchange: both with 64 in flight, the same bytes, taking turns in one process.
2. How many requests a lane of 100 ms endpoints holds in flight, with a fixed limit of 1,000 and an adaptive one.
3. The CPU a delivery costs with 500 destinations and with one, 256 deliveries outstanding in all, taking turns.

CPU is this process's, user and system; the receiver is a process of its own. What settles deliveries does nothing here:
run/settle and everything before the lane is measured by `hookline bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvloop

from pipeline.adapters.http import HttpSender
from pipeline.cli.bench.scene import Receiver
from pipeline.core import outcome
from pipeline.core.offsets import Tracker
from pipeline.model import (
    Answer,
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
from pipeline.run.watch import Watch
from pipeline.testing.fakes import FakeTelemetry, dice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

IN_FLIGHT = 64
OUTSTANDING = 256
DESTINATIONS = 500
LATENCY_MS = 100
BODY = b'{"customer":"customer-4711","email":"customer-4711@example.org","plan":"pro","seats":5,"source":"hookline"}'
HEAD = (
    b"POST /v1/contacts HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: hookline/bench\r\nContent-Type: application/json\r\n"
    b"webhook-id: 5f0c3b1e-8f8a-5c37-9d55-0123456789ab\r\nwebhook-timestamp: 1700000000\r\n"
    b"traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-00\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


class Settled:
    """Takes what lanes are done with; `then` is told of each."""

    def __init__(self) -> None:
        self.number = 0
        self.failed = 0
        self.then: Callable[[Delivery], None] = lambda _: None

    def finish(self, delivery: Delivery, outcome_: object, cls: str, detail: str) -> None:
        del cls, detail
        self.number += 1
        self.failed += outcome_ != "delivered"
        self.then(delivery)

    def later(self, delivery: Delivery, due_ms: int, cls: str, *, parked: bool) -> None:
        del due_ms, cls, parked
        self.number += 1
        self.failed += 1
        self.then(delivery)


class Bench:
    """The parts all three share. Build on the running loop."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.host, self.port = where.hostname or "", where.port or 0
        self.settled = Settled()
        self.watch = Watch(_fatal)
        self._dice = dice()
        self._telemetry = FakeTelemetry()
        self._tracker = Tracker("in", 0, 0)

    def destination(self, name: str, concurrency: int, *, adaptive: bool = False) -> Destination:
        return Destination(
            name=name, host=self.host, port=self.port, tls=False, private_networks=("127.0.0.0/8",), timeout_ms=10_000,
            concurrency=concurrency, queue=10_000, rate_per_s=0.0, breaker=BreakerPolicy(), response_bytes_max=65_536,
            drops_repeats=True, adaptive=adaptive,
        )  # fmt: skip

    def lane(self, name: str, concurrency: int, *, adaptive: bool = False) -> Lane:
        destination, stats = self.destination(name, concurrency, adaptive=adaptive), LaneStats()
        return Lane(
            destination, HttpSender(destination, stats), self.settled, self._telemetry, stats, time.time_ns, self._dice,
            _fatal, lambda: 1.0, self.watch,
        )  # fmt: skip

    def deliveries(self, name: str, number: int) -> list[Delivery]:
        """Make so many, each with an event of its own, as process does."""
        step = Step(
            journey="welcome", name="crm", kind=Kind.UPDATE, destination=name, operation="op", method="POST",
            url_template="/v1/contacts", basis="contract", purpose="", channels=(), max_age_ms=10**9, id_suffix=b"",
            when=None, render=lambda *_: BODY, head=lambda *_: HEAD,
            retry=RetryPolicy(8, 10**9, retry_ambiguous=True, tiers_ms=(10_000,), on_status={}),
            outcome_prefix=outcome.prefix("welcome", "h", "crm", name, "op"),
        )  # fmt: skip
        now_ms = time.time_ns() // 1_000_000
        route = Route("welcome", "h", 10**9, None, (step,))
        trace = Trace("0123456789abcdef0123456789abcdef", "", sampled=False)
        made = []
        for offset in range(number):
            record = Record("in", 0, offset, None, b"", (), now_ms)
            event = Event(f"e-{offset}", "signup", now_ms, "c", {})
            flight = Flight(record, self._tracker, ("in", 0, offset, now_ms), event, trace, now_ms * 1_000_000)
            run = Run(flight, route, now_ms, moving=1)
            made.append(Delivery(f"d-{offset}", step, run, BODY, b"", now_ms + 10**9))
        return made

    async def through_lanes(self, lanes: Sequence[Lane], deliveries: list[Delivery], outstanding: int) -> float:
        """Offer one after the other, in turn to each lane, as others are settled; return CPU seconds."""
        number, settled = len(deliveries), self.settled
        done = asyncio.get_running_loop().create_future()
        settled.number = settled.failed = 0
        waiting = iter(deliveries)
        turn = 0

        def offer() -> None:
            nonlocal turn
            delivery = next(waiting, None)
            if delivery is not None:
                lanes[turn % len(lanes)].offer(delivery)
                turn += 1

        def then(_: Delivery) -> None:
            if settled.number == number:
                done.set_result(None)
            elif settled.number % TURN == 0:
                loop.call_soon(some)

        def some() -> None:
            self.watch.holding(retries=False)  # as run/consume asks once a turn
            for _ in range(TURN):
                offer()

        loop = asyncio.get_running_loop()
        settled.then = then
        started = time.process_time()
        for _ in range(outstanding):
            offer()
        await done
        spent = time.process_time() - started
        assert settled.failed == 0, f"{settled.failed} deliveries failed"
        return spent

    async def bare(self, senders: Sequence[HttpSender], number: int) -> float:
        """The same bytes over the same kind of connection, IN_FLIGHT at once, nothing around it; CPU seconds."""
        connections = [await sender.connect() for sender in senders for _ in range(IN_FLIGHT)]
        left = number

        async def one(connection: object) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                answer = await connection.exchange(HEAD, BODY)  # type: ignore[attr-defined]
                assert type(answer) is Answer

        started = time.process_time()
        await asyncio.gather(*map(one, connections))
        spent = time.process_time() - started
        for connection in connections:
            connection.close()  # type: ignore[union-attr]
        return spent


TURN = 128
"""Deliveries offered between two looks at the sockets: what run/consume takes up in a turn."""


def _fatal(error: BaseException) -> None:
    raise error


async def lane_cost(url: str, number: int, rounds: int) -> None:
    """Print what the lane adds to the exchange."""
    bench = Bench(url)
    lane = bench.lane("crm", IN_FLIGHT)
    adaptive = bench.lane("adaptive", IN_FLIGHT, adaptive=True)
    sender = HttpSender(bench.destination("bare", IN_FLIGHT), LaneStats())
    bares, lanes, adaptives = [], [], []
    for turn in range(rounds + 1):
        both = []
        for each in (lane, adaptive):
            deliveries = bench.deliveries("crm", number)
            gc.collect()
            gc.freeze()
            both.append(await bench.through_lanes([each], deliveries, number) / number * 1e6)
        bare = await bench.bare([sender], number) / number * 1e6
        if turn:  # the first one warms up
            bares.append(bare)
            lanes.append(both[0])
            adaptives.append(both[1])
    added = [with_lane - without for with_lane, without in zip(lanes, bares, strict=True)]
    added_too = [with_lane - without for with_lane, without in zip(adaptives, bares, strict=True)]
    _say(
        f"1. bare exchange {statistics.median(bares):.1f} us of CPU, through a lane {statistics.median(lanes):.1f}: "
        f"adds {statistics.median(added):.1f} ({min(added):.1f} to {max(added):.1f}); "
        f"adaptive adds {statistics.median(added_too):.1f} ({min(added_too):.1f} to {max(added_too):.1f}); target 15"
    )
    await lane.close()
    await adaptive.close()
    await sender.close()
    bench.watch.close()


async def in_flight(url: str, *, adaptive: bool) -> None:
    """Print how many requests a lane holds in flight against an endpoint that takes LATENCY_MS."""
    bench = Bench(url)
    most = 1_000
    lane = bench.lane("far", most, adaptive=adaptive)
    seconds, warm_up = 8.0, 3.0
    deliveries = bench.deliveries("far", 120_000)
    held: list[int] = []
    settled_at: list[int] = []
    stop = asyncio.get_running_loop().time() + seconds

    def look() -> None:
        loop = asyncio.get_running_loop()
        if loop.time() > stop - seconds + warm_up:
            held.append(len(lane._seats) - len(lane._idle))
            settled_at.append(bench.settled.number)
        if loop.time() < stop:
            loop.call_later(0.02, look)

    look()
    started_cpu = time.process_time()
    task = asyncio.ensure_future(bench.through_lanes([lane], deliveries, 4_000))
    await asyncio.sleep(seconds)
    cpu = time.process_time() - started_cpu
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    rate = (settled_at[-1] - settled_at[0]) / (seconds - warm_up)
    limit = "adaptive up to" if adaptive else "fixed"
    _say(
        f"2. {limit} {most:,}, {LATENCY_MS} ms: median {statistics.median(held):.0f} "
        f"in flight (lowest {min(held)}), {rate:,.0f} deliveries/s, {cpu / bench.settled.number * 1e6:.0f} us each; "
        f"target 1,000 in flight"
    )
    await lane.close()
    bench.watch.close()


async def many(url: str, number: int, rounds: int) -> None:
    """Print the CPU of a delivery with DESTINATIONS lanes beside that with one."""
    bench = Bench(url)
    one = [bench.lane("one", OUTSTANDING)]
    lanes = [bench.lane(f"d{index}", IN_FLIGHT, adaptive=True) for index in range(DESTINATIONS)]
    ones, all_of_them = [], []
    for turn in range(rounds + 1):
        spent = []
        for some in (one, lanes):
            deliveries = bench.deliveries("d", number)
            gc.collect()
            gc.freeze()
            spent.append(await bench.through_lanes(some, deliveries, OUTSTANDING) / number * 1e6)
        if turn:
            ones.append(spent[0])
            all_of_them.append(spent[1])
    ratios = [with_all / with_one for with_all, with_one in zip(all_of_them, ones, strict=True)]
    _say(
        f"3. {DESTINATIONS} destinations {statistics.median(all_of_them):.1f} us of CPU a delivery, one "
        f"{statistics.median(ones):.1f}: ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); target 1.5"
    )
    for lane in (*one, *lanes):
        await lane.close()
    bench.watch.close()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--deliveries", type=int, default=20_000, help="a round (default 20000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds besides the one to warm up (default 7)")
    parser.add_argument("--only", type=int, choices=(1, 2, 3), help="one of the three")
    arguments = parser.parse_args()
    for number, delay_ms in ((1, 0), (2, LATENCY_MS), (3, 0)):
        if arguments.only not in (None, number):
            continue
        receiver = Receiver(delay_ms)
        try:
            if number == 1:
                uvloop.run(lane_cost(receiver.url, arguments.deliveries, arguments.rounds))
            elif number == 2:
                uvloop.run(in_flight(receiver.url, adaptive=False))
                uvloop.run(in_flight(receiver.url, adaptive=True))
            else:
                uvloop.run(many(receiver.url, arguments.deliveries, arguments.rounds))
        finally:
            receiver.stop()


if __name__ == "__main__":
    main()
