"""Performs HTTP exchanges on one open connection: one write, one bounded answer, nothing else touched in between.

It works on aiohttp's response protocol instead of ClientSession, which costs 68 µs more a delivery
(docs/decisions/0011-aiohttp-protocol.md). Every attribute of aiohttp used here is pinned by
tests/unit/adapters/http/test_http_internals.py.

Two rules keep a connection honest. Between exchanges it has no parser, so that whatever a receiver sends unasked stays
visible as unsolicited bytes, and the connection is not used again. And one that broke off in the middle of an exchange,
for whatever reason, is never used again either.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, EofStream

from pipeline.model import Answer, Failure, FailureClass

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.connector import Connection as Lease
    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

LIFETIME_S: Final = 300.0
"""A connection is retired after this long, so that DNS changes and rebalanced load balancers are followed."""
INTERIM_MAX: Final = 16
"""Interim (1xx) answers skipped in one exchange; a receiver that sends more is broken."""
READ_BUFFER_BYTES: Final = 65_536
"""Reading from the socket pauses at twice as many unread body bytes; one inflate step makes at most so many."""

_FINAL: Final = 200
_DELIVERED: Final = {status: Answer(status) for status in range(200, 300)}
_CLOSED_BEFORE_WRITE: Final = Failure(FailureClass.CONNECTION, sent=False, detail="closed_before_write")
_CLOSED_BEFORE_ANSWER: Final = Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer")
_CLOSED_IN_HEAD: Final = Failure(FailureClass.CONNECTION, sent=True, detail="closed_in_head")
_CLOSED_IN_BODY: Final = Failure(FailureClass.CONNECTION, sent=True, detail="closed_in_body")
_BAD_RESPONSE: Final = Failure(FailureClass.CONNECTION, sent=True, detail="bad_response")
_TLS_BROKEN: Final = Failure(FailureClass.TLS, sent=True, detail="broken")

_EXCHANGE_ERRORS: Final = (aiohttp.ClientError, HttpProcessingError, EofStream, OSError, RuntimeError)
"""RuntimeError is what a body's reader raises once the connection is gone ("Connection closed.")."""


class AnswerProtocol(ResponseHandler):
    """aiohttp's response protocol, with one hole closed: its own tells a body's reader nothing of a malformed chunk.

    The reader would wait for the rest of the body until its deadline.
    """

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Pass on to the body's reader what ends the connection before the body is complete."""
        payload = self._payload
        super().set_exception(exc, *cause)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(exc, *cause)


class HttpConnection:
    """One open connection, used by one seat at a time; implements `ports.Connection`. All calls on the loop.

    A receiver may close an idle connection just as a request goes out (RFC 9112, section 9.3.1). Nobody can tell then
    whether the request was taken: the exchange ends as `Failure(CONNECTION, sent=True, "closed_before_answer")`, and
    its caller must treat it as ambiguous. Not one byte of an answer came then. `sent` is False only where nothing was
    written.
    """

    __slots__ = ("_aborted", "_body_max", "_busy", "_closed", "_lease", "_loop", "_protocol", "_retire_at_s")

    def __init__(
        self,
        lease: Lease,
        loop: asyncio.AbstractEventLoop,
        response_bytes_max: int,
        closed: Callable[[HttpConnection], None],
    ) -> None:
        """Take over a fresh connection of aiohttp's; it never goes back to the pool. `close` calls `closed`."""
        protocol = lease.protocol
        assert protocol is not None
        self._lease = lease
        self._protocol: ResponseHandler = protocol
        self._loop = loop
        self._body_max = response_bytes_max
        self._closed = closed
        self._retire_at_s = loop.time() + LIFETIME_S
        self._busy = False
        self._aborted: FailureClass | None = None

    def usable(self) -> bool:
        """Whether a request may be written: connected, clean, no unsolicited bytes, younger than LIFETIME_S."""
        protocol = self._protocol
        return (
            not self._busy
            and not protocol.should_close
            and protocol.is_connected()
            and self._loop.time() < self._retire_at_s
        )

    async def exchange(self, head: bytes, body: bytes, keep_bytes: int = 0) -> Answer | Failure:
        """Write head and body in one write, read the whole answer. Never raises but CancelledError.

        Interim answers (1xx) are skipped. The answer's body is read to its end, so that the connection can serve the
        next request; its first `keep_bytes` are kept. Past `response_bytes_max` (after decompression) reading stops,
        the status still counts, and the connection is closed. A body that is malformed or breaks off is no answer,
        whatever its status said (RFC 9112, section 8). Time is not bounded here: the lane's sweep calls `abort`.
        """
        protocol = self._protocol
        transport = protocol.transport
        if transport is None or self._busy or protocol.should_close or transport.is_closing():
            return _CLOSED_BEFORE_WRITE
        self._busy = True
        protocol.set_response_params(
            skip_payload=head.startswith(b"HEAD "), read_until_eof=True, read_bufsize=READ_BUFFER_BYTES
        )
        transport.write(head + body)
        try:
            message, payload = await protocol.read()
            if message.code < _FINAL:
                message, payload = await self._final_answer()
            kept = bytearray() if keep_bytes else None
            complete = payload is EMPTY_PAYLOAD or await self._drain(payload, kept, keep_bytes)
        except _EXCHANGE_ERRORS as error:
            return self._failure(error)
        if complete and not transport.get_write_buffer_size():  # else it answered what it had not read: it may not
            protocol._parser = protocol._payload = None  # noqa: SLF001 - bytes from here on are unsolicited
            self._busy = False
        else:
            transport.abort()
        status = message.code
        if kept is None:
            return _DELIVERED.get(status) or Answer(status, message.headers.get("Retry-After", ""))
        cut = not complete or payload.total_bytes > keep_bytes
        return Answer(status, message.headers.get("Retry-After", ""), bytes(kept), cut)

    def abort(self, cls: FailureClass) -> None:
        """Make the exchange under way end now with that failure class; an idle connection is just closed."""
        if self._aborted is None:
            self._aborted = cls
        transport = self._protocol.transport
        if transport is not None:
            transport.abort()

    def told(self, name: str) -> Any:
        """Return what asyncio knows about the transport (`peername`, `ssl_object`), or None."""
        transport = self._protocol.transport
        return transport.get_extra_info(name) if transport is not None else None

    def close(self) -> None:
        """Close; idempotent."""
        self._lease.close()
        self._closed(self)

    async def _final_answer(self) -> tuple[RawResponseMessage, StreamReader]:
        """Read on until the answer that is not interim. Raises HttpProcessingError for 101 and too many others."""
        for _ in range(INTERIM_MAX):
            if self._protocol.upgraded:
                break
            message, payload = await self._protocol.read()
            if message.code >= _FINAL:
                return message, payload
        raise HttpProcessingError(message="no final answer")

    async def _drain(self, payload: StreamReader, kept: bytearray | None, keep_bytes: int) -> bool:
        """Read a body, and keep its beginning. Return True at its end, False beyond its bound."""
        while payload.total_bytes <= self._body_max:
            if payload.is_eof():
                if kept is not None:
                    self._keep(payload, kept, keep_bytes)
                if self._aborted is not None:
                    raise EofStream  # a body that lasts until the connection closes was cut off by us
                return True
            chunk = await payload.readany()
            if kept is not None:
                kept += chunk[: max(keep_bytes - len(kept), 0)]
        if kept is not None:
            self._keep(payload, kept, keep_bytes)
        return False

    def _keep(self, payload: StreamReader, kept: bytearray, keep_bytes: int) -> None:
        """Keep of what came in and was not read yet."""
        missing = keep_bytes - len(kept)
        if missing > 0:
            kept += payload.read_nowait(missing)

    def _failure(self, error: Exception) -> Failure:
        """Map what an exchange can raise after the write."""
        if self._aborted is not None:
            return Failure(self._aborted, sent=True, detail="aborted")
        if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
            return _TLS_BROKEN
        if isinstance(error, aiohttp.ServerDisconnectedError) and not isinstance(error.message, str):
            return _CLOSED_IN_HEAD  # the message is what there was of a head
        if isinstance(error, aiohttp.ServerDisconnectedError | OSError | EofStream):
            return _CLOSED_BEFORE_ANSWER
        if isinstance(error, aiohttp.ClientPayloadError) and self._protocol.transport is None:
            return _CLOSED_IN_BODY
        return _BAD_RESPONSE
