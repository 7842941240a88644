"""Destinations that answer by a script, and keep what they were asked. Nothing leaves the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.model import Answer, Failure, FailureClass, value

if TYPE_CHECKING:
    from pipeline.ports import Clock, Connection

STEP_HEADER: Final = "hookline-step"
JOURNEY_HEADER: Final = "hookline-journey"


@value
class Request:
    """One request as it was written. `target` is path and query; header names are in lower case."""

    at_ms: int
    destination: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def step(self) -> str:
        """Name of the step it is for; "" for a batch, which may be for several."""
        return self.headers.get(STEP_HEADER, "")

    @property
    def journey(self) -> str:
        """Name of the journey it is for; "" for a batch."""
        return self.headers.get(JOURNEY_HEADER, "")


@value
class Reply:
    """What is answered, `after_s` later. None never answers."""

    answer: Answer | Failure | None
    after_s: float = 0.0


Script: TypeAlias = Callable[[Request], Reply]


def request(destination: str, head: bytes, body: bytes, at_ms: int) -> Request:
    """Read a request back from the bytes it is written as."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines)
    return Request(at_ms, destination, method, target, {name.lower(): content for name, content in pairs}, body)


class StageEndpoint:
    """One destination. Implements ports.Sender."""

    def __init__(self, name: str, script: Script, clock: Clock, told: Callable[[Request], None]) -> None:
        """`told` hears of each request when it is written."""
        self.name = name
        self.script = script
        self.clock = clock
        self.told = told
        self.down: Failure | None = None
        """What connecting comes to, if it fails."""
        self._connections: list[StageConnection] = []

    async def connect(self) -> Connection | Failure:
        """See ports.Sender."""
        await asyncio.sleep(0)
        if self.down is not None:
            return self.down
        connection = StageConnection(self)
        self._connections.append(connection)
        return connection

    async def close(self) -> None:
        """See ports.Sender."""
        for connection in self._connections:
            connection.close()


class StageConnection:
    """One connection to a scripted destination. Implements ports.Connection."""

    def __init__(self, endpoint: StageEndpoint) -> None:
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
        asked = request(self._endpoint.name, head, body, self._endpoint.clock() // 1_000_000)
        self._endpoint.told(asked)
        reply = self._endpoint.script(asked)
        loop = asyncio.get_running_loop()
        waiting = self._waiting = loop.create_future()
        timer = None
        if reply.answer is not None:
            timer = loop.call_later(reply.after_s, _resolve, waiting, reply.answer)
        try:
            answer = await waiting
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting = None
        if isinstance(answer, Failure):
            self._open = False
            return answer
        self._busy = False
        cut = keep_bytes > 0 and (answer.cut or len(answer.body) > keep_bytes)
        return Answer(answer.status, answer.retry_after, answer.body[:keep_bytes], cut)

    def abort(self, cls: FailureClass) -> None:
        """See ports.Connection."""
        self._open = False
        if self._waiting is not None:
            _resolve(self._waiting, Failure(cls, sent=True, detail="aborted"))

    def close(self) -> None:
        """See ports.Connection."""
        self._open = False


def _resolve(waiting: asyncio.Future[Answer | Failure], answer: Answer | Failure) -> None:
    if not waiting.done():
        waiting.set_result(answer)
