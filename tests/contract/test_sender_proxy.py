"""Through a proxy: what it is asked for, that the address check holds, and how its failures are told."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from pipeline.adapters.http import proxy as proxy_module
from pipeline.model import Answer, Failure, FailureClass, Proxy
from tests.contract.endpoint import Act, Names, WireEndpoint, ok, request
from tests.contract.tunnel import TunnelProxy
from tests.support.conditions import eventually
from tests.support.tls import self_signed


def unsent(cls: FailureClass, detail: str) -> Failure:
    return Failure(cls, sent=False, detail=detail)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


async def through(proxy: Proxy, *, resolver=None, **changes):
    """What connecting through a proxy comes to, to a receiver nobody should reach."""
    async with WireEndpoint() as endpoint:
        sender = endpoint.sender(resolver or Names(["127.0.0.1"]), host="hooks.example", proxy=proxy, **changes)
        opened = await asyncio.wait_for(sender.connect(), 8)
        return opened, endpoint.connections


# ------------------------------------------------------------------------------------------------- what works


@pytest.mark.parametrize(
    "established",
    [b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.0 200 OK\r\nVia: x\r\n\r\n", b"HTTP/1.1 200\r\n\r\n"],
)
async def test_plain_http_goes_through_a_tunnel_to_the_checked_address(established):
    async with WireEndpoint() as endpoint, TunnelProxy(established=established) as proxy:
        sender = endpoint.sender(Names(["127.0.0.1"]), host="hooks.example", proxy=proxy.proxy())
        connection = await sender.connect()
        for _ in range(3):
            assert connection.usable()
            assert await connection.exchange(*request()) == Answer(204)
        assert proxy.targets() == [f"127.0.0.1:{endpoint.port}"]
        assert endpoint.requests == [b"".join(request())] * 3
        assert endpoint.stats.connections_opened == endpoint.connections == 1


async def test_tls_goes_through_a_tunnel_and_is_with_the_destination(server_tls, certificate):
    async with WireEndpoint(tls=server_tls) as endpoint, TunnelProxy() as proxy:
        sender = endpoint.sender(
            Names(["127.0.0.1"]), host="localhost", tls=True, ca_file=str(certificate.certificate), proxy=proxy.proxy()
        )
        connection = await sender.connect()
        for _ in range(3):
            assert await connection.exchange(*request(b"unseen")) == Answer(204)
        assert endpoint.connections == 1
        assert proxy.targets() == [f"127.0.0.1:{endpoint.port}"]
        assert b"localhost" not in proxy.heads[0]


async def test_a_certificate_for_another_name_is_refused_through_a_tunnel_too(server_tls, certificate):
    async with WireEndpoint(tls=server_tls) as endpoint, TunnelProxy() as proxy:
        sender = endpoint.sender(
            Names(["127.0.0.1"]), host="hooks.example", tls=True, ca_file=str(certificate.certificate),
            proxy=proxy.proxy(),
        )  # fmt: skip
        assert await sender.connect() == unsent(FailureClass.TLS, "certificate_wrong_host")
        assert endpoint.requests == []
        await eventually(lambda: not proxy.open)


async def test_an_ipv6_address_is_asked_for_in_brackets():
    async with WireEndpoint(host="::1") as endpoint, TunnelProxy() as proxy:
        connection = await endpoint.sender(Names(["::1"]), host="hooks.example", proxy=proxy.proxy()).connect()
        assert await connection.exchange(*request()) == Answer(204)
        assert proxy.targets() == [f"[::1]:{endpoint.port}"]


async def test_credentials_go_to_the_proxy_and_nowhere_else():
    async with WireEndpoint() as endpoint, TunnelProxy() as proxy:
        connection = await endpoint.connect(proxy=proxy.proxy("Basic aHVzaDpodXNo"))
        assert await connection.exchange(*request()) == Answer(204)
        assert b"\r\nProxy-Authorization: Basic aHVzaDpodXNo\r\n" in proxy.heads[0]
        assert b"aHVzaDpodXNo" not in endpoint.requests[0]


async def test_the_proxys_own_name_is_looked_up_and_may_be_anything():
    async with WireEndpoint() as endpoint, TunnelProxy() as proxy:
        connection = await endpoint.connect(
            proxy=proxy.proxy(host="localhost"), private_networks=("127.0.0.1/32",)
        )  # fmt: skip
        assert await connection.exchange(*request()) == Answer(204)


async def test_an_address_the_proxy_cannot_reach_is_followed_by_the_next():
    async with WireEndpoint() as endpoint, TunnelProxy(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", None) as proxy:
        names = Names(["127.0.0.2", "127.0.0.1"])
        connection = await endpoint.sender(names, host="hooks.example", proxy=proxy.proxy()).connect()
        assert await connection.exchange(*request()) == Answer(204)
        assert proxy.targets() == [f"127.0.0.2:{endpoint.port}", f"127.0.0.1:{endpoint.port}"]
        await eventually(lambda: len(proxy.open) == 2)  # both ends of the one tunnel


# ------------------------------------------------------------------------------------------- the address check


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["10.0.0.1"], "private"),
        (["127.0.0.1", "169.254.169.254"], "link_local"),
        (["::ffff:10.0.0.1"], "private"),
        (["64:ff9b::a00:1"], "private"),
    ],
)
async def test_a_proxy_is_not_asked_for_a_refused_address(addresses, reason):
    async with TunnelProxy() as proxy:
        failure, connections = await through(proxy.proxy(), resolver=Names(addresses))
        assert failure == unsent(FailureClass.BLOCKED_ADDRESS, reason)
        assert proxy.heads == []
        assert connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "::1", "127.1", "2130706433"])
async def test_a_proxy_is_not_asked_for_a_refused_literal(host):
    async with WireEndpoint() as endpoint, TunnelProxy() as proxy:
        failure = await endpoint.sender(host=host, proxy=proxy.proxy(), private_networks=()).connect()
        assert isinstance(failure, Failure)
        assert failure.cls is FailureClass.BLOCKED_ADDRESS
        assert proxy.heads == []


async def test_that_the_proxy_is_private_lets_the_destination_nowhere():
    """The proxy and the destination have one name: only the proxy may be there."""
    async with WireEndpoint() as endpoint, TunnelProxy() as proxy:
        sender = endpoint.sender(host="localhost", proxy=proxy.proxy(host="localhost"), private_networks=())
        assert await sender.connect() == unsent(FailureClass.BLOCKED_ADDRESS, "loopback")
        assert proxy.heads == []


# ------------------------------------------------------------------------------------------ the proxy's failures


@pytest.mark.parametrize(
    ("answer", "cls", "detail"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", FailureClass.AUTH, "proxy_http_407"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", FailureClass.CONNECTION, "proxy_http_502"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", FailureClass.CONNECTION, "proxy_http_403"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\n\r\n", FailureClass.CONNECTION, "proxy_http_301"),
        (b"garbage\r\n\r\n", FailureClass.CONNECTION, "proxy_bad_answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nunasked", FailureClass.CONNECTION, "proxy_bad_answer"),
        (b"x" * (proxy_module.ANSWER_BYTES_MAX + 1), FailureClass.CONNECTION, "proxy_bad_answer"),
    ],
    ids=["407", "502", "403", "redirect", "garbage", "speaks first", "endless"],
)
async def test_what_a_proxy_refuses_is_its_own_failure(answer, cls, detail):
    async with TunnelProxy(answer) as proxy:
        failure, connections = await through(proxy.proxy())
        assert failure == Failure(cls, sent=False, detail=detail, holds=cls is FailureClass.AUTH)
        assert connections == 0
        await eventually(lambda: not proxy.open)


async def test_a_proxy_is_asked_for_a_few_addresses_only():
    addresses = [f"127.0.0.{number}" for number in range(1, 20)]
    async with TunnelProxy(b"HTTP/1.1 504 Gateway Timeout\r\n\r\n") as proxy:
        failure, _ = await through(proxy.proxy(), resolver=Names(addresses))
        assert failure == unsent(FailureClass.CONNECTION, "proxy_http_504")
        assert len(proxy.heads) == proxy_module.ADDRESSES_MAX


async def test_a_proxy_that_closes_or_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        failure, _ = await through(Proxy("127.0.0.1", taken.getsockname()[1]))
        assert failure == unsent(FailureClass.CONNECTION, "proxy_connect_refused")
    async with WireEndpoint([Act.CLOSE]) as closing:
        failure, _ = await through(Proxy("127.0.0.1", closing.port))
        assert failure == unsent(FailureClass.CONNECTION, "proxy_closed")
    failure, _ = await through(Proxy("proxy.invalid", 3128))
    assert failure == unsent(FailureClass.CONNECTION, "proxy_dns")


async def test_waiting_for_a_proxy_is_bounded_by_the_timeout_and_leaves_nothing():
    async with TunnelProxy(b"") as proxy:
        failure, _ = await through(proxy.proxy(), timeout_ms=150)
        assert failure == unsent(FailureClass.TIMEOUT, "connect")
        assert len(proxy.heads) == 1
        await eventually(lambda: not proxy.open)


async def test_a_receivers_own_407_and_502_are_answers():
    async with WireEndpoint([ok(status=407)], [ok(status=502)]) as endpoint, TunnelProxy() as proxy:
        connection = await endpoint.connect(proxy=proxy.proxy())
        assert await connection.exchange(*request()) == Answer(407)
        assert await connection.exchange(*request()) == Answer(502)


async def test_closing_the_sender_closes_its_tunnels():
    async with WireEndpoint() as endpoint, TunnelProxy() as proxy:
        sender = endpoint.sender(proxy=proxy.proxy())
        connection = await sender.connect()
        assert await connection.exchange(*request()) == Answer(204)
        await sender.close()
        assert not connection.usable()
        await eventually(lambda: not proxy.open)
