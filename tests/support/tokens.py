"""A token endpoint and a receiver that wants its tokens, both on real sockets of loopback."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Self

from aiohttp import web

from pipeline.model import BreakerPolicy, Destination

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

CANARY = "canary-5e1f"
"""Part of every secret here: it must turn up nowhere but in requests."""
REQUEST = (
    b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 29\r\n\r\n",
    b"grant_type=client_credentials",
)


def destination(port: int, **changes: object) -> Destination:
    """A destination on loopback, allowed to be there."""
    fields = {
        "name": "crm", "host": "127.0.0.1", "port": port, "tls": False, "private_networks": ("127.0.0.0/8",),
        "timeout_ms": 5_000, "concurrency": 64, "queue": 1_000, "rate_per_s": 0.0, "breaker": BreakerPolicy(),
        "response_bytes_max": 65_536, "drops_repeats": True,
    }  # fmt: skip
    return Destination(**(fields | changes))


class Server:
    """An HTTP server that keeps what it was sent. `answer` decides what it says."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self._tls = tls
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.bodies.append(await request.read())
        self.requests.append(request)
        return await self.answer(request)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Say what a plain receiver says."""
        return web.Response(status=204)


class TokenEndpoint(Server):
    """Issues one token after the other. `open` cleared makes it slow; `next_answer` replaces what it says."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.issued: list[str] = []
        self.life_s: float | str | None = 3_600
        self.open = asyncio.Event()
        self.open.set()
        self.next_answer: Callable[[], web.StreamResponse] | None = None
        self._number = itertools.count(1)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Issue a token."""
        await self.open.wait()
        if self.next_answer is not None:
            return self.next_answer()
        self.issued.append(f"{CANARY}-token-{next(self._number)}")
        content = {"access_token": self.issued[-1], "token_type": "Bearer", "expires_in": self.life_s}
        return web.json_response({key: each for key, each in content.items() if each is not None})


class Guarded(Server):
    """Answers 401 to whatever has none of the tokens that are good; counts those it took by delivery ID."""

    def __init__(self, good: Callable[[str], bool], tls: ssl.SSLContext | None = None) -> None:
        super().__init__(tls)
        self.good = good
        self.taken: list[str] = []
        self.refused: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Look at the token."""
        delivery = request.headers.get("webhook-id", "")
        if not self.good(request.headers.get("Authorization", "").removeprefix("Bearer ")):
            self.refused.append(delivery)
            return web.Response(status=401)
        self.taken.append(delivery)
        return web.Response(status=204)
