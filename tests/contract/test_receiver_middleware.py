"""What both middlewares promise, over real sockets: aiohttp's server, and a plain ASGI application under uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass, field

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from pipeline.receiver import Receiver, current, standard_webhooks
from pipeline.receiver.aiohttp import WEBHOOK, middleware
from pipeline.receiver.asgi import Middleware
from tests.support import requests
from tests.support.conditions import eventually

SECRET = requests.secret(1)
SCHEMA = {"required": ["customer"], "properties": {"customer": {"type": "string"}, "total": {"type": "integer"}}}
BOUND = 2_000


@dataclass
class Handler:
    """What stands behind the middleware: what it saw, and what it is to answer."""

    seen: list = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # of the coming calls; then 204
    waiting: asyncio.Event | None = None

    async def work(self, accepted, body):
        assert current() is accepted
        assert accepted.body == body
        self.seen.append(accepted)
        if self.waiting is not None:
            await self.waiting.wait()
        status = self.answers.pop(0) if self.answers else 204
        if status == 0:
            raise LookupError("of the handler")
        return status


@contextlib.asynccontextmanager
async def on_aiohttp(receiver, handler):
    async def hook(request):
        return web.Response(status=await handler.work(request[WEBHOOK], await request.read()))

    async def health(_request):
        return web.Response(status=200)

    app = web.Application(middlewares=[middleware(receiver)], client_max_size=100)  # the receiver's own bound counts
    app.router.add_route("*", "/hook", hook)
    app.router.add_get("/health", health)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def on_asgi(receiver, handler):
    async def app(scope, receive, send):
        status = 200
        if scope["path"] != "/health":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message["body"], message["more_body"]
            status = await handler.work(scope["state"]["webhook"], body)
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Middleware(app, receiver), log_config=None, lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    await eventually(lambda: server.started, what="uvicorn's start")
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 20)


@contextlib.asynccontextmanager
async def running(kind, **options):
    """(handler, post, port): a running endpoint and the function that sends it one attempt."""
    verify = standard_webhooks([SECRET])
    receiver = Receiver(verify, schema=SCHEMA, open_paths=["/health"], body_bytes_max=BOUND, **options)
    handler = Handler()
    async with kind(receiver, handler) as port, aiohttp.ClientSession() as session:

        async def post(body=requests.BODY, headers=None, path="/hook", method="POST"):
            given = requests.signed(body) if headers is None else headers
            async with session.request(
                method, f"http://127.0.0.1:{port}{path}", data=body, headers=given, allow_redirects=False
            ) as response:
                return response.status, response.headers, await response.read()

        yield handler, post, port


@pytest.fixture(params=[on_aiohttp, on_asgi])
def kind(request):
    return request.param


@pytest.fixture
async def endpoint(kind):
    async with running(kind) as started:
        yield started


async def test_a_good_request_reaches_the_handler_with_its_body(endpoint):
    handler, post, _ = endpoint
    headers = requests.signed()
    assert (await post(headers=headers))[0] == 204
    [accepted] = handler.seen
    assert (accepted.delivery_id, accepted.event_id) == (headers["webhook-id"], requests.EVENT_ID)
    assert accepted.trace.trace_id == requests.TRACE_ID
    assert (await post(method="PUT"))[0] == 204


async def test_what_is_not_proved_never_reaches_it(endpoint):
    handler, post, _ = endpoint
    good = requests.signed()
    for status, headers, body in (
        (401, {}, requests.BODY),
        (401, good, requests.BODY + b" "),
        (401, good | {"webhook-id": "another"}, requests.BODY),
        (401, requests.signed(requests.BODY, requests.secret(2)), requests.BODY),
        (401, requests.signed(now_s=1_700_000_000), requests.BODY),
        (422, requests.signed(b"{}"), b"{}"),
        (422, requests.signed(b"<html>"), b"<html>"),
    ):
        told = await post(body, headers)
        assert (told[0], json.loads(told[2])["status"]) == (status, status)
        assert told[1]["content-type"] == "application/problem+json"
    assert (await post(headers={}, path="/elsewhere"))[0] == 401
    assert (await post(headers={}, path="/health/"))[0] == 401
    assert not handler.seen


async def test_open_paths_are_left_alone(endpoint):
    _, post, _ = endpoint
    assert (await post(b"", {}, "/health", "GET"))[0] == 200


async def test_a_repeat_is_answered_and_not_handled(endpoint):
    handler, post, _ = endpoint
    delivery = requests.delivery()
    assert [(await post(headers=requests.signed(delivery_id=delivery)))[0] for _ in range(3)] == [204, 200, 200]
    assert len(handler.seen) == 1


@pytest.mark.parametrize("failure", [500, 503, 410, 422, 302, 0])
async def test_a_failure_frees_the_delivery(endpoint, failure):
    handler, post, _ = endpoint
    handler.answers = [failure, 200]
    delivery = requests.delivery()
    statuses = [(await post(headers=requests.signed(delivery_id=delivery)))[0] for _ in range(3)]
    assert statuses == [failure or 500, 200, 200]
    assert len(handler.seen) == 2


async def test_a_repeat_while_the_first_is_handled_comes_again_later(endpoint):
    handler, post, _ = endpoint
    handler.waiting = asyncio.Event()
    delivery = requests.delivery()
    first = asyncio.create_task(post(headers=requests.signed(delivery_id=delivery)))
    await eventually(lambda: handler.seen)
    status, headers, _ = await post(headers=requests.signed(delivery_id=delivery))
    assert (status, headers["retry-after"]) == (409, "5")
    handler.waiting.set()
    assert (await first)[0] == 204
    assert (await post(headers=requests.signed(delivery_id=delivery)))[0] == 200
    assert len(handler.seen) == 1


async def test_a_body_up_to_the_bound_is_taken_and_no_more(endpoint):
    handler, post, _ = endpoint
    just = b'{"customer":"' + b"x" * (BOUND - 15) + b'"}'
    assert len(just) == BOUND
    assert (await post(just))[0] == 204
    assert (await post(just + b" "))[0] == 413

    async def chunks():
        for _ in range(3):
            yield b" " * (BOUND // 2)

    assert (await post(chunks(), requests.signed()))[0] == 413
    assert len(handler.seen) == 1


async def raw(port, *parts):
    """Send bytes, then read the status line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return int((await asyncio.wait_for(reader.readline(), 20)).split()[1])
    finally:
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(kind):
    async with running(kind, body_s_max=0.5) as (handler, _, port):
        headers = "".join(f"{name}: {content}\r\n" for name, content in requests.signed().items())
        head = f"POST /hook HTTP/1.1\r\nhost: x\r\n{headers}content-length: {len(requests.BODY)}\r\n\r\n"
        assert await raw(port, head.encode(), requests.BODY[:-1]) == 408
        assert not handler.seen


async def test_a_handler_that_hangs_is_stopped_and_the_next_attempt_runs(kind):
    async with running(kind, handle_s_max=0.5) as (handler, post, _):
        handler.waiting = asyncio.Event()
        headers = requests.signed()
        status, told, _ = await post(headers=headers)
        assert (status, told["retry-after"]) == (503, "5")
        handler.waiting = None
        assert (await post(headers=headers))[0] == 204


async def test_a_declared_length_past_the_bound_is_refused_before_it_comes(endpoint):
    _, _, port = endpoint
    head = f"POST /hook HTTP/1.1\r\nhost: x\r\ncontent-length: {10**12}\r\n\r\n"
    assert await raw(port, head.encode()) == 413


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(endpoint):
    handler, post, port = endpoint
    delivery = requests.delivery()
    signed = requests.signed(delivery_id=delivery)
    headers = "".join(f"{name}: {content}\r\n" for name, content in signed.items())
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST /hook HTTP/1.1\r\nhost: x\r\n{headers}content-length: 27\r\n\r\n".encode() + requests.BODY[:5])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await post(headers=signed))[0] == 204
    assert len(handler.seen) == 1
