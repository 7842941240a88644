"""app/health: probes are answered over a real socket, within bounds, whatever is sent."""

from __future__ import annotations

import asyncio
import json

import pytest

from pipeline.app import health
from pipeline.app.health import CONNECTIONS_MAX, LINE_BYTES_MAX, HealthServer
from pipeline.errors import ConfigError
from pipeline.ports import Halt
from tests.unit.run.conftest import until


class Scene:
    def __init__(self) -> None:
        self.halts: list[Halt] | None = []
        self.server = HealthServer(lambda: self.halts)
        self.port = 0

    async def ask(self, request: bytes) -> tuple[int, dict[str, object]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        try:
            answer = await reader.read()
        except ConnectionResetError:
            answer = b""
        writer.close()
        if not answer:
            return 0, {}
        head, _, body = answer.partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head or request.startswith(b"HEAD")
        return int(head.split(b" ")[1]), json.loads(body) if body else {}


@pytest.fixture
async def scene():
    made = Scene()
    made.port = await made.server.start("127.0.0.1", 0)
    yield made
    await made.server.close()
    await made.server.close()


async def test_what_stands_still_is_said_with_its_reason(scene) -> None:
    assert await scene.ask(b"GET /health HTTP/1.1\r\n\r\n") == (200, {"state": "well", "halts": []})
    scene.halts = [Halt("intake shop.orders", 5, "50 undecodable of the last 612 positions", 9)]
    told = {"what": "intake shop.orders", "since_ms": 5, "why": "50 undecodable of the last 612 positions",
            "tried_again_ms": 9}  # fmt: skip
    assert await scene.ask(b"GET /health?x=1 HTTP/1.1\r\n\r\n") == (503, {"state": "halted", "halts": [told]})
    assert await scene.ask(b"HEAD /health HTTP/1.1\r\n\r\n") == (503, {})
    assert await scene.ask(b"GET /live HTTP/1.1\r\n\r\n") == (200, {"live": True}), "no reason to restart it"
    scene.halts = None
    assert await scene.ask(b"GET /health HTTP/1.1\r\n\r\n") == (503, {"state": "starting", "halts": []})


@pytest.mark.parametrize(
    ("request_", "status"),
    [(b"GET / HTTP/1.1\r\n\r\n", 404), (b"POST /live HTTP/1.1\r\n\r\n", 405), (b"\xff\xfe\r\n", 405), (b"\r\n", 405),
     (b"GET /live\n", 200), (b"x" * (LINE_BYTES_MAX + 10) + b"\r\n", 0)],
)  # fmt: skip
async def test_anything_else_is_refused(scene, request_, status) -> None:
    assert (await scene.ask(request_))[0] == status
    assert (await scene.ask(b"GET /live HTTP/1.1\r\n\r\n"))[0] == 200


async def test_who_sends_nothing_is_let_go_and_keeps_nobody_out_for_long(scene, monkeypatch) -> None:
    monkeypatch.setattr(health, "REQUEST_S", 0.2)
    silent = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(CONNECTIONS_MAX)]
    await until(lambda: len(scene.server.open) == CONNECTIONS_MAX)
    assert (await scene.ask(b"GET /live HTTP/1.1\r\n\r\n"))[0] == 0, "one more is closed unanswered"
    await until(lambda: not scene.server.open)
    assert (await scene.ask(b"GET /live HTTP/1.1\r\n\r\n"))[0] == 200
    for _, writer in silent:
        writer.close()


async def test_a_port_that_is_taken_is_a_mistake_with_a_remedy(scene) -> None:
    with pytest.raises(ConfigError, match="choose another port"):
        await HealthServer(lambda: None).start("127.0.0.1", scene.port)
