"""An HTTP proxy on a real socket: it tunnels wherever CONNECT says, or answers what a test wants."""

from __future__ import annotations

import asyncio
from typing import Self

from pipeline.model import Proxy


class TunnelProxy:
    """Keeps every request head. `answers` are said in order instead of tunnelling; None tunnels; the last for ever."""

    def __init__(self, *answers: bytes | None, established: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"):
        self.answers = answers or (None,)
        self.heads: list[bytes] = []
        self.open: set[asyncio.StreamWriter] = set()
        self._established = established
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self.open):
            writer.transport.abort()
        for pump in tuple(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._server.wait_closed()

    def proxy(self, authorization: str = "", host: str = "127.0.0.1") -> Proxy:
        """Where it is."""
        assert self._server is not None
        return Proxy(host, self._server.sockets[0].getsockname()[1], authorization)

    def targets(self) -> list[str]:
        """What it was asked for, in order."""
        return [head.split(b" ")[1].decode() for head in self.heads]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            answer = self.answers[min(len(self.heads), len(self.answers)) - 1]
            if answer is None:
                await self._tunnel(reader, writer)
            elif answer:
                writer.write(answer)
                await writer.drain()
                await reader.read()
            else:
                await reader.read()  # silence
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self.heads[-1].split(b" ")[1].decode().rpartition(":")
        from_target, to_target = await asyncio.open_connection(host.strip("[]"), int(port))
        self.open.add(to_target)
        writer.write(self._established)
        back = asyncio.ensure_future(_pump(from_target, writer))
        self._pumps.add(back)
        try:
            await _pump(reader, to_target)
        finally:
            self.open.discard(to_target)
            to_target.close()
            back.cancel()
            self._pumps.discard(back)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
