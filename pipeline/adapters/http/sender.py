"""Opens connections to one destination: resolves, checks every address, connects, verifies TLS.

aiohttp's connector does the work (DNS cache, happy eyeballs, TLS); its pool is not used: a connection stays with the
seat that opened it. Redirects are never followed. Through a proxy: see `proxy.py`.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import math
import ssl
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final, cast

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from aiohttp.resolver import DefaultResolver
from yarl import URL

from pipeline.adapters.http.addresses import Blocked, GuardedResolver, literal, refused
from pipeline.adapters.http.connection import AnswerProtocol, HttpConnection
from pipeline.adapters.http.proxy import ProxyFailure, TunnelConnector
from pipeline.errors import ConfigError
from pipeline.model import Failure, FailureClass, Problem

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler

    from pipeline.model import Destination
    from pipeline.ports import LaneStats

DNS_CACHE_S: Final = 10
"""A resolved name is looked up again after this long."""

_CONNECT_DETAILS: Final = {
    errno.ECONNREFUSED: "connect_refused",
    errno.ECONNRESET: "connect_reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.EMFILE: "too_many_open_files",
}
_CERTIFICATE_DETAILS: Final = {  # X509_V_ERR_* of OpenSSL's x509_vfy.h
    9: "certificate_not_yet_valid",
    10: "certificate_expired",
    18: "certificate_self_signed",
    19: "certificate_untrusted",
    20: "certificate_untrusted",
    21: "certificate_untrusted",
    62: "certificate_wrong_host",
    64: "certificate_wrong_host",
}


class HttpSender:
    """Connections to one destination; implements `ports.Sender`. Belongs to the loop of its first `connect`."""

    def __init__(self, destination: Destination, stats: LaneStats, *, resolver: AbstractResolver | None = None) -> None:
        """Prepare; reads the TLS files, so it may block for some milliseconds. Connects to nothing yet.

        `resolver` replaces the system's, and is checked all the same. Raises ConfigError for TLS files that are of no
        use.
        """
        self._destination = destination
        self._stats = stats
        self._allowed = tuple(ip_network(network) for network in destination.private_networks)
        self._tls = tls_context(destination) if destination.tls else None
        self._resolver = resolver
        self._connector: aiohttp.TCPConnector | None = None
        self._request: ClientRequest | None = None
        self._open: set[HttpConnection] = set()
        self._closed = False
        timeout_s = destination.timeout_ms / 1000
        self._timeout = aiohttp.ClientTimeout(connect=timeout_s, sock_connect=timeout_s, ceil_threshold=math.inf)

    async def connect(self) -> HttpConnection | Failure:
        """Open a connection whose peer may be called, or say why not. Bounded by the destination's timeout."""
        if self._closed:
            return Failure(FailureClass.CONNECTION, sent=False, detail="sender_closed")
        connector, request = self._start()
        host = request.url.raw_host or ""
        reason = refused(host, self._allowed) if literal(host) else None
        if reason is not None:
            return Failure(FailureClass.BLOCKED_ADDRESS, sent=False, detail=reason)
        try:
            lease = await connector.connect(request, [], self._timeout)
        except (Blocked, ProxyFailure, aiohttp.ClientError, OSError, TimeoutError, UnicodeError) as error:
            return _failure(error)
        reason = self._peer_refused(lease.transport) if self._destination.proxy is None else None
        if reason is not None:
            lease.close()
            return Failure(FailureClass.BLOCKED_ADDRESS, sent=False, detail=reason)
        self._stats.connections_opened += 1
        connection = HttpConnection(
            lease, asyncio.get_running_loop(), self._destination.response_bytes_max, self._open.discard
        )
        self._open.add(connection)
        return connection

    def trust(self, tls: ssl.SSLContext) -> None:
        """Connect with another context from now on (see `tls_context`); open connections stay as they are."""
        self._tls = tls
        self._request = None

    async def close(self) -> None:
        """Close every connection of this sender; idempotent."""
        self._closed = True
        for connection in tuple(self._open):
            connection.close()
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()
            await connector._resolver.close()  # noqa: SLF001 - it is ours: handed over in _start

    def _start(self) -> tuple[aiohttp.TCPConnector, ClientRequest]:
        """Make connector and request on first use: both want the running loop."""
        loop = asyncio.get_running_loop()
        destination = self._destination
        if self._connector is None:
            resolver = GuardedResolver(self._resolver or DefaultResolver(), self._allowed)
            if destination.proxy is None:
                self._connector = aiohttp.TCPConnector(
                    resolver=resolver,
                    ttl_dns_cache=DNS_CACHE_S,
                    limit=0,  # the lane bounds concurrency
                )
            else:
                self._connector = TunnelConnector(destination.proxy, resolver, DNS_CACHE_S)
            protocols = cast("functools.partial[ResponseHandler]", functools.partial(AnswerProtocol, loop=loop))
            self._connector._factory = protocols  # noqa: SLF001 - see AnswerProtocol
        if self._request is None:
            host = destination.host.strip("[]")
            url = URL.build(scheme="https" if destination.tls else "http", host=host, port=destination.port)
            # Only carries address and TLS context: nothing of it is sent.
            self._request = ClientRequest(
                "POST", url, loop=loop, server_hostname=host.rstrip("."), ssl=self._tls or True
            )
        return self._connector, self._request

    def _peer_refused(self, transport: asyncio.Transport | None) -> str | None:
        """Check the address really connected to, in case aiohttp ever finds a way around the resolver."""
        peer = transport.get_extra_info("peername") if transport is not None else None
        return refused(peer[0], self._allowed) if peer else None


@functools.cache
def _system_roots() -> ssl.SSLContext:
    return _http1(ssl.create_default_context())


def tls_context(destination: Destination) -> ssl.SSLContext:
    """Trust the system's roots, or only the CA file's; offer the client certificate if there is one. Blocks on files.

    Certificate and host name are always verified. Raises ConfigError, which names the files' keys only.
    """
    if not destination.ca_file and not destination.client_cert:
        return _system_roots()
    file = f"destinations/{destination.name}.yaml"
    try:
        context = _http1(ssl.create_default_context(cafile=destination.ca_file or None))
    except OSError as error:  # SSLError is one
        message = "cannot be read as PEM certificates"
        raise ConfigError((Problem(file, 0, 0, "tls.ca", message),)) from error
    if destination.client_cert:
        try:
            # The passphrase is asked for on the terminal unless something answers.
            context.load_cert_chain(destination.client_cert, destination.client_key, password=lambda: "")
        except (OSError, ValueError) as error:
            message = "is no PEM certificate with its private key, or the key has a passphrase"
            raise ConfigError((Problem(file, 0, 0, "tls.client_cert", message),)) from error
    return context


def _http1(context: ssl.SSLContext) -> ssl.SSLContext:
    context.set_alpn_protocols(["http/1.1"])
    return context


def _failure(error: Exception) -> Failure:
    """Map what connecting can raise. Details are codes: no address, name or certificate text."""
    if isinstance(error, Blocked):
        cls, detail = FailureClass.BLOCKED_ADDRESS, str(error)
    elif isinstance(error, aiohttp.InvalidURL):
        cls, detail = FailureClass.BLOCKED_ADDRESS, "not_an_address"
    elif isinstance(error, ProxyFailure):
        cls, detail = error.cls, str(error)
    elif isinstance(error, aiohttp.ClientConnectorCertificateError):
        code = getattr(error.certificate_error, "verify_code", 0)
        cls, detail = FailureClass.TLS, _CERTIFICATE_DETAILS.get(code, "certificate")
    elif isinstance(error, aiohttp.ClientSSLError):
        cls, detail = FailureClass.TLS, "handshake"
    elif isinstance(error, aiohttp.ClientConnectorDNSError | UnicodeError):
        cls, detail = FailureClass.CONNECTION, "dns"
    elif isinstance(error, TimeoutError):
        cls, detail = FailureClass.TIMEOUT, "connect"
    elif isinstance(error, OSError):
        detail = _CONNECT_DETAILS.get(error.errno or 0, "connect_failed")
        cls = FailureClass.CONNECTION
        detail = f"proxy_{detail}" if isinstance(error, aiohttp.ClientProxyConnectionError) else detail
    else:
        cls, detail = FailureClass.CONNECTION, "connect_failed"
    # A proxy that wants other credentials refuses us as such.
    return Failure(cls, sent=False, detail=detail, holds=cls is FailureClass.AUTH)
