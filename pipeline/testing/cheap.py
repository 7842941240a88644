"""Answers every HTTP request with 204 as cheaply as Python can: the far side of the bench.

It reads just enough of HTTP/1.1 (RFC 9112) to find where a request ends: a head, then Content-Length bytes. No chunked
requests, no checks, nothing kept but counts. Run it beside the thing measured, it ends with its parent:

    python -m pipeline.testing.cheap --port 0 --delay 100ms
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from typing import Final, cast

import uvloop

from pipeline.config.units import duration_ms

PARENT_CHECK_S: Final = 0.5
"""How often a server looks whether the process that started it still lives."""
BACKLOG: Final = 4_096
"""Connections the kernel keeps until they are accepted: a bench opens thousands at once."""
_ANSWER: Final = b"HTTP/1.1 204 No Content\r\n\r\n"
_LENGTH: Final = b"content-length:"


class Counts:
    """What the server has seen since it started: requests, connections and bytes received."""

    __slots__ = ("bytes", "connections", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0
        self.bytes = 0

    def as_json(self) -> str:
        """Return the counts as one line of JSON."""
        return json.dumps({"requests": self.requests, "connections": self.connections, "bytes": self.bytes})


class CheapProtocol(asyncio.Protocol):
    """One connection. Requests may be pipelined; each is answered `delay_s` after its last byte came in."""

    def __init__(self, counts: Counts, delay_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self._counts = counts
        self._delay_s = delay_s
        self._loop = loop
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class
        self._counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the transport; answers still due are dropped."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer all requests that are complete; keep the rest."""
        self._counts.bytes += len(data)
        if self._pending:
            data = self._pending + data
        start = 0
        while (end := request_end(data, start)) > 0:
            start = end
            self._counts.requests += 1
            if self._delay_s:
                self._loop.call_later(self._delay_s, self._answer)
            else:
                self._answer()
        self._pending = data[start:]

    def _answer(self) -> None:
        if self._transport is not None:
            self._transport.write(_ANSWER)


def request_end(data: bytes, start: int) -> int:
    """Return where the request that begins at `start` ends, or 0 while it is incomplete."""
    head_end = data.find(b"\r\n\r\n", start)
    if head_end < 0:
        return 0
    at = data.find(_LENGTH, start, head_end)
    if at < 0:  # not in our own spelling: look again, whatever the case
        at = data[start:head_end].lower().find(_LENGTH)
        if at < 0:
            return head_end + 4
        at += start
    line_end = data.find(b"\r\n", at, head_end + 2)
    end = head_end + 4 + int(data[at + len(_LENGTH) : line_end])
    return end if end <= len(data) else 0


def delay_ms(text: str) -> int:
    """Read a duration that may also be zero."""
    return 0 if text in ("0", "0ms", "0s") else duration_ms(text)


async def parent_gone() -> None:
    """Return once the process that started this one has ended (checked every PARENT_CHECK_S)."""
    parent = os.getppid()
    while os.getppid() == parent:  # nobody could set an event
        await asyncio.sleep(PARENT_CHECK_S)


async def serve(port: int, delay_s: float) -> None:
    """Print the URL, then answer until SIGTERM, SIGINT or the parent's end; print the counts last."""
    loop = asyncio.get_running_loop()
    counts = Counts()
    server = await loop.create_server(lambda: CheapProtocol(counts, delay_s, loop), "127.0.0.1", port, backlog=BACKLOG)
    over = asyncio.ensure_future(parent_gone())
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, over.cancel)
    address, bound_port = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{address}:{bound_port}\n")
    sys.stdout.flush()
    await asyncio.wait([over])
    server.close()
    sys.stdout.write(counts.as_json() + "\n")
    sys.stdout.flush()


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.testing.cheap", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one)")
    parser.add_argument("--delay", type=delay_ms, default=0, help="time before each answer, as 100ms")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.port, arguments.delay / 1000))


if __name__ == "__main__":
    main()
