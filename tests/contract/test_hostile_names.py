"""Names that resolve to what they should not, and to several addresses of which one is dead."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from pipeline.adapters.http import sender as sender_module
from pipeline.model import Answer, Failure, FailureClass
from tests.contract.endpoint import Names, WireEndpoint, ok, request
from tests.contract.lane import LaneTo


def blocked(reason: str) -> Failure:
    return Failure(FailureClass.BLOCKED_ADDRESS, sent=False, detail=reason)


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["127.0.0.1"], "loopback"),
        (["::1"], "loopback"),
        (["8.8.8.8", "127.0.0.1"], "loopback"),
        (["127.0.0.1", "8.8.8.8"], "loopback"),
        (["2600::1", "10.0.0.1"], "private"),
        (["169.254.169.254"], "link_local"),
        (["fd00:ec2::254"], "private"),
        (["::ffff:127.0.0.1"], "loopback"),
        (["::ffff:169.254.169.254"], "link_local"),
        (["64:ff9b::7f00:1"], "loopback"),
        (["64:ff9b::a9fe:a9fe"], "link_local"),
        (["2002:7f00:1::"], "tunnelled"),
        (["0.0.0.0"], "unspecified"),
        (["::"], "unspecified"),
    ],
)
async def test_a_name_of_refused_addresses_is_retried_and_never_called(addresses, reason):
    async with WireEndpoint() as endpoint:
        limits = {"host": "hooks.example", "private_networks": ()}
        async with LaneTo(endpoint, resolver=Names(addresses), **limits) as lane:
            assert (await lane.deliver("first"))[:2] == ("later", "blocked_address")
            assert lane.results == [blocked(reason)]
        assert endpoint.connections == 0


async def test_a_name_that_resolves_differently_the_second_time_stays_where_it_was_and_then_is_refused(monkeypatch):
    monkeypatch.setattr(sender_module, "DNS_CACHE_S", 0.3)
    async with WireEndpoint([ok(b"", "Connection: close")]) as endpoint, WireEndpoint(host="127.0.0.253") as inner:
        names = Names(["127.0.0.1"], ["127.0.0.253"])
        sender = endpoint.sender(names, host="hooks.example", private_networks=("127.0.0.1/32",))
        for _ in range(3):
            connection = await sender.connect()
            assert await connection.exchange(*request()) == Answer(200)
        assert names.asked == 1
        deadline_s = time.monotonic() + 10
        while names.asked == 1 and time.monotonic() < deadline_s:
            opened = await sender.connect()
            if not isinstance(opened, Failure):
                opened.close()
            await asyncio.sleep(0.02)
        assert opened == blocked("loopback")
        assert inner.connections == 0


async def test_ipv6_destinations_are_called_as_addresses_and_as_names():
    async with WireEndpoint(host="::1") as endpoint:
        for changes in ({"host": "::1"}, {"host": "[::1]"}, {"host": "hooks.example", "resolver": Names(["::1"])}):
            connection = await endpoint.connect(private_networks=("::1/128",), **changes)
            assert await connection.exchange(*request()) == Answer(204)
        assert endpoint.connections == 3
        assert await endpoint.sender(private_networks=()).connect() == blocked("loopback")


async def test_a_dead_address_of_two_costs_no_timeout():
    """The first swallows what it is sent; happy eyeballs (RFC 8305) go on to the second."""
    async with WireEndpoint() as endpoint:
        with swallowing(endpoint.port):
            names = Names(["127.0.0.252", "127.0.0.1"])
            async with LaneTo(endpoint, resolver=names, host="hooks.example", timeout_ms=5_000) as lane:
                started_s = time.monotonic()
                assert await lane.deliver("first") == ("delivered", "", "")
                assert time.monotonic() - started_s < 3
        assert endpoint.connections == 1


async def test_an_address_that_swallows_everything_ends_at_the_deadline():
    async with WireEndpoint() as endpoint:
        with swallowing(endpoint.port):
            limits = {"host": "127.0.0.252", "timeout_ms": 300}
            async with LaneTo(endpoint, **limits) as lane:
                started_s = time.monotonic()
                assert (await lane.deliver("first"))[:2] == ("later", "timeout")
                assert time.monotonic() - started_s < 2
                [failure] = lane.results
                assert isinstance(failure, Failure)
                assert not failure.sent


@contextlib.contextmanager
def swallowing(port: int):
    """127.0.0.252 with its queue of connections full: further ones get no answer at all."""
    with contextlib.ExitStack() as kept:
        full = kept.enter_context(socket.socket())
        full.bind(("127.0.0.252", port))
        full.listen(0)
        for _ in range(4):
            each = kept.enter_context(socket.socket())
            each.setblocking(False)
            each.connect_ex(("127.0.0.252", port))
        yield
