"""What the reference services of the examples share: one aiohttp application a system, on a free port each.

A system checks every request as `pipeline.receiver` does it for anybody's endpoint: signature, body, once per delivery
ID. It keeps a line for whatever it handled, for the demo to show (`GET /_heard`), and can be given trouble on purpose
(`POST /_trouble`, JSON: `kind` is `down` or `slow`, `for_s` how long).
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from pipeline.receiver import InMemory, NoMemory, Receiver, standard_webhooks
from pipeline.receiver.aiohttp import WEBHOOK, middleware

Handler = Callable[[dict[str, Any], web.Request], tuple[str, dict[str, Any] | None]]
"""The delivery's JSON, and its request, to a line for `GET /_heard` and the answer's JSON (None: 204 without any)."""

SLOW_S = 5.0
LINES_MAX = 10_000


class System:
    """One system: its endpoints by method and path.

    `remembers`: deliveries are handled once, and a repeat gets a bare 2xx. A service whose answer matters must answer a
    repeat as it did the first time, so it does not: it finds its first answer by its own key.
    """

    def __init__(self, name: str, handlers: Mapping[tuple[str, str], Handler], *, remembers: bool = True) -> None:
        self.name = name
        self.heard: list[str] = []
        self._until_s = 0.0
        self._kind = ""
        receiver = Receiver(
            standard_webhooks(os.environ["SIGNING_SECRETS"].split()),
            seen=InMemory() if remembers else NoMemory(),
            open_paths=["/_heard", "/_trouble"],
        )
        self.app = web.Application(middlewares=[self._troubled, middleware(receiver)])
        for (method, path), handler in handlers.items():
            self.app.router.add_route(method, path, self._endpoint(handler))
        self.app.router.add_get("/_heard", self._tell)
        self.app.router.add_post("/_trouble", self._trouble)

    def _endpoint(self, handler: Handler) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> web.Response:
            line, content = handler(request[WEBHOOK].json(), request)
            if len(self.heard) < LINES_MAX:
                self.heard.append(line)
            return web.Response(status=204) if content is None else web.json_response(content)

        return answer

    async def _tell(self, _request: web.Request) -> web.Response:
        return web.json_response(self.heard)

    async def _trouble(self, request: web.Request) -> web.Response:
        asked = await request.json()
        self._kind, self._until_s = asked["kind"], time.monotonic() + float(asked["for_s"])
        return web.Response(status=204)

    @property
    def _troubled(self) -> Any:
        @web.middleware
        async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
            if not request.path.startswith("/_") and time.monotonic() < self._until_s:
                if self._kind == "down":
                    return web.Response(status=503)
                await asyncio.sleep(SLOW_S)
            return await handler(request)

        return guard


def serve(*systems: System) -> None:
    """Serve them until SIGTERM, or until whoever started this closes its standard input.

    Prints one line of JSON first: the base URL of each.
    """
    asyncio.run(_serve(systems))


async def _serve(systems: tuple[System, ...]) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_reader(sys.stdin.fileno(), lambda: sys.stdin.buffer.read1() or over.set())
    runners, urls = [], {}
    for system in systems:
        runner = web.AppRunner(system.app, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        urls[system.name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        runners.append(runner)
    print(json.dumps(urls), flush=True)  # noqa: T201 - this is how the addresses are told
    await over.wait()
    for runner in runners:
        await runner.cleanup()
