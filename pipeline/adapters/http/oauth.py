"""Gets access tokens with OAuth 2 client credentials (RFC 6749, section 4.4): one at a time, renewed ahead of its end.

The token endpoint is asked over a sender of its own, so that its address, TLS, time and body are bounded as those of
the destination are; redirects are not followed. Whatever goes wrong there is a Failure of the attempt that waits.
"""

from __future__ import annotations

import asyncio
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.core.verdict import retry_after_ms
from pipeline.model import Answer, Credentials, Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.ports import Sender

TOKEN_BODY_BYTES_MAX: Final = 65_536
TOKEN_CHARS_MAX: Final = 16_384
"""Longest access token; receivers' own bounds on a head are lower as a rule."""
AHEAD_SHARE: Final = 0.2
AHEAD_MAX_S: Final = 300.0
"""A token is renewed when this share of its life is left, but no longer than this before its end."""
LIFE_DEFAULT_S: Final = 3_600.0
LIFE_MAX_S: Final = 86_400.0
"""Life of a token whose endpoint does not say, and the longest that is believed; a 401 ends it earlier."""
RETRY_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
"""A token endpoint that failed is not asked again before the first, however many deliveries want it. Its Retry-After
may ask for more, but is not believed beyond the second."""

_OK: Final = 200
_TRANSIENT: Final = {408: FailureClass.TIMEOUT, 429: FailureClass.RATE_LIMITED}


class _Token:
    """An access token and its times, in monotonic seconds. Has no repr of its own: it is a secret."""

    __slots__ = ("due_s", "ends_s", "line")

    def __init__(self, token: str, now_s: float, life_s: float) -> None:
        self.line = f"Authorization: Bearer {token}\r\n".encode("ascii")
        self.due_s = now_s + life_s - min(life_s * AHEAD_SHARE, AHEAD_MAX_S)
        self.ends_s = now_s + life_s


class TokenSource:
    """The access token of one destination. All calls on the loop; one request to its endpoint at a time."""

    def __init__(
        self,
        destination: str,
        credentials: Credentials,
        sender: Sender,
        timeout_s: float,
        log: Callable[..., None],
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        """Prepare; asks for nothing yet. `credentials.token_request` is sent as it is when a token is needed."""
        self._now_s = now_s
        self._destination = destination
        self._credentials = credentials
        self._sender = sender
        self._timeout_s = timeout_s
        self._log = log
        self._token: _Token | None = None
        self._failure: Failure | None = None
        self._not_before_s = 0.0
        self._fetching: asyncio.Task[bytes | Failure] | None = None
        credentials.watch(self._replaced)

    async def line(self) -> bytes | Failure:
        """Return the Authorization line, with CRLF; waits for a token only while there is none that is valid.

        Waits for at most the destination's timeout, beginning with the request under way. Cancelling it leaves that
        request to the others who wait.
        """
        now_s = self._now_s()
        token = self._token
        if token is not None and now_s < token.ends_s:
            if now_s >= token.due_s and now_s >= self._not_before_s and self._fetching is None:
                self._fetch()  # ahead of its end: nobody waits
            return token.line
        if self._failure is not None and now_s < self._not_before_s:
            return self._failure
        return await self._fetched()

    async def renew(self, refused: bytes) -> bool:
        """Get another token than the one in the line that was refused with 401; return whether there is one."""
        token = self._token
        if token is not None and token.line == refused:
            if self._failure is not None and self._now_s() < self._not_before_s:
                return False
            await self._fetched()
        token = self._token
        return token is not None and token.line != refused

    async def close(self) -> None:
        """End a request under way and close the sender; idempotent."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._sender.close()

    def _replaced(self) -> None:
        """Renew soon with new credentials; until that has worked, the token got with the old ones is used."""
        self._failure = None
        self._not_before_s = 0.0
        if self._token is not None:
            self._token.due_s = 0.0

    async def _fetched(self) -> bytes | Failure:
        fetching = self._fetching or self._fetch()
        await asyncio.wait([fetching])  # unlike awaiting it, this may be cancelled without cancelling it
        return fetching.result()

    def _fetch(self) -> asyncio.Task[bytes | Failure]:
        fetching = self._fetching = asyncio.get_running_loop().create_task(self._ask())
        fetching.add_done_callback(self._ended)
        return fetching

    def _ended(self, fetching: asyncio.Task[bytes | Failure]) -> None:
        self._fetching = None
        if not fetching.cancelled() and (error := fetching.exception()) is not None:
            raise error  # a bug of ours: an exception in a callback of the loop stops the worker

    async def _ask(self) -> bytes | Failure:
        """Ask the endpoint; remember the token, or the failure."""
        result = await self._exchange(asyncio.get_running_loop())
        now_s = self._now_s()
        got = _read(result, now_s)
        if isinstance(got, Failure):
            self._not_before_s = now_s + max(RETRY_S, _floor_s(result))
            if got != self._failure:
                said = {"class": str(got.cls), "detail": got.detail}
                self._log("warning", "token_refused", destination=self._destination, **said)
            self._failure = got
            return got
        self._failure = None
        self._token = got
        return got.line

    async def _exchange(self, loop: asyncio.AbstractEventLoop) -> Answer | Failure:
        """Send the token request on a connection of its own; tokens are asked for too seldom to keep one."""
        until_s = loop.time() + self._timeout_s
        connection = await self._sender.connect()
        if isinstance(connection, Failure):
            return connection
        request = self._credentials.token_request
        assert request is not None
        deadline = loop.call_at(until_s, connection.abort, FailureClass.TIMEOUT)
        try:
            return await connection.exchange(*request, TOKEN_BODY_BYTES_MAX)
        finally:
            deadline.cancel()
            connection.close()


def _floor_s(result: Answer | Failure) -> float:
    if isinstance(result, Failure):
        return 0.0
    return retry_after_ms(result.retry_after, time_ns() // 1_000_000, int(RETRY_MAX_S * 1_000)) / 1_000


def _read(result: Answer | Failure, now_s: float) -> _Token | Failure:
    if isinstance(result, Answer) and result.status == _OK:
        return _token(result.body, now_s)
    return _trouble(result)


def _trouble(result: Answer | Failure) -> Failure:
    """Say what the endpoint's trouble means for the delivery, which was not sent in any case.

    A refusal (3xx, 4xx) is ours to mend: it holds. The rest passes by itself.
    """
    if isinstance(result, Failure):
        return Failure(result.cls, sent=False, detail=f"token_{result.detail}")
    detail = f"token_http_{result.status}"
    if result.status in _TRANSIENT:
        return Failure(_TRANSIENT[result.status], sent=False, detail=detail)
    if 300 <= result.status < 500:  # noqa: PLR2004 - RFC 9110, section 15
        return Failure(FailureClass.AUTH, sent=False, detail=detail, holds=True)
    cls = FailureClass.SERVER_ERROR if result.status >= 500 else FailureClass.AUTH  # noqa: PLR2004
    return Failure(cls, sent=False, detail=detail)


def _token(body: bytes, now_s: float) -> _Token | Failure:
    """Read a token response (RFC 6749, section 5.1)."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        return Failure(FailureClass.AUTH, sent=False, detail="token_not_json")
    token = answer.get("access_token")
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARS_MAX or not _visible(token):
        return Failure(FailureClass.AUTH, sent=False, detail="token_missing")
    kind = answer.get("token_type")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        return Failure(FailureClass.AUTH, sent=False, detail="token_type")
    return _Token(token, now_s, _life_s(answer.get("expires_in")))


def _visible(text: str) -> bool:
    """Whether a text is made of VCHAR alone (RFC 6749, appendix A.12)."""
    return text.isascii() and text.isprintable() and " " not in text


def _life_s(given: Any) -> float:
    """Read `expires_in`: seconds, by some endpoints as text."""
    if isinstance(given, str) and given.isascii() and given.isdigit():
        given = int(given[:12])
    if isinstance(given, bool) or not isinstance(given, (int, float)) or given <= 0:
        return LIFE_DEFAULT_S
    return min(float(given), LIFE_MAX_S)
