"""Answers probes over HTTP: whether this process lives, and whether anything of its worker stands still, and why."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import orjson

from pipeline.errors import ConfigError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.ports import Halt

REQUEST_S: Final = 2.0
"""Bound on the request and its answer; then the connection is closed."""
LINE_BYTES_MAX: Final = 8_192
"""Bound on the request's first line; the rest is not read."""
CONNECTIONS_MAX: Final = 16
"""Probes that are answered at once; one more is closed unanswered."""

LIVE: Final = "/live"
HEALTH: Final = "/health"


class HealthServer:
    """Of one process, whichever worker runs in it. `halts` says what stands still; None: no worker has started yet.

    It holds no personal data and no secret, and takes nothing but two paths.
    """

    def __init__(self, halts: Callable[[], Sequence[Halt] | None]) -> None:
        self.open: set[asyncio.BaseTransport] = set()
        self._halts = halts
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port, which is chosen by the system for 0. Raises ConfigError for one that is taken."""
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: _Probe(self), host, port)
        except OSError as error:
            why = f"cannot listen there: {error.strerror}"
            raise ConfigError((Problem("--health", 0, 0, f"{host}:{port}", why, "choose another port"),)) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and close what is open; idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for transport in tuple(self.open):
            transport.close()

    def answer(self, line: bytes) -> bytes:
        """Return the response to a request, by its first line."""
        method, path = [*line.split(), b"", b""][:2]
        path = path.partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(405, {"paths": [LIVE, HEALTH]}, method)
        if path == LIVE.encode():
            return _response(200, {"live": True}, method)
        if path != HEALTH.encode():
            return _response(404, {"paths": [LIVE, HEALTH]}, method)
        halts = self._halts()
        if halts is None:
            return _response(503, {"state": "starting", "halts": []}, method)
        told = [
            {"what": each.what, "since_ms": each.since_ms, "why": each.why, "tried_again_ms": each.look_ms}
            for each in halts
        ]
        return _response(503 if told else 200, {"state": "halted" if told else "well", "halts": told}, method)


class _Probe(asyncio.Protocol):
    """One connection: one request is answered, then it is closed, after REQUEST_S at the latest."""

    def __init__(self, server: HealthServer) -> None:
        self._server = server
        self._got = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless too many are open."""
        made = cast("asyncio.Transport", transport)
        if len(self._server.open) >= CONNECTIONS_MAX:
            made.abort()
            return
        self._transport = made
        self._server.open.add(made)
        self._timer = asyncio.get_running_loop().call_later(REQUEST_S, made.abort)

    def data_received(self, data: bytes) -> None:
        """Answer once the first line is there."""
        if self._transport is None or self._transport.is_closing():
            return
        self._got += data
        line, end, _ = self._got.partition(b"\n")
        if end and len(line) <= LINE_BYTES_MAX:
            self._transport.write(self._server.answer(line))
            self._transport.close()
        elif len(self._got) > LINE_BYTES_MAX:
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Make room for another."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._server.open.discard(self._transport)


_STATUS: Final = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


def _response(status: int, document: dict[str, object], method: bytes) -> bytes:
    body = orjson.dumps(document)
    head = (
        f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if method == b"HEAD" else body)
