"""Connecting: what is refused before a byte is sent, and how everything that can go wrong is told."""

from __future__ import annotations

import asyncio
import socket
import ssl

import pytest

from pipeline.adapters.http import HttpSender
from pipeline.errors import ConfigError
from pipeline.model import Answer, Failure, FailureClass
from pipeline.ports import LaneStats
from tests.contract.endpoint import Names, WireEndpoint, destination, request
from tests.support.tls import self_signed


def unsent(cls: FailureClass, detail: str) -> Failure:
    return Failure(cls, sent=False, detail=detail)


async def connect_once(made, resolver=None):
    sender = HttpSender(made, LaneStats(), resolver=resolver)
    try:
        return await asyncio.wait_for(sender.connect(), 8)
    finally:
        await sender.close()


# ------------------------------------------------------------------------------------------------ addresses


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "::1", "169.254.169.254", "::ffff:127.0.0.1", "10.0.0.1"])
async def test_a_literal_address_is_checked_though_no_resolver_sees_it(host):
    failure = await connect_once(destination(9, host=host, private_networks=()))
    assert isinstance(failure, Failure)
    assert (failure.cls, failure.sent) == (FailureClass.BLOCKED_ADDRESS, False)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "017700000001"])
async def test_other_spellings_of_addresses_are_refused_even_where_loopback_is_allowed(host):
    assert await connect_once(destination(9, host=host)) == unsent(FailureClass.BLOCKED_ADDRESS, "not_an_address")


async def test_a_name_that_resolves_to_loopback_is_refused_and_nothing_connects():
    async with WireEndpoint() as endpoint:
        sender = endpoint.sender(Names(["127.0.0.1"]), host="hooks.example", private_networks=())
        assert await sender.connect() == unsent(FailureClass.BLOCKED_ADDRESS, "loopback")
        assert endpoint.connections == endpoint.stats.connections_opened == 0


async def test_one_bad_address_among_good_ones_refuses_all():
    async with WireEndpoint() as endpoint:
        sender = endpoint.sender(Names(["127.0.0.1", "10.0.0.1"]), host="hooks.example")
        assert await sender.connect() == unsent(FailureClass.BLOCKED_ADDRESS, "private")
        assert endpoint.connections == 0


async def test_a_name_is_called_at_the_addresses_that_were_checked():
    async with WireEndpoint() as endpoint:
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        sender = endpoint.sender(names, host="hooks.example")
        for _ in range(2):
            connection = await sender.connect()
            assert await connection.exchange(*request()) == Answer(204)
        assert names.asked == 1  # the second lookup, which would be refused, is not made within the cache's time


async def test_concurrent_connects_share_one_lookup_and_its_refusal():
    async with WireEndpoint() as endpoint:
        names = Names(["10.0.0.1"])
        sender = endpoint.sender(names, host="hooks.example")
        results = await asyncio.gather(*[sender.connect() for _ in range(5)])
        assert results == [unsent(FailureClass.BLOCKED_ADDRESS, "private")] * 5
        assert endpoint.connections == 0


async def test_the_real_resolver_is_guarded_too():
    failure = await connect_once(destination(9, host="localhost", private_networks=()))
    assert failure == unsent(FailureClass.BLOCKED_ADDRESS, "loopback")


# ------------------------------------------------------------------------------------------------- failures


async def test_a_name_that_does_not_resolve():
    names = Names(socket.gaierror(socket.EAI_NONAME, "not known"))
    assert await connect_once(destination(9, host="nowhere.example"), names) == unsent(FailureClass.CONNECTION, "dns")


async def test_a_name_that_no_dns_could_hold():
    failure = await connect_once(destination(9, host="x" * 64 + ".example"))
    assert failure == unsent(FailureClass.CONNECTION, "dns")


async def test_a_refused_connection():
    with socket.socket() as taken:  # bound but not listening: connecting is refused
        taken.bind(("127.0.0.1", 0))
        failure = await connect_once(destination(taken.getsockname()[1]))
    assert failure == unsent(FailureClass.CONNECTION, "connect_refused")


async def test_connecting_is_bounded_by_the_destinations_timeout():
    with socket.socket() as silent:  # accepts at the TCP level, never speaks TLS
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        failure = await connect_once(destination(silent.getsockname()[1], tls=True, timeout_ms=150))
    assert failure == unsent(FailureClass.TIMEOUT, "connect")


async def test_a_closed_sender_opens_nothing():
    async with WireEndpoint() as endpoint:
        sender = endpoint.sender()
        await sender.close()
        assert await sender.connect() == unsent(FailureClass.CONNECTION, "sender_closed")
        assert endpoint.connections == 0


async def test_closing_closes_the_resolver():
    names = Names(["127.0.0.1"])
    await connect_once(destination(9, host="hooks.example"), names)
    assert names.closed


async def test_a_cancelled_connect_leaves_nothing_behind():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        sender = HttpSender(destination(silent.getsockname()[1], tls=True), LaneStats())
        connecting = asyncio.ensure_future(sender.connect())
        peer, _ = await asyncio.to_thread(silent.accept)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        peer.settimeout(5)
        await asyncio.to_thread(_until_closed, peer)
        peer.close()
        await sender.close()


def _until_closed(peer: socket.socket) -> None:
    try:
        while peer.recv(65_536):
            pass
    except ConnectionResetError:
        pass


# ------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    return context


async def test_a_certificate_nobody_vouches_for_is_refused(server_tls):
    async with WireEndpoint(tls=server_tls) as endpoint:
        failure = await endpoint.sender(tls=True).connect()
        assert failure == unsent(FailureClass.TLS, "certificate_self_signed")
        assert endpoint.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_ca_file_vouches_for_it(server_tls, certificate, host):
    async with WireEndpoint(tls=server_tls) as endpoint:
        connection = await endpoint.connect(tls=True, ca_file=str(certificate.certificate), host=host)
        for _ in range(2):
            assert await connection.exchange(*request()) == Answer(204)
        assert endpoint.connections == 1


async def test_a_certificate_for_another_name_is_refused(server_tls, certificate):
    async with WireEndpoint(tls=server_tls) as endpoint:
        sender = endpoint.sender(
            Names(["127.0.0.1"]), tls=True, ca_file=str(certificate.certificate), host="hooks.example"
        )
        assert await sender.connect() == unsent(FailureClass.TLS, "certificate_wrong_host")


async def test_a_receiver_that_speaks_no_tls(certificate):
    async with WireEndpoint(greeting=b"HTTP/1.1 400 Bad Request\r\n\r\n") as endpoint:
        failure = await endpoint.sender(tls=True, ca_file=str(certificate.certificate)).connect()
        assert failure == unsent(FailureClass.TLS, "handshake")


async def test_a_receiver_that_wants_a_client_certificate(server_tls, certificate):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.load_verify_locations(certificate.certificate)
    async with WireEndpoint(tls=server_tls) as endpoint:
        connection = await endpoint.sender(tls=True, ca_file=str(certificate.certificate)).connect()
        if not isinstance(connection, Failure):  # TLS 1.3: the refusal comes after the client's handshake
            connection = await connection.exchange(*request())
        assert isinstance(connection, Failure)
        assert connection.cls in (FailureClass.TLS, FailureClass.CONNECTION)
        assert endpoint.requests == []


@pytest.mark.parametrize("content", [None, "no certificate in here"])
def test_an_unreadable_ca_file_is_a_configuration_error(tmp_path, content):
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    with pytest.raises(ConfigError, match=r"destinations/crm\.yaml: tls\.ca: cannot be read"):
        HttpSender(destination(443, tls=True, ca_file=str(ca_file)), LaneStats())
