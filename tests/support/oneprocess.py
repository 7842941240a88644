"""A worker but for Kafka and configuration: real intakes, process, lanes, settle and release around a fake broker.

Each event `NAME-n` calls the destination NAME. Retry records come back, stamped with when they were written.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

from pipeline.core import outcome, runstate
from pipeline.model import BreakerPolicy, Destination, Event, GatePolicy, Kind, Plan, Record, RetryPolicy, Route, Step
from pipeline.ports import LaneStats
from pipeline.run.asking import Asking
from pipeline.run.consume import Intake
from pipeline.run.dispatch import Lane
from pipeline.run.process import Process
from pipeline.run.release import Release
from pipeline.run.settle import OwnTopics, Settlement
from pipeline.run.watch import Watch
from pipeline.testing.fakes import FakeProducer, FakeSchemas, FakeSource, FakeTelemetry, dice

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.ports import Sender

DAY_MS = 86_400_000
TIERS = (10_000, 60_000, 600_000, 3_600_000, 21_600_000)
TOPICS = ("g.retry.10s", "g.retry.1m", "g.retry.10m", "g.retry.1h", "g.retry.6h")
REF = 5
FRAME = b"\x00\x00\x00\x00\x05"


class Retries(FakeSource):
    """The retry source: what was fetched while its partition is paused comes once that is resumed."""

    def __init__(self) -> None:
        super().__init__("retry")
        self._kept: dict[tuple[str, int], list[Record]] = defaultdict(list)

    def fetched(self, record: Record) -> None:
        place = (record.topic, record.partition)
        if place in self.paused:
            self._kept[place].append(record)
        else:
            self.post([record])

    def resume(self, topic, partition):
        super().resume(topic, partition)
        kept = self._kept.pop((topic, partition), [])
        for record in kept:
            asyncio.get_running_loop().call_soon(self.fetched, record)


class Broker(FakeProducer):
    """Hands retry records to the retry source; `writes` says by input position when, and whether it was parked."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wall_ns: Callable[[], int]) -> None:
        super().__init__()
        self.source = Retries()
        self.writes: dict[int, list[tuple[float, bool]]] = defaultdict(list)
        self._parks: dict[int, int] = defaultdict(int)
        self._loop = loop
        self._wall_ns = wall_ns

    def produce(self, topic, key, content, headers, acked, partition=-1):
        taken = super().produce(topic, key, content, headers, acked, partition)
        if topic in TOPICS:
            last = self.records[-1]
            stamp_ms = self._wall_ns() // 1_000_000
            record = Record(topic, last.partition, last.offset, key, content, last.headers, stamp_ms)
            state = runstate.decode(record.header(runstate.STATE_HEADER))
            assert isinstance(state, runstate.RunState)
            run = state.source[2]
            self.writes[run].append((self._loop.time(), state.parks > self._parks[run]))
            self._parks[run] = state.parks
            self._loop.call_soon(self.source.fetched, record)
        return taken

    def parked(self) -> list[list[float]]:
        """When each run that was ever parked was written as such."""
        times = [[at for at, parked in writes if parked] for writes in self.writes.values()]
        return [each for each in times if each]


class OneProcess:
    """Build on the running loop; `close` at the end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wall_ns: Callable[[], int],
        senders: Mapping[str, tuple[Destination, Callable[[LaneStats], Sender]]],
        head: Callable[..., bytes] = lambda *_: b"",
    ) -> None:
        self.errors: list[BaseException] = []
        self.telemetry = FakeTelemetry()
        self.broker = Broker(loop, wall_ns)
        own = OwnTopics(TOPICS, "g.dead", "g.outcomes", TIERS)
        self.settlement = Settlement(own, self.broker, self.telemetry, wall_ns, dice(), lambda _: "r" * 32)
        self.watch = Watch(self.errors.append)
        self.lanes: dict[str, Lane] = {}
        for name, (destination, sender) in senders.items():
            stats = LaneStats()
            self.lanes[name] = Lane(
                destination, sender(stats), self.settlement, self.telemetry, stats, wall_ns, dice(),
                self.errors.append, lambda: 1.0, self.watch,
            )  # fmt: skip
        plan = Plan(
            lambda value, start: value[start:].decode(),
            lambda datum, record: Event(f"e-{datum}", datum.partition("-")[0], record.timestamp_ms, "c", {}),
            {name: (Route(name, "h", DAY_MS, None, (_step(name, head),)),) for name in senders},
        )
        process = Process(lambda *_: plan, self.lanes, self.settlement, self.telemetry, Asking(GatePolicy(DAY_MS)))
        process.learn("in", REF, "known")
        self.source = FakeSource()
        self.intake, self.retries = (
            Intake(
                source, process, self.settlement, self.lanes.values(), self.broker, FakeSchemas({}), self.telemetry,
                wall_ns, self.errors.append, ledger_topic=ledger, drain_s=5.0,
            )
            for source, ledger in ((self.source, "g.outcomes"), (self.broker.source, None))
        )  # fmt: skip
        self.intake.start()
        delays = dict(zip(TOPICS, TIERS, strict=True))
        calls = {(name, name): name for name in senders}
        self.retries.start(
            Release(delays, self.broker.source, wall_ns, self.retries.due, self.retries.room, self.lanes, calls)
        )
        self.source.assign(("in", 0, 0))
        self.broker.source.assign(*((topic, 0, 0) for topic in TOPICS))
        self.sent = 0
        self._wall_ns = wall_ns

    def send(self, *names: str) -> None:
        """Let an event for each of these destinations come in."""
        stamp_ms = self._wall_ns() // 1_000_000
        self.source.post(
            [
                Record("in", 0, self.sent + index, None, FRAME + f"{name}-{self.sent + index}".encode(), (), stamp_ms)
                for index, name in enumerate(names)
            ]
        )
        self.sent += len(names)
        assert self.errors[:1] == []

    def outcomes(self) -> dict[str, list[outcome.OutcomeRow]]:
        """All outcome records by event."""
        found: dict[str, list[outcome.OutcomeRow]] = defaultdict(list)
        for record in self.broker.of("g.outcomes"):
            row = outcome.decode(record.value)
            if isinstance(row, outcome.OutcomeRow):
                found[row.event_id].append(row)
        return found

    async def close(self) -> None:
        """End it at once; nothing of ours may have failed."""
        for intake in (self.intake, self.retries):
            intake.halt()
        for lane in self.lanes.values():
            await lane.close()
        self.watch.close()
        assert self.errors[:1] == []


def destination(name: str, port: int = 1, **limits: object) -> Destination:
    """A destination on loopback with the default limits."""
    chosen: dict[str, object] = {"timeout_ms": 10_000, "concurrency": 64, "adaptive": True, "queue": 1_000,
                                 "breaker": BreakerPolicy()} | limits  # fmt: skip
    return Destination(
        name=name, host="127.0.0.1", port=port, tls=False, private_networks=("127.0.0.0/8",), rate_per_s=0.0,
        response_bytes_max=1_024, drops_repeats=True, **chosen,  # type: ignore[arg-type]
    )  # fmt: skip


def _step(name: str, head: Callable[..., bytes]) -> Step:
    return Step(
        journey=name, name=name, kind=Kind.UPDATE, destination=name, operation="op", method="POST", url_template="/x",
        basis="contract", purpose="", channels=(), max_age_ms=DAY_MS, id_suffix=f"/{name}".encode(), when=None,
        render=lambda *_: b"{}", head=head,
        retry=RetryPolicy(8, 2 * DAY_MS, retry_ambiguous=True, tiers_ms=TIERS, on_status={}),
        outcome_prefix=outcome.prefix(name, "h", name, name, "op"),
    )  # fmt: skip
