"""Which addresses may be called. Every kind that must not be, and the ways to write it."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.http.addresses import Blocked, GuardedResolver, literal, refused

PRIVATE = (ip_network("10.2.0.0/16"), ip_network("fd00:1::/32"))


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "private"),
        ("100.127.255.255", "private"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.169.254", "link_local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.8", "reserved"),
        ("192.0.2.1", "reserved"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "reserved"),
        ("198.51.100.7", "reserved"),
        ("203.0.113.9", "reserved"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.250", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("0:0:0:0:0:0:0:1", "loopback"),
        ("::127.0.0.1", "reserved"),
        ("::ffff:127.0.0.1", "loopback"),
        ("::ffff:7f00:1", "loopback"),
        ("::ffff:10.0.0.1", "private"),
        ("::ffff:169.254.169.254", "link_local"),
        ("::ffff:0:10.0.0.1", "private"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b:1::1", "private"),
        ("100::1", "reserved"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "tunnelled"),
        ("2001:2::1", "reserved"),
        ("2001:db8::1", "reserved"),
        ("2002:7f00:1::1", "tunnelled"),
        ("2002:808:808::1", "tunnelled"),
        ("3fff::1", "reserved"),
        ("5f00::1", "reserved"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("fe80::1", "link_local"),
        ("fe80::1%eth0", "link_local"),
        ("fec0::1", "private"),
        ("ff02::1", "multicast"),
        ("4000::1", "reserved"),
        ("127.1", "not_an_address"),
        ("2130706433", "not_an_address"),
        ("0177.0.0.1", "not_an_address"),
        ("0x7f.0.0.1", "not_an_address"),
        ("", "not_an_address"),
    ],
)
def test_what_may_not_be_called(address, reason):
    assert refused(address, ()) == reason


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255",
     "2600::1", "2a00:1450:4001::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)  # fmt: skip
def test_what_may_be_called(address):
    assert refused(address, ()) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("10.2.3.4", None),
        ("::ffff:10.2.3.4", None),
        ("64:ff9b::10.2.3.4", None),
        ("fd00:1::5", None),
        ("10.3.0.1", "private"),
        ("::ffff:10.3.0.1", "private"),
        ("fd00:2::1", "private"),
        ("127.0.0.1", "loopback"),
    ],
)
def test_private_networks_open_exactly_themselves(address, reason):
    assert refused(address, PRIVATE) == reason


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_all_its_ipv6_forms(address: IPv4Address):
    plain = refused(str(address), PRIVATE)
    for prefix in ("::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"):
        assert refused(str(IPv6Address(int(IPv6Address(prefix)) + int(address))), PRIVATE) == plain


@given(st.ip_addresses())
def test_whatever_python_knows_to_be_special_is_refused(address: IPv4Address | IPv6Address):
    special = (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
        or (address.version == 4 and address.is_private)
    )  # fmt: skip
    assert not special or refused(str(address), ()) is not None


@given(st.text())
def test_any_text_gets_an_answer(text):
    assert refused(text, ()) is None or isinstance(refused(text, ()), str)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "127.1", "2130706433", "10.0.0.1"])
def test_hosts_no_resolver_would_see(host):
    assert literal(host)


@pytest.mark.parametrize("host", ["localhost", "hooks.example", "0x7f.1", "1and1.example"])
def test_hosts_a_resolver_sees(host):
    assert not literal(host)


class Fixed(AbstractResolver):
    def __init__(self, *addresses):
        self.addresses = addresses

    async def resolve(self, host, port=0, family=0):
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in self.addresses
        ]

    async def close(self):
        pass


def test_the_resolver_hands_on_addresses_that_may_all_be_called():
    found = asyncio.run(GuardedResolver(Fixed("8.8.8.8", "2600::1"), ()).resolve("hooks.example", 443))
    assert [entry["host"] for entry in found] == ["8.8.8.8", "2600::1"]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_bad_address_refuses_them_all(position):
    addresses = ["8.8.8.8", "2600::1"]
    addresses.insert(position, "10.9.9.9")
    with pytest.raises(Blocked, match=r"^private$"):
        asyncio.run(GuardedResolver(Fixed(*addresses), PRIVATE).resolve("hooks.example", 443))


def test_a_name_without_addresses_is_an_error():
    with pytest.raises(OSError, match="no address"):
        asyncio.run(GuardedResolver(Fixed(), ()).resolve("hooks.example", 443))
