"""Receives webhooks the way real systems do: late, sometimes unavailable, sometimes refusing; and counts what it saw.

For tests, the demo and the bench. Chance is seeded: 503 and resets are drawn for each attempt in order of arrival,
while 422 depends on the delivery ID alone, so that retries of a delivery get the same answer. In a process of its own:

    python -m pipeline.testing.receiver --latency 20ms --unavailable 5% --reset 1% --reject 0.5% --snapshot seen.json

prints its URL as the first line; SIGUSR1 takes it down (connections are refused), SIGUSR2 brings it up again on the
same port, SIGTERM writes the snapshot and ends it. It ends with its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
import uuid
from collections import Counter, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop
from aiohttp import web

from pipeline.config.units import share
from pipeline.testing.cheap import BACKLOG, delay_ms, parent_gone

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping, Sequence

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http import RawRequestMessage
    from aiohttp.streams import StreamReader

STOP_S: Final = 1.0
"""How long a stop waits for requests under way before it closes their connections."""
START_S: Final = 10.0
"""How long `in_thread` waits for its receiver to listen."""
BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest request body taken; a larger one is answered 413."""
TOLERANCE_S: Final = 300
"""How far a signature's timestamp may be off (Standard Webhooks recommends five minutes)."""
_UUID_TEXT: Final = 36
_RST: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends a reset


@dataclass(slots=True)
class Behaviour:
    """How a receiver answers; may be changed while it runs. Shares are 0..1."""

    latency_ms: int = 0
    unavailable: float = 0.0  # of attempts: 503
    reset: float = 0.0  # of attempts: the connection is reset
    reject: float = 0.0  # of delivery IDs: 422, at every attempt
    unauthorised: bool = False  # 401 to everything
    retry_after: str = ""  # header of every 503
    status: int = 204  # of everything else
    answers: Mapping[str, tuple[int, bytes]] = field(default_factory=dict)  # status and body by path, without query


@dataclass(slots=True)
class Seen:
    """One request as it came in; the last `keep` of them are kept, in that order. `status` 0 is a reset; Unix times."""

    delivery_id: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    at_s: float = 0.0  # of the answer
    came_s: float = 0.0  # of the end of its body


class Receiver:
    """An HTTP server on the loop that starts it. Keeps two small numbers per delivery ID (about 200 bytes in all).

    `secrets` are Standard Webhooks secrets (`whsec_…`, base64); with any, a request that none of them signed is counted
    and answered 400. `keep` bounds the requests kept whole, in `seen`.
    """

    def __init__(
        self,
        behaviour: Behaviour | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        secrets: Sequence[str] = (),
        keep: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behaviour = behaviour if behaviour is not None else Behaviour()
        self.seen: deque[Seen] = deque(maxlen=keep)
        self._host = host
        self._port = port
        self._tls = tls
        self._dice = random.Random(seed)  # noqa: S311 - chance of a test, to be repeated
        self._keys = tuple(base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets)
        self._keep = keep
        self._server: web.Server | None = None
        self._listener: asyncio.Server | None = None
        self._attempts: dict[bytes | str, int] = {}
        self._accepted: dict[bytes | str, int] = {}
        self._statuses: Counter[int] = Counter()
        self._resets = 0
        self._without_id = 0
        self._bad_signatures = 0

    # ------------------------------------------------------------------------------------------ life

    @property
    def url(self) -> str:
        """Where it listens, without a path; the port is known once it has started."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        self._server = web.Server(self._answer, request_factory=_request, access_log=None)
        await self.up()

    async def up(self) -> None:
        """Listen again on the same port; idempotent."""
        if self._listener is None and self._server is not None:
            self._listener = await asyncio.get_running_loop().create_server(
                self._server, self._host, self._port, backlog=BACKLOG, ssl=self._tls, reuse_address=True
            )
            self._port = self._listener.sockets[0].getsockname()[1]

    async def down(self) -> None:
        """Refuse new connections and cut those that are open; idempotent."""
        if self._listener is not None and self._server is not None:
            self._listener.close()
            self._listener = None
            self._abort_all(self._server)
            await asyncio.sleep(0)  # lets the loop close the listening socket

    async def stop(self) -> None:
        """End; idempotent. What was counted stays."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._server is not None:
            server, self._server = self._server, None
            server.pre_shutdown()  # idle connections need no waiting for
            await server.shutdown(STOP_S)
            for _ in range(2):  # one that was accepted as the listener closed is made on a later turn of the loop
                await asyncio.sleep(0)
                self._abort_all(server)

    @staticmethod
    def _abort_all(server: web.Server) -> None:
        for connection in tuple(server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    # ---------------------------------------------------------------------------------------- counts

    def snapshot(self) -> dict[str, Any]:
        """Return what was seen so far, ready for JSON. `ids` maps delivery ID to [attempts, 2xx answers]."""
        accepted = dict(self._accepted)
        return {
            "url": self.url,
            "requests": sum(self._attempts.copy().values()) + self._without_id,
            "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
            "resets": self._resets,
            "without_id": self._without_id,
            "bad_signatures": self._bad_signatures,
            "ids": {_text(key): [count, accepted.get(key, 0)] for key, count in self._attempts.copy().items()},
        }

    def deliveries(self) -> int:
        """Return how many distinct delivery IDs were seen."""
        return len(self._attempts)

    def accepted(self) -> int:
        """Return how many distinct delivery IDs got a 2xx."""
        return len(self._accepted)

    # --------------------------------------------------------------------------------------- answers

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        delivery_id = request.headers.get("webhook-id", "")
        key = _key(delivery_id)
        if delivery_id:
            self._attempts[key] = self._attempts.get(key, 0) + 1
        else:
            self._without_id += 1
        chance = self._dice.random()  # drawn at arrival: the order of answers does not matter
        body = await request.read()
        seen = self._note(request, delivery_id, body) if self._keep else None
        behaviour = self.behaviour
        if behaviour.latency_ms:
            await asyncio.sleep(behaviour.latency_ms / 1000)
        if chance < behaviour.reset and not behaviour.unauthorised:
            self._resets += 1
            _reset(request.transport)
            return web.Response(status=500)  # goes nowhere
        status = self._status(request, delivery_id, body, chance)
        self._statuses[status] += 1
        if seen is not None:
            seen.status, seen.at_s = status, time.time()
        if 200 <= status < 300 and delivery_id:  # noqa: PLR2004
            self._accepted[key] = self._accepted.get(key, 0) + 1
        response = web.Response(status=status, body=behaviour.answers.get(request.path, (0, None))[1])
        if status == 503 and behaviour.retry_after:  # noqa: PLR2004
            response.headers["Retry-After"] = behaviour.retry_after
        return response

    def _status(self, request: web.BaseRequest, delivery_id: str, body: bytes, chance: float) -> int:
        behaviour = self.behaviour
        if behaviour.unauthorised:
            return 401
        if self._keys and not signed(request.headers, delivery_id, body, self._keys, time.time()):
            self._bad_signatures += 1
            return 400
        if chance < behaviour.reset + behaviour.unavailable:
            return 503
        if behaviour.reject and rejects(delivery_id, behaviour.reject):
            return 422
        return behaviour.answers.get(request.path, (behaviour.status, b""))[0]

    def _note(self, request: web.BaseRequest, delivery_id: str, body: bytes) -> Seen:
        seen = Seen(delivery_id, request.method, request.path_qs, dict(request.headers), body, came_s=time.time())
        self.seen.append(seen)
        return seen


def rejects(delivery_id: str, reject: float) -> bool:
    """Whether a delivery ID is among the share of those rejected: by its hash, so always the same ones."""
    digest = hashlib.blake2b(delivery_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") < reject * (1 << 64)


def signed(headers: Any, delivery_id: str, body: bytes, keys: Sequence[bytes], now_s: float) -> bool:
    """Whether one of the keys signed this request (Standard Webhooks 1.0, symmetric signatures `v1,`)."""
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(int(timestamp) - now_s) > TOLERANCE_S:
        return False
    content = f"{delivery_id}.{timestamp}.".encode() + body
    wanted = [b"v1," + base64.b64encode(hmac.digest(key, content, "sha256")) for key in keys]
    offered = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(one, other) for one in wanted for other in offered)


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """Make requests as aiohttp does, only with a larger bound for bodies."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_BYTES_MAX)


def _key(delivery_id: str) -> bytes | str:
    """Return 16 bytes for a UUID: half the memory of its text."""
    if len(delivery_id) == _UUID_TEXT:
        try:
            return bytes.fromhex(delivery_id.replace("-", ""))
        except ValueError:
            pass
    return delivery_id


def _text(key: bytes | str) -> str:
    return key if isinstance(key, str) else str(uuid.UUID(bytes=key))


def _reset(transport: asyncio.Transport | None) -> None:
    if transport is not None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        transport.abort()


# --------------------------------------------------------------------------------- in a thread, in a process


@contextmanager
def in_thread(receiver: Receiver) -> Iterator[str]:
    """Run a receiver on a loop of its own in a thread, and yield its URL. Blocks until it listens, and until it ends.

    Raises RuntimeError if it does not listen within START_S.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="receiver", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(receiver.start(), loop).result(START_S)
        yield receiver.url
    finally:
        asyncio.run_coroutine_threadsafe(receiver.stop(), loop).result(START_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S)
        loop.close()


async def serve(receiver: Receiver, snapshot: Path | None, *, outlive_parent: bool) -> None:
    """Start, print the URL, and answer until SIGTERM, SIGINT or the parent's end; then write the snapshot."""
    loop = asyncio.get_running_loop()
    await receiver.start()
    over = asyncio.ensure_future(asyncio.Event().wait() if outlive_parent else parent_gone())
    switching: set[asyncio.Task[None]] = set()

    def switch(signum: int) -> None:
        task = loop.create_task(receiver.down() if signum == signal.SIGUSR1 else receiver.up())
        switching.add(task)
        task.add_done_callback(switching.discard)

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, over.cancel)
    for signum in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(signum, switch, signum)
    sys.stdout.write(receiver.url + "\n")
    sys.stdout.flush()
    await asyncio.wait([over])
    await receiver.stop()
    if snapshot is not None:
        draft = snapshot.with_name(snapshot.name + ".part")
        draft.write_text(json.dumps(receiver.snapshot()))
        draft.replace(snapshot)  # whole or not at all


def main() -> None:
    """Parse the arguments and serve."""
    summary = (__doc__ or "").split("\n", maxsplit=1)[0]
    parser = argparse.ArgumentParser(prog="python -m pipeline.testing.receiver", description=summary)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--latency", type=delay_ms, default=0, help="time before each answer, as 20ms")
    parser.add_argument("--unavailable", type=share, default=0.0, help="share of attempts answered 503, as 5%%")
    parser.add_argument("--reset", type=share, default=0.0, help="share of attempts whose connection is reset")
    parser.add_argument("--reject", type=share, default=0.0, help="share of delivery IDs answered 422")
    parser.add_argument("--retry-after", default="", help="Retry-After header of every 503: seconds or an HTTP date")
    parser.add_argument("--unauthorised", action="store_true", help="answer 401 to everything")
    parser.add_argument("--seed", type=int, default=0, help="of the chances")
    parser.add_argument("--secret-env", action="append", default=[], help="variable with a secret to verify (whsec_…)")
    parser.add_argument("--snapshot", type=Path, help="file for the counts, written at the end")
    parser.add_argument("--outlive-parent", action="store_true", help="go on when the process that started this ends")
    arguments = parser.parse_args()
    behaviour = Behaviour(
        arguments.latency, arguments.unavailable, arguments.reset, arguments.reject, arguments.unauthorised,
        arguments.retry_after,
    )  # fmt: skip
    secrets = [os.environ[name] for name in arguments.secret_env]
    receiver = Receiver(behaviour, host=arguments.host, port=arguments.port, seed=arguments.seed, secrets=secrets)
    uvloop.run(serve(receiver, arguments.snapshot, outlive_parent=arguments.outlive_parent))


if __name__ == "__main__":
    main()
