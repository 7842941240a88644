"""Middleware for ASGI on asyncio: every request is checked before the application, and handled once.

For FastAPI, Starlette, Litestar, Quart and whatever else speaks ASGI:

    app.add_middleware(Middleware, receiver=Receiver(standard_webhooks([secret])))

The handler finds the accepted request in `request.state.webhook` (`scope["state"]["webhook"]`), and reads the body as
always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.receiver.values import SLOW_BODY, TOO_LARGE, Refused, Reply

if TYPE_CHECKING:
    from pipeline.receiver.receive import Done, Receiver

WEBHOOK: Final = "webhook"
"""Key of the accepted request in `scope["state"]`."""

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_POLICY_VIOLATION: Final = 1008  # RFC 6455, section 7.4.1
_SUCCESS: Final = range(200, 300)


class Middleware:
    """An ASGI application around another. A handler has succeeded when it sends the last part of a 2xx answer.

    WebSockets are closed, on guarded paths: nothing on them would be checked.
    """

    def __init__(self, app: App, receiver: Receiver) -> None:
        self._app = app
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request, by the ASGI specification 3.0."""
        if scope["type"] not in ("http", "websocket") or not self._receiver.guards(scope["path"]):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.decode("latin-1"), content.decode("latin-1")) for name, content in scope["headers"]]
        body = await _read(headers, receive, self._receiver)
        if body is None:
            return
        accepted = body if isinstance(body, Refused) else self._receiver.check(headers, body)
        if isinstance(accepted, Refused):
            await _reply(self._receiver.refuse(accepted), send)
            return
        inner = {**scope, "state": {**scope.get("state", {}), WEBHOOK: accepted}}
        started = False

        async def handle(done: Done) -> None:
            status = 0

            async def watched(message: Message) -> None:
                nonlocal started, status
                if message["type"] == "http.response.start":
                    started, status = True, message["status"]
                elif status in _SUCCESS and _is_last(message):
                    await done()
                await send(message)

            await self._app(inner, _again(accepted.body, receive), watched)

        reply = await self._receiver.once(accepted, handle)
        if reply is None:
            return
        if started:
            raise RuntimeError("the handler was stopped in the middle of its answer")
        await _reply(reply, send)


async def _read(headers: list[tuple[str, str]], receive: Receive, receiver: Receiver) -> bytes | Refused | None:
    most = receiver.body_bytes_max
    declared = next((content for name, content in headers if name == "content-length"), "")
    if declared.isdecimal() and int(declared) > most:
        return TOO_LARGE
    body = bytearray()
    try:
        async with asyncio.timeout(receiver.body_s_max):
            while True:
                message = await receive()
                if message["type"] != "http.request":  # http.disconnect: nobody waits for the answer
                    return None
                body += message.get("body", b"")
                if len(body) > most:
                    return TOO_LARGE
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return SLOW_BODY


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read once more, then whatever else comes: the client's leaving."""
    given = False

    async def received() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return received


def _is_last(message: Message) -> bool:
    if message["type"] == "http.response.body":
        return not message.get("more_body", False)
    return bool(message["type"] == "http.response.pathsend")  # the server sends a file and that is all


async def _reply(reply: Reply, send: Send) -> None:
    headers = [(name.encode("ascii"), content.encode("ascii")) for name, content in reply.headers]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
