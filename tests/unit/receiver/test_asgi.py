"""What is particular to ASGI: messages in unusual order, other scopes, handlers that stream or go on afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from pipeline.receiver import Receiver, standard_webhooks
from pipeline.receiver.asgi import Middleware
from tests.support import requests

START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"", "more_body": False}


class Server:
    """One connection's side of ASGI: what the client sends, and what it was sent."""

    def __init__(self, *coming):
        self.coming, self.sent = list(coming), []

    async def receive(self):
        return self.coming.pop(0) if self.coming else {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return next((message["status"] for message in self.sent if message["type"] == "http.response.start"), None)


def scope(delivery_id="d-1", **changes):
    headers = [(name.encode(), text.encode()) for name, text in requests.signed(delivery_id=delivery_id).items()]
    return {"type": "http", "path": "/hook", "headers": headers, "state": {"pool": "kept"}, **changes}


def body(*parts):
    return [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]


def guarded(app, **options):
    return Middleware(app, Receiver(standard_webhooks([requests.secret(1)]), **options))


async def good(_scope, _receive, send):
    await send(START)
    await send(END)


async def serve(app, *coming, **changes):
    server = Server(*(coming or body(requests.BODY)))
    await app(scope(**changes), server.receive, server.send)
    return server.status


async def test_a_body_in_parts_is_given_whole_and_then_the_clients_leaving():
    async def app(inner, receive, send):
        assert await receive() == {"type": "http.request", "body": requests.BODY, "more_body": False}
        assert await receive() == {"type": "http.disconnect"}
        assert inner["state"]["pool"] == "kept"
        assert inner["state"]["webhook"].body == requests.BODY
        await good(inner, receive, send)

    outer = scope()
    server = Server(*body(requests.BODY[:3], b"", requests.BODY[3:]))
    await guarded(app)(outer, server.receive, server.send)
    assert server.status == 200
    assert outer["state"] == {"pool": "kept"}  # a state that requests share is not written to


async def test_a_server_without_state_is_enough():
    async def app(inner, receive, send):
        assert list(inner["state"]) == ["webhook"]
        await good(inner, receive, send)

    bare = scope()
    del bare["state"]
    server = Server(*body(requests.BODY))
    await guarded(app)(bare, server.receive, server.send)
    assert server.status == 200


async def test_who_left_is_not_answered():
    server = Server()
    await guarded(good)(scope(), server.receive, server.send)
    assert server.sent == []


async def test_lifespan_passes_and_websockets_are_closed():
    reached = []

    async def app(inner, _receive, _send):
        reached.append(inner["type"])

    server = Server()
    await guarded(app)({"type": "lifespan"}, server.receive, server.send)
    await guarded(app)({"type": "websocket", "path": "/hook"}, server.receive, server.send)
    await guarded(app, open_paths=["/live"])({"type": "websocket", "path": "/live"}, server.receive, server.send)
    assert (reached, server.sent) == (["lifespan", "websocket"], [{"type": "websocket.close", "code": 1008}])


async def test_it_counts_as_handled_before_the_answer_goes_out():
    app = guarded(good)
    repeat = []

    async def send(message):
        if message == END and not repeat:
            repeat.append(None)
            repeat[0] = await serve(app)

    await app(scope(), Server(*body(requests.BODY)).receive, send)
    assert repeat == [200]  # 409 while the first is being handled, or if it was forgotten


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [START],
        [START, {**END, "more_body": True}],
        [{**START, "status": 500}, END],
        [{**START, "status": 304}, END],
    ],
)
async def test_an_answer_that_is_no_complete_success_frees_the_delivery(messages):
    calls = []

    async def app(_scope, _receive, send):
        calls.append(1)
        for message in messages:
            await send(message)

    once = guarded(app)
    await serve(once)
    await serve(once)
    assert len(calls) == 2


@pytest.mark.parametrize(
    "last", [END, {"type": "http.response.body"}, {"type": "http.response.pathsend", "path": "/tmp/x"}]
)
async def test_the_last_part_of_a_success_settles_it_whatever_follows(last):
    calls = []

    async def app(_scope, _receive, send):
        calls.append(1)
        await send(START)
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send(last)
        raise LookupError("of a background task")

    once = guarded(app)
    with pytest.raises(LookupError):
        await serve(once)
    assert await serve(once) == 200
    assert len(calls) == 1


async def test_a_handler_stopped_in_the_middle_of_its_answer_does_not_answer_twice():
    async def app(_scope, _receive, send):
        await send(START)
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="in the middle"):
        await serve(guarded(app, handle_s_max=0.02))


async def test_a_handler_stopped_before_its_answer_is_answered_for():
    async def app(_scope, _receive, _send):
        await asyncio.Event().wait()

    assert await serve(guarded(app, handle_s_max=0.02)) == 503


@pytest.mark.parametrize("length", ["", "x", "-1", "\u0665"])
async def test_a_length_that_is_none_does_not_count(length):
    with_length = scope()
    with_length["headers"].append((b"content-length", length.encode("latin-1", "replace")))
    server = Server(*body(requests.BODY))
    await guarded(good)(with_length, server.receive, server.send)
    assert server.status == 200


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("pipeline.receiver", ["aiohttp", "redis"]),
        ("pipeline.receiver.asgi", ["aiohttp", "redis", "starlette"]),
        ("pipeline.receiver.aiohttp", ["redis", "starlette"]),
    ],
)
def test_importing_it_needs_neither_worker_nor_kafka_nor_cel_nor_another_framework(module, absent):
    code = f"import sys, {module}; print(*sorted(sys.modules), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert module in loaded
    parts = {".".join(name.split(".")[1:3]) for name in loaded if name.startswith("pipeline.")}
    assert {part for part in parts if part.startswith("core.")} == {"core.tracecontext"}
    assert not {part.split(".")[0] for part in parts} & {"run", "adapters", "app", "cli", "config", "ports", "testing"}
    heavy = ["confluent_kafka", "cel_expr_python", "fastavro", "pydantic", "ruamel", "uvloop", "structlog"]
    assert not loaded & {*heavy, "opentelemetry.sdk", *absent}
