"""Middleware for aiohttp's server: every request is checked before its handler, and handled once.

    app = web.Application(middlewares=[middleware(Receiver(standard_webhooks([secret])))])

The handler finds the accepted request in `request[WEBHOOK]`, and reads the body as always.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from aiohttp import web

from pipeline.receiver.values import BROKEN_BODY, SLOW_BODY, TOO_LARGE, Accepted, Refused, Reply

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

    from pipeline.receiver.receive import Done, Receiver

WEBHOOK: Final = web.RequestKey("hookline_webhook", Accepted)


def middleware(receiver: Receiver) -> Middleware:
    """Return the middleware.

    A handler has succeeded when it returns or raises a response of 2xx; anything else frees the delivery for the next
    attempt. A response that it streams by itself is on its way before the delivery counts as handled.
    """

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not receiver.guards(request.path):
            return await handler(request)
        # A copy with our bound: the application's own (client_max_size) may be another.
        bounded = request.clone(client_max_size=receiver.body_bytes_max)
        body = await _read(bounded, receiver)
        accepted = body if isinstance(body, Refused) else receiver.check(request.headers.items(), body)
        if isinstance(accepted, Refused):
            return _response(receiver.refuse(accepted))
        bounded[WEBHOOK] = accepted

        async def handle(done: Done) -> web.StreamResponse:
            try:
                response = await handler(bounded)
            except web.HTTPSuccessful:
                await done()
                raise
            if web.HTTPOk.status_code <= response.status < web.HTTPMultipleChoices.status_code:
                await done()
            return response

        answered = await receiver.once(accepted, handle)
        if not isinstance(answered, Reply):
            return answered
        if bounded.writer.output_size:
            raise RuntimeError("the handler was stopped in the middle of its answer")
        return _response(answered)

    return guard


async def _read(request: web.Request, receiver: Receiver) -> bytes | Refused:
    if (request.content_length or 0) > receiver.body_bytes_max:
        return TOO_LARGE
    try:
        async with asyncio.timeout(receiver.body_s_max):
            return await request.read()
    except TimeoutError:
        return SLOW_BODY
    except web.HTTPRequestEntityTooLarge:
        return TOO_LARGE
    except web.RequestPayloadError:
        return BROKEN_BODY


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, headers=dict(reply.headers), body=reply.body)
