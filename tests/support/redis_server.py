"""A real Redis of the tests' own, without disk, on a free port."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from tests.support.children import Child
from tests.support.parts import PartMissingError, tool, unavailable
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S = 20.0


@contextlib.contextmanager
def running(folder: Path) -> Iterator[RedisServer]:
    """Start it, stop it at the end; skips the test without the program (Debian's package `redis-server`)."""
    try:
        program = tool("redis-server")
    except PartMissingError as error:
        unavailable("Redis", str(error))
    server = RedisServer(program, folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class RedisServer:
    """One server, always on the same port. It starts empty each time."""

    def __init__(self, program: str, folder: Path) -> None:
        self.port = free_port()
        self._argv = [
            *(program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction"),
        ]
        self._log = folder / "redis.log"
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """For `redis.asyncio.Redis.from_url`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Block until it answers."""
        self._child = Child(self._argv, self._log)
        self._child.wait_ready(self._answers, START_TIMEOUT_S)

    def stop(self) -> None:
        """End it; idempotent."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
        return False
