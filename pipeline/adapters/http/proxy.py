"""Opens connections to a destination through an HTTP proxy, with the address check still in force.

A proxy that is given a name looks it up itself, and reaches whatever the name stands for by then. So the destination's
name is resolved and checked here, and the proxy is asked for a tunnel to an address that was checked (CONNECT, RFC 9110
section 9.3.6), for plain http too: in absolute form the proxy would choose the address, and its own 502 or 407 would
look like the receiver's. TLS is with the destination, by its name, from end to end.

The proxy itself may have any address: whoever configured it meant it.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.resolver import ThreadedResolver

from pipeline.model import FailureClass

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

    from pipeline.adapters.http.addresses import GuardedResolver
    from pipeline.model import Proxy

ANSWER_BYTES_MAX: Final = 16_384
"""Head of a proxy's answer to CONNECT; one that sends more is broken."""
ADDRESSES_MAX: Final = 3
"""Addresses of a destination a proxy is asked for, one after the other, before its answer is the result."""

_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r]")
_REFUSED_US: Final = 407
_CANNOT_REACH: Final = range(500, 600)


class ProxyFailure(Exception):
    """The proxy gave no tunnel. The text is a code; nothing reached the destination."""

    def __init__(self, cls: FailureClass, detail: str) -> None:
        super().__init__(detail)
        self.cls = cls


class TunnelConnector(aiohttp.TCPConnector):
    """aiohttp's connector, for connections that are tunnels through one proxy. DNS cache and TLS stay aiohttp's."""

    def __init__(self, proxy: Proxy, resolver: GuardedResolver, dns_cache_s: int) -> None:
        """`resolver` is for destinations. The proxy's own name is looked up unchecked, for each connection."""
        super().__init__(resolver=resolver, ttl_dns_cache=dns_cache_s, limit=0)
        self._proxy = proxy
        self._proxy_resolver = ThreadedResolver()  # keeps nothing that would have to be closed

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's
    ) -> ResponseHandler:
        """Called by `connect`, which bounds it by `timeout.connect`. Raises ProxyFailure besides what aiohttp does."""
        host, port = req.url.raw_host or "", req.port or 0
        try:
            found = await self._resolve_host(host, port, traces)
        except OSError as error:
            raise aiohttp.ClientConnectorDNSError(req.connection_key, error) from error
        transport = await self._any_tunnel([each["host"] for each in found[:ADDRESSES_MAX]], port, req, timeout)
        if req.is_ssl():
            _, protocol = await self._start_tls_connection(transport, req=req, timeout=timeout)
            return protocol
        protocol = self._factory()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return protocol

    async def _any_tunnel(
        self, addresses: list[str], port: int, req: ClientRequest, bounds: aiohttp.ClientTimeout
    ) -> asyncio.Transport:
        """Return a tunnel to the first of the addresses that the proxy reaches."""
        failure = ProxyFailure(FailureClass.CONNECTION, "dns")
        for address in addresses:
            status, transport = await self._ask(address, port, req, bounds)
            if 200 <= status < 300:  # noqa: PLR2004
                return transport
            transport.abort()
            cls = FailureClass.AUTH if status == _REFUSED_US else FailureClass.CONNECTION
            failure = ProxyFailure(cls, f"proxy_http_{status}")
            if status not in _CANNOT_REACH:
                break
        raise failure

    async def _ask(
        self, address: str, port: int, req: ClientRequest, bounds: aiohttp.ClientTimeout
    ) -> tuple[int, asyncio.Transport]:
        """Connect to the proxy and ask for one tunnel; return its answer's status and the open connection."""
        try:
            found = await self._proxy_resolver.resolve(self._proxy.host, self._proxy.port)
        except OSError as error:
            raise ProxyFailure(FailureClass.CONNECTION, "proxy_dns") from error
        answer = _Answer(self._loop)
        transport, _ = await self._wrap_create_connection(
            lambda: answer, addr_infos=self._convert_hosts_to_addr_infos(found), req=req, timeout=bounds,
            client_error=aiohttp.ClientProxyConnectionError,
        )  # fmt: skip
        try:
            transport.write(self._request(address, port))
            head, _, rest = (await answer.complete).partition(b"\r\n\r\n")
        except BaseException:  # a cancelled wait too: what happens to it, the connection must not stay open
            transport.abort()
            raise
        status = _STATUS.match(head + b"\r")
        if status is None or (rest and status[1].startswith(b"2")):
            transport.abort()
            raise ProxyFailure(FailureClass.CONNECTION, "proxy_bad_answer" if head else "proxy_closed")
        return int(status[1]), transport

    def _request(self, address: str, port: int) -> bytes:
        target = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        return "\r\n".join((*lines, "", "")).encode("ascii")


class _Answer(asyncio.Protocol):
    """What a proxy says to CONNECT: at least up to the blank line, or what there was when it closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.complete: asyncio.Future[bytes] = loop.create_future()
        self._got = b""

    def data_received(self, data: bytes) -> None:
        """Gather the head."""
        self._got += data
        if b"\r\n\r\n" in self._got or len(self._got) > ANSWER_BYTES_MAX:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Leave it at what there is."""
        self._end()

    def _end(self) -> None:
        if not self.complete.done():
            self.complete.set_result(self._got)
