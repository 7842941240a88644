"""A receiver on a real socket that says byte for byte what a test wants, and a sender made for it."""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import Enum
from typing import TYPE_CHECKING, Self

from aiohttp.abc import AbstractResolver

from pipeline.adapters.http import HttpSender
from pipeline.model import BreakerPolicy, Destination, Failure
from pipeline.ports import LaneStats

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Sequence

BODY_BYTES_MAX = 65_536
TIMEOUT_MS = 10_000


class Act(Enum):
    """What an endpoint does instead of, or after, writing bytes."""

    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"
    TURN = "turn"  # let the loop turn, so that the next bytes tend to come as a packet of their own


Reply = list["bytes | Act | Callable[[asyncio.StreamWriter], Awaitable[None]]"]
NO_CONTENT: Reply = [b"HTTP/1.1 204 No Content\r\n\r\n"]


def ok(body: bytes = b"", *headers: str, status: int = 200) -> bytes:
    """A complete answer with Content-Length."""
    lines = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def request(body: bytes = b"{}", method: str = "POST") -> tuple[bytes, bytes]:
    """Head and body of a request."""
    return f"{method} /hook HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode(), body


def destination(port: int, **changes: object) -> Destination:
    """A destination on loopback, allowed to be there."""
    fields = {
        "name": "crm", "host": "127.0.0.1", "port": port, "tls": False, "private_networks": ("127.0.0.0/8", "::1/128"),
        "timeout_ms": TIMEOUT_MS, "concurrency": 4, "queue": 10, "rate_per_s": 0.0, "breaker": BreakerPolicy(),
        "response_bytes_max": BODY_BYTES_MAX, "drops_repeats": True,
    }  # fmt: skip
    return Destination(**(fields | changes))


class Names(AbstractResolver):
    """Resolves every name to the given addresses, one list a lookup, the last one for ever."""

    def __init__(self, *lookups):
        self.lookups = lookups
        self.asked = 0
        self.closed = False

    async def resolve(self, host, port=0, family=0):
        addresses = self.lookups[min(self.asked, len(self.lookups) - 1)]
        self.asked += 1
        if isinstance(addresses, Exception):
            raise addresses
        return [
            {"hostname": host, "host": one, "port": port, "family": family, "proto": 0, "flags": 0} for one in addresses
        ]

    async def close(self):
        self.closed = True


class WireEndpoint:
    """Reads requests with a Content-Length and plays the replies in order; the last one for ever."""

    def __init__(
        self, *replies: Reply, tls: ssl.SSLContext | None = None, greeting: bytes = b"", host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.replies: Sequence[Reply] = replies or (NO_CONTENT,)
        self.requests: list[bytes] = []
        self.connections = 0
        self.open: list[asyncio.StreamWriter] = []
        self.stats = LaneStats()
        self.port = 0
        self._tls = tls
        self._greeting = greeting
        self._senders: list[HttpSender] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        for sender in self._senders:
            await sender.close()
        await self.shut()

    async def shut(self) -> None:
        """Refuse connections from now on, cut the open ones."""
        assert self._server is not None
        self._server.close()
        for writer in tuple(self.open):
            writer.transport.abort()
        await self._server.wait_closed()

    def sender(self, resolver=None, **changes: object) -> HttpSender:
        """A sender to here; closed together with the endpoint."""
        made = destination(self.port, **({"host": self.host} | changes))
        sender = HttpSender(made, self.stats, resolver=resolver)
        self._senders.append(sender)
        return sender

    async def connect(self, resolver=None, **changes: object):
        """A connection to here."""
        connection = await self.sender(resolver, **changes).connect()
        assert not isinstance(connection, Failure), connection
        return connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.append(writer)
        try:
            if self._greeting:
                writer.write(self._greeting)
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open.remove(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        self.requests.append(head + await reader.readexactly(length))
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        for act in reply:
            if isinstance(act, bytes):
                writer.write(act)
                await writer.drain()
            elif not isinstance(act, Act):
                await act(writer)
            elif act is Act.TURN:
                for _ in range(10):
                    await asyncio.sleep(0)
            elif act is Act.SILENCE:
                await reader.read()
                return False
            else:
                if act is Act.RESET:
                    raw = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                return False
        return True
