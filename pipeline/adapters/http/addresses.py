"""Decides which addresses may be called, and resolves names to such addresses only.

Destinations come from configuration, but what their names resolve to does not: a name that turns into a private,
loopback or link-local address would let whoever owns it reach into our network. So every address a name resolves to is
checked, one bad one refuses them all, and the connection goes to the very addresses that were checked (no second
lookup). The table below is ours, not `ipaddress.is_global`, whose answers change between Python patch releases.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import AddressFamily

Network: TypeAlias = IPv4Network | IPv6Network

_NOT_GLOBAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), reason)
    for network, reason in (
        # IANA IPv4 special-purpose address registry, and RFC 5771 (multicast)
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private"),  # shared between a carrier and its customers, RFC 6598
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link_local"),  # also the metadata services of the clouds
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
        # IANA IPv6 special-purpose address registry; first match counts, and what is left outside 2000::/3 is reserved
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private"),  # local-use NAT64, RFC 8215
        ("2001::/32", "tunnelled"),  # Teredo: reaches whatever IPv4 address is in it
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "tunnelled"),  # 6to4, likewise
        ("3fff::/20", "reserved"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link_local"),
        ("fec0::/10", "private"),  # site-local, RFC 3879
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
_EMBEDS_IPV4: Final = (
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped, RFC 4291
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated, RFC 2765
    IPv6Network("64:ff9b::/96"),  # NAT64, RFC 6052
)


class Blocked(Exception):
    """A name resolved to an address that may not be called. The text is a reason code, never the address."""


def refused(address: str, allowed: Sequence[Network]) -> str | None:
    """Say why an address may not be called, as a code, or None: it may. Pure; never raises.

    `allowed` are the destination's private networks: whatever lies in one may be called. An IPv6 address that stands
    for an IPv4 address (mapped, translated, NAT64) is judged as that one.
    """
    try:
        ip = ip_address(address.partition("%")[0])
    except ValueError:
        return "not_an_address"
    if any(ip in network for network in allowed):
        return None
    ip = _effective(ip)
    if any(ip in network for network in allowed):
        return None
    for network, reason in _NOT_GLOBAL:
        if ip in network:
            return reason
    if isinstance(ip, IPv6Address) and ip not in _GLOBAL_UNICAST:
        return "reserved"
    return None


def _effective(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv6Address) and any(ip in network for network in _EMBEDS_IPV4):
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return ip


def literal(host: str) -> bool:
    """Whether a host is written as an address, so that no resolver would see it: `10.0.0.1`, `::1`, even `127.1`."""
    return ":" in host or host.replace(".", "").isdigit()


class GuardedResolver(AbstractResolver):
    """Resolves with another resolver, and raises Blocked if any of the addresses may not be called."""

    def __init__(self, resolver: AbstractResolver, allowed: Sequence[Network]) -> None:
        self._resolver = resolver
        self._allowed = tuple(allowed)

    async def resolve(self, host: str, port: int = 0, family: AddressFamily | int = 0) -> list[ResolveResult]:
        """Return the addresses of a name. Raises Blocked, or OSError as the resolver within does."""
        results = await self._resolver.resolve(host, port, family)  # type: ignore[arg-type]
        for result in results:
            reason = refused(result["host"], self._allowed)
            if reason is not None:
                raise Blocked(reason)
        if not results:
            raise OSError(None, "no address")
        return results

    async def close(self) -> None:
        """Close the resolver within."""
        await self._resolver.close()
