"""Looks at a destination from outside a lane: what its name resolves to, and who answers. For `destination test`."""

from __future__ import annotations

import ssl
from ipaddress import ip_network
from typing import TYPE_CHECKING

from aiohttp.resolver import DefaultResolver

from pipeline.adapters.http.addresses import literal, refused
from pipeline.model import value

if TYPE_CHECKING:
    from pipeline.adapters.http.connection import HttpConnection
    from pipeline.model import Destination


@value
class Peer:
    """Who is at the other end of a connection. Empty and 0 without TLS; `expires_ms` is Unix ms."""

    address: str
    tls: str
    subject: str
    issuer: str
    expires_ms: int


async def addresses(destination: Destination) -> list[tuple[str, str]]:
    """Return each address the host resolves to, with why it may not be called, or "". Raises OSError like a resolver.

    The rules are those that every connection is held to; here nothing is connected to.
    """
    allowed = [ip_network(network) for network in destination.private_networks]
    host = destination.host.strip("[]")
    if literal(host):
        return [(host, refused(host, allowed) or "")]
    resolver = DefaultResolver()
    try:
        found = await resolver.resolve(host, destination.port)
    finally:
        await resolver.close()
    return [(each, refused(each, allowed) or "") for each in dict.fromkeys(result["host"] for result in found)]


def peer(connection: HttpConnection) -> Peer:
    """Tell who answered a connection that is open and verified."""
    name = connection.told("peername")
    address = f"{name[0]}:{name[1]}" if name else ""
    shaken = connection.told("ssl_object")
    if shaken is None:
        return Peer(address, "", "", "", 0)
    certificate = shaken.getpeercert() or {}
    expires = certificate.get("notAfter", "")
    return Peer(
        address, shaken.version() or "", _name(certificate.get("subject", ())), _name(certificate.get("issuer", ())),
        ssl.cert_time_to_seconds(expires) * 1_000 if expires else 0,
    )  # fmt: skip


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    known = dict(pair for part in parts for pair in part)
    return known.get("commonName") or known.get("organizationName", "")
