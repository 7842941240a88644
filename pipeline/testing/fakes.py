"""Fakes of the ports: a clock, a broker's two ends, an endpoint, a registry, telemetry.

They pass the contract tests of the real adapters, so what holds with them holds with those.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.core.progress import CHARS_MAX, identity
from pipeline.model import (
    NOTHING,
    Answer,
    Delivery,
    Failure,
    FailureClass,
    Flight,
    Known,
    Memory,
    Outcome,
    Record,
    SchemaRef,
)
from pipeline.ports import (
    Acked,
    Assigned,
    Connection,
    Fatal,
    Found,
    Headers,
    LaneStats,
    Notice,
    Revoked,
    Unknown,
    Unreachable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


class FakeClock:
    """A wall clock that stands still until moved. Unix ns; implements ports.Clock."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now_ns = now_ms * 1_000_000

    def __call__(self) -> int:
        """See ports.Clock."""
        return self.now_ns

    def advance(self, ms: int) -> None:
        """Move on."""
        self.now_ns += ms * 1_000_000


def dice(seed: int = 1) -> random.Random:
    """Return seeded chance; `random.Random` implements ports.Dice."""
    return random.Random(seed)  # noqa: S311 - repeatable on purpose


class FakeProducer:
    """A broker's inbound end in memory. `hold` keeps acks back until `ack`. Implements ports.Producer."""

    def __init__(self, partitions: Mapping[str, int] | None = None, record_bytes_max: int = 1_048_576) -> None:
        self.records: list[Record] = []
        self.holding = False
        self.overfull = False
        self._partitions = dict(partitions or {})
        self._record_bytes_max = record_bytes_max
        self._unacked: list[Acked] = []
        self.refusals: list[object] = []
        self._kept: list[Acked] = []
        self._next: dict[tuple[str, int], int] = {}

    def produce(
        self,
        topic: str,
        key: bytes | None,
        content: bytes | None,
        headers: Headers,
        acked: Acked,
        partition: int = -1,
    ) -> bool:
        """See ports.Producer. Acks come on a later turn of the loop, never from within the call."""
        size = len(key or b"") + len(content or b"") + sum(len(n) + len(c) for n, c in headers)
        if size > self._record_bytes_max:
            return False
        place = (topic, max(partition, 0))
        offset = self._next.get(place, 0)
        self._next[place] = offset + 1
        self.records.append(Record(topic, place[1], offset, key, content, tuple(headers), 0))
        self._unacked.append(acked)
        if not self.holding:
            asyncio.get_running_loop().call_soon(self.ack)
        return True

    def ack(self) -> None:
        """Acknowledge all that is not."""
        unacked, self._unacked = self._unacked, []
        for acked in unacked:
            acked(None, None)

    def refuse(self, why: object) -> None:
        """Refuse all that is not acknowledged, as a broker would that will never take it."""
        unacked, self._unacked = self._unacked, []
        for acked in unacked:
            acked(why, None)

    def refused(self, why: object, _record: object, acked: Acked) -> None:
        """See ports.Producer. What was refused is taken once the test says `take`."""
        self.refusals.append(why)
        self._kept.append(acked)

    def take(self) -> None:
        """Take all that was refused."""
        kept, self._kept = self._kept, []
        for acked in kept:
            acked(None, None)

    def full(self) -> bool:
        """See ports.Producer."""
        return self.overfull or bool(self._kept)

    def partitions(self, topic: str) -> int:
        """See ports.Producer."""
        return self._partitions.get(topic, 1)

    async def flush(self, timeout_s: float) -> int:
        """See ports.Producer."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while self._unacked and asyncio.get_running_loop().time() < deadline_s:
            await asyncio.sleep(0.001)
        return len(self._unacked)

    def of(self, topic: str) -> list[Record]:
        """Return what was produced to a topic."""
        return [record for record in self.records if record.topic == topic]


class FakeSource:
    """A broker's outbound end in memory: the test posts notices. Implements ports.Source."""

    def __init__(self, role: str = "input", partitions: int = 4) -> None:
        self.role = role
        self.topics = ("in",)
        self.committed: dict[tuple[str, int], int] = {}
        self.metadata: dict[tuple[str, int], str] = {}
        self.ends: dict[tuple[str, int], int] = {}
        """Where logs end, other than far beyond all that is committed; -1 if the broker does not say."""
        self.metadata_chars = CHARS_MAX
        self.paused: set[tuple[str, int]] = set()
        self.in_inbox = 0
        self.stopped = False
        self._partitions = partitions
        self._inbox: Callable[[Notice], None] | None = None

    def start(self, inbox: Callable[[Notice], None]) -> None:
        """See ports.Source."""
        self._inbox = inbox

    def post(self, notice: Notice) -> None:
        """Hand a notice in, as the poll thread would."""
        assert self._inbox is not None
        if isinstance(notice, list):
            self.in_inbox += len(notice)
        self._inbox(notice)

    def assign(self, *partitions: tuple[str, int, int]) -> None:
        """Post an assignment, with the metadata that is committed for these partitions."""
        stored = {
            key: (identity("cluster", key[0], "g", key[1]), self.metadata.get(key, ""), self.ends.get(key, 1 << 62))
            for key in ((topic, number) for topic, number, _ in partitions)
        }
        self.post(Assigned(partitions, stored))

    def revoke(self, *partitions: tuple[str, int], lost: bool = False) -> asyncio.Event:
        """Post a revocation; the event is set once the worker let go."""
        released = asyncio.Event()
        self.post(Revoked(partitions, lost, released.set))
        return released

    def fail(self, error: Exception) -> None:
        """Post that the consumer is gone."""
        self.post(Fatal(error))

    def taken(self, records: int) -> None:
        """See ports.Source."""
        self.in_inbox -= records

    def commit(self, offsets: Sequence[tuple[str, int, int, str]]) -> None:
        """See ports.Source."""
        for topic, partition, offset, metadata in offsets:
            self.committed[topic, partition] = offset
            self.metadata[topic, partition] = metadata

    def pause(self, topic: str, partition: int) -> None:
        """See ports.Source."""
        self.paused.add((topic, partition))

    def resume(self, topic: str, partition: int) -> None:
        """See ports.Source."""
        self.paused.discard((topic, partition))

    def partitions_total(self, _topic: str) -> int:
        """See ports.Source."""
        return self._partitions

    async def stop(self, *, commit: bool = True) -> None:  # noqa: ARG002 - what was asked for is committed already
        """See ports.Source."""
        self.stopped = True


Script = Callable[[bytes, bytes], Answer | Failure | None]
"""What an endpoint answers to (head, body); None never answers."""


class FakeConnection:
    """A connection to a scripted endpoint. Implements ports.Connection."""

    def __init__(self, endpoint: FakeEndpoint) -> None:
        self._endpoint = endpoint
        self._waiting: asyncio.Future[Answer | Failure] | None = None
        self._open = True
        self._busy = False

    def usable(self) -> bool:
        """See ports.Connection."""
        return self._open and not self._busy

    async def exchange(self, head: bytes, body: bytes, keep_bytes: int = 0) -> Answer | Failure:
        """See ports.Connection."""
        if not self.usable():
            return Failure(FailureClass.CONNECTION, sent=False, detail="closed_before_write")
        self._busy = True  # and so it stays if this exchange breaks off
        self._endpoint.requests.append((head, body))
        answer = self._endpoint.script(head, body)
        if answer is None:
            self._waiting = asyncio.get_running_loop().create_future()
            answer = await self._waiting
        else:
            await asyncio.sleep(self._endpoint.latency_s)
        self._busy = isinstance(answer, Failure)
        if isinstance(answer, Answer) and answer.body:
            cut = keep_bytes > 0 and (answer.cut or len(answer.body) > keep_bytes)
            answer = Answer(answer.status, answer.retry_after, answer.body[:keep_bytes], cut)
        return answer

    def abort(self, cls: FailureClass) -> None:
        """See ports.Connection."""
        self._open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(Failure(cls, sent=True, detail="aborted"))

    def close(self) -> None:
        """See ports.Connection."""
        self._open = False


class FakeEndpoint:
    """A receiver whose answers a function decides. Implements ports.Sender."""

    def __init__(self, script: Script = lambda _head, _body: Answer(204), latency_s: float = 0.0) -> None:
        self.script = script
        self.latency_s = latency_s
        self.down: Failure | None = None
        self.requests: list[tuple[bytes, bytes]] = []
        self.connections: list[FakeConnection] = []

    async def connect(self) -> Connection | Failure:
        """See ports.Sender."""
        await asyncio.sleep(0)
        if self.down is not None:
            return self.down
        connection = FakeConnection(self)
        self.connections.append(connection)
        return connection

    async def close(self) -> None:
        """See ports.Sender."""
        for connection in self.connections:
            connection.close()


class FakeSchemas:
    """A registry in memory, reachable or not. Implements ports.Schemas."""

    def __init__(self, known: Mapping[SchemaRef, object]) -> None:
        self.known = dict(known)
        self.reachable = True
        self.asked = 0

    async def fetch(self, ref: SchemaRef) -> Found | Unknown | Unreachable:
        """See ports.Schemas."""
        self.asked += 1
        await asyncio.sleep(0)
        if not self.reachable:
            return Unreachable("down")
        return Found(self.known[ref]) if ref in self.known else Unknown("no such schema")


class FakeTables:
    """Tables that know what they are told. Implements ports.Tables."""

    def __init__(self) -> None:
        self.of: dict[str, Known] = {}
        self.stale_ms = 0
        self.asked: list[str] = []

    @property
    def erasures(self) -> bool:
        """See ports.Tables."""
        return any(known.erased_ms for known in self.of.values())

    def known(self, customer_id: str) -> Known:
        """See ports.Tables."""
        self.asked.append(customer_id)
        return replace(self.of.get(customer_id, NOTHING), stale_ms=self.stale_ms)


class FakeMemories:
    """A memory that holds what it is told; `away` says that it cannot be told. Implements ports.Memories."""

    def __init__(self) -> None:
        self.of: dict[str, Memory] = {}
        self.away = False

    def remembered(self, customer_id: str, _source: tuple[str, int, int, int]) -> Memory | None:
        """See ports.Memories."""
        return None if self.away else self.of.get(customer_id, Memory())


class FakeTelemetry:
    """Keeps what it is told. Implements ports.Telemetry."""

    def __init__(self, sampled: Iterable[str] = ()) -> None:
        self._sampled = frozenset(sampled)
        self.told: list[tuple[str, Outcome, str]] = []
        self.positions: list[tuple[Flight, str]] = []
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.watched: dict[str, LaneStats] = {}

    def sampled(self, trace_id: str) -> bool:
        """See ports.Telemetry."""
        return trace_id in self._sampled

    def settled(self, delivery: Delivery, outcome: Outcome, reason: str, now_ns: int) -> None:
        """See ports.Telemetry."""
        assert now_ns
        self.told.append((delivery.id, outcome, reason))

    def position(self, flight: Flight, reason: str, now_ns: int) -> None:
        """See ports.Telemetry."""
        assert now_ns
        self.positions.append((flight, reason))

    def watch(self, destination: str, stats: LaneStats) -> None:
        """See ports.Telemetry."""
        self.watched[destination] = stats

    def log(self, level: str, event: str, **fields: object) -> None:
        """See ports.Telemetry."""
        self.lines.append((level, event, fields))

    def close(self) -> None:
        """See ports.Telemetry."""
