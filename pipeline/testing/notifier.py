"""A notifier that keeps what it is told, and a receiver of webhooks as chats have them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeNotifier:
    """Keeps what it is told. Implements ports.Notifier; `refuses` says that a message cannot be sent."""

    def __init__(self, *, refuses: bool = False, room: int = 1_000) -> None:
        self.told: list[tuple[str, str, str, bool]] = []
        """Alert, title, body, and whether all is well."""
        self.refuses = refuses
        self.room = room
        self.closed = False

    def send(self, alert: str, title: str, body: str, done: Callable[[bool], None], *, well: bool) -> bool:
        """See ports.Notifier."""
        if self.closed or self.room <= 0:
            return False
        if not self.refuses:
            self.told.append((alert, title, body, well))
        done(not self.refuses)
        return True

    def close(self) -> None:
        """See ports.Notifier."""
        self.closed = True


class ChatReceiver:
    """A real HTTP server on loopback that takes webhooks of chats: a context manager, in threads of its own.

    While `open` is cleared it takes requests and answers none.
    """

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        """Path and JSON body of each request."""
        self.status = 200
        self.open = threading.Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.open.wait(10)
                receiver.received.append((self.path, json.loads(body)))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
