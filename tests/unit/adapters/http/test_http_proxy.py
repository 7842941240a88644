"""What a proxy is written, to the byte."""

from __future__ import annotations

import pytest

from pipeline.adapters.http.addresses import GuardedResolver
from pipeline.adapters.http.proxy import TunnelConnector
from pipeline.model import Proxy
from tests.contract.endpoint import Names


@pytest.mark.parametrize(
    ("address", "authorization", "written"),
    [
        ("203.0.113.9", "", b"CONNECT 203.0.113.9:443 HTTP/1.1\r\nHost: 203.0.113.9:443\r\n\r\n"),
        ("2600::1", "", b"CONNECT [2600::1]:443 HTTP/1.1\r\nHost: [2600::1]:443\r\n\r\n"),
        (
            "203.0.113.9",
            "Basic eA==",
            b"CONNECT 203.0.113.9:443 HTTP/1.1\r\nHost: 203.0.113.9:443\r\nProxy-Authorization: Basic eA==\r\n\r\n",
        ),
    ],
)
async def test_the_request_for_a_tunnel(address, authorization, written):
    proxy = Proxy("proxy.example", 3128, authorization)
    connector = TunnelConnector(proxy, GuardedResolver(Names([address]), ()), 10)
    assert connector._request(address, 443) == written
    await connector.close()
