"""What is particular to aiohttp: responses that are raised, streamed, or compressed on their way in."""

from __future__ import annotations

import asyncio
import contextlib
import gzip

import aiohttp
import pytest
from aiohttp import web

from pipeline.receiver import Receiver, standard_webhooks
from pipeline.receiver.aiohttp import WEBHOOK, middleware
from tests.support import requests

BOUND = 10_000


@contextlib.asynccontextmanager
async def serving(handler, **options):
    """Serve one handler; yields the function that sends it one attempt and returns the status."""
    receiver = Receiver(standard_webhooks([requests.secret(1)]), body_bytes_max=BOUND, **options)
    app = web.Application(middlewares=[middleware(receiver)])
    app.router.add_post("/hook/{shop}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:

        async def post(body=requests.BODY, delivery_id="d-1", sent=None, **headers):
            url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/ulm?x=1"
            signed = requests.signed(body, delivery_id=delivery_id) | headers
            async with session.post(
                url, data=body if sent is None else sent, headers=signed, allow_redirects=False
            ) as response:
                await response.read()
                return response.status

        try:
            yield post
        finally:
            await runner.cleanup()


async def test_the_handler_gets_its_request_as_without_the_middleware():
    async def handler(request):
        assert (request.match_info["shop"], request.query["x"]) == ("ulm", "1")
        assert await request.json() == request[WEBHOOK].json() == {"customer": "c-1", "total": 5}
        return web.json_response({"ok": True}, status=201)

    async with serving(handler) as post:
        assert await post() == 201


@pytest.mark.parametrize(
    ("raised", "statuses"),
    [(web.HTTPCreated, [201, 200]), (web.HTTPConflict, [409, 409]), (web.HTTPFound, [302, 302])],
)
async def test_a_response_that_is_raised_counts_like_one_that_is_returned(raised, statuses):
    calls = []

    async def handler(_request):
        calls.append(1)
        raise raised(location="/x") if raised is web.HTTPFound else raised

    async with serving(handler) as post:
        assert [await post() for _ in range(2)] == statuses
    assert len(calls) == statuses.count(statuses[0])


async def test_a_streamed_response_works():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        await response.write_eof()
        return response

    async with serving(handler) as post:
        assert [await post(), await post()] == [200, 200]


async def test_a_handler_stopped_in_the_middle_of_its_answer_does_not_answer_twice():
    started = asyncio.Event()

    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a")
        started.set()
        await asyncio.Event().wait()

    async with serving(handler, handle_s_max=0.2) as post:
        with pytest.raises(aiohttp.ClientPayloadError):
            await post()
        assert started.is_set()


async def test_a_compressed_body_is_bounded_after_decompression():
    async def handler(_request):
        return web.Response(status=204)

    bomb = gzip.compress(b" " * 20_000_000)
    assert len(bomb) > BOUND
    small = gzip.compress(b" " * 1_000_000)
    assert len(small) < BOUND
    async with serving(handler) as post:
        assert await post(sent=gzip.compress(requests.BODY), **{"Content-Encoding": "gzip"}) == 204
        assert await post(sent=small, **{"Content-Encoding": "gzip"}) == 413
        assert await post(sent=b"no gzip at all, but declared", **{"Content-Encoding": "gzip"}) == 400


async def test_a_missing_route_is_still_checked():
    async def handler(_request):
        return web.Response()

    async with serving(handler, open_paths=["/health"]) as post:
        assert await post(delivery_id="d-2", **{"webhook-signature": "v1,"}) == 401
