"""Destinations in trouble beside one that is well, over real sockets, in one process: the scene of promise 5."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import struct
import time
from dataclasses import dataclass, field
from typing import Self

from pipeline.adapters.http import HttpSender
from pipeline.cli.bench.scene import Receiver
from tests.support.oneprocess import OneProcess, destination

HEAD = b"POST /x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n"
TURN_S = 0.01
ILL = ("dead", "slow", "flapping", "refusing")
SLOTS = 64
QUEUE = 300


class Local:
    """A receiver in this process that answers one thing, and may go away and come back on its port."""

    def __init__(self, answer: bytes) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def down(self) -> None:
        """Refuse connections and reset those that are open."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.close()

    async def flap(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self.down()
            await asyncio.sleep(every_s)
            await self.up()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                writer.write(self._answer)
        self._writers.discard(writer)
        writer.close()


@dataclass
class Seen:
    """What a stretch of time brought. `ms`: how long deliveries to the one that is well took, event to settled."""

    ms: list[float] = field(default_factory=list)
    queued: int = 0
    seats: int = 0

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.ms, n=100)[98]


class Scene:
    """A worker with five destinations: `well` (20 ms), `dead` (connection refused), `slow` (10 s), `flapping` (up and
    down every second) and `refusing` (401). Build with `async with` on the running loop."""

    def __init__(self) -> None:
        self._flapping = Local(b"HTTP/1.1 204 No Content\r\n\r\n")
        self._refusing = Local(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
        self._receivers = {"well": Receiver(20), "slow": Receiver(10_000)}
        ports = {name: int(each.url.rpartition(":")[2]) for name, each in self._receivers.items()}
        ports |= {"dead": Local(b"").port, "flapping": self._flapping.port, "refusing": self._refusing.port}
        made = {name: destination(name, port, queue=QUEUE, timeout_ms=30_000) for name, port in ports.items()}
        self.worker = OneProcess(
            asyncio.get_running_loop(),
            time.time_ns,
            {name: (each, lambda stats, each=each: HttpSender(each, stats)) for name, each in made.items()},
            head=lambda *_: HEAD,
        )
        self._seen = Seen()
        self._finish = self.worker.settlement.finish
        for lane in self.worker.lanes.values():
            lane._after._settler = self
        self.later = self.worker.settlement.later

    async def __aenter__(self) -> Self:
        await self._flapping.up()
        await self._refusing.up()
        self._flaps = asyncio.ensure_future(self._flapping.flap(1.0))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._flaps.cancel()
        for each in self._receivers.values():
            each.stop()
        self._refusing.down()
        with contextlib.suppress(OSError):
            self._flapping.down()
        await self.worker.close()

    def finish(self, delivery, outcome_, cls, detail) -> None:
        if delivery.step.destination == "well":
            self._seen.ms.append((time.time_ns() - delivery.run.flight.received_ns) / 1e6)
        self._finish(delivery, outcome_, cls, detail)

    async def stream(self, seconds: float, per_s: int, *names: str) -> Seen:
        """Let so many events a second come in for each of them, until those of the one that is well are settled."""
        loop = asyncio.get_running_loop()
        seen = self._seen = Seen()
        start_s = loop.time()
        turns = sent = 0
        while loop.time() < start_s + seconds:
            turns += 1
            while sent < per_s * TURN_S * turns:
                self.worker.send(*names)
                sent += 1
            for lane in self.worker.lanes.values():
                seen.queued = max(seen.queued, len(lane._backlog.firsts))
                seen.seats = max(seen.seats, len(lane._seats))
            await asyncio.sleep(max(start_s + turns * TURN_S - loop.time(), 0))
        async with asyncio.timeout(20):
            while len(seen.ms) < sent:
                await asyncio.sleep(TURN_S)
        return seen
