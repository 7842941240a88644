"""One endpoint: checks a request, makes sure that its delivery is handled once, and says what to answer.

What follows a claim, and why:

- the handler succeeded: the ID is remembered before the answer goes out, so that no repeat finds it unknown;
- it failed, raised, was cancelled or took too long: the ID is free again, and the next attempt runs;
- a repeat comes meanwhile: 409 with Retry-After, so that the sender asks again instead of counting it as delivered;
- the memory cannot be asked: 503, since handling twice is worse than handling later. If only the last word "done"
  cannot be stored, the answer stays a success: the sender would otherwise send again what was handled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pipeline.receiver.check import Check, Headers
from pipeline.receiver.context import entered, log_fields
from pipeline.receiver.schema import compiled
from pipeline.receiver.seen import Claim, InMemory, Seen
from pipeline.receiver.values import HANDLER_TIMEOUT, REPEAT, RUNNING, STORE_AWAY, Accepted, Refused, Reply

if TYPE_CHECKING:
    from pipeline.receiver.signatures import Verify

BODY_BYTES_MAX: Final = 1_048_576
BODY_S_MAX: Final = 10.0
HANDLE_S_MAX: Final = 60.0
STORE_S_MAX: Final = 2.0
"""One question to the memory of deliveries."""

T = TypeVar("T")
Done = Callable[[], Awaitable[None]]
"""To be awaited by a handler's wrapper when the handler has succeeded, before its answer goes out."""

_ENDED: Final = {
    Claim.DONE: ("repeat", REPEAT),
    Claim.RUNNING: (RUNNING.reason.value, RUNNING.reply()),
    Claim.FULL: (STORE_AWAY.reason.value, STORE_AWAY.reply()),
}
_log = logging.getLogger("hookline.receiver")


class Receiver:
    """An endpoint's rules; give it to `pipeline.receiver.asgi.Middleware` or `pipeline.receiver.aiohttp.middleware`.

    `verify` proves who sent a request: `standard_webhooks(keys)`, `github(secrets)` or `stripe(secrets)`. `schema` is
    the JSON Schema a body must keep; None takes any body. `seen` remembers deliveries: `InMemory()` by default,
    `InRedis(client)` for several processes, `NoMemory()` to handle repeats too. `id_header` carries the delivery ID. A
    request to one of `open_paths`, compared exactly, is left alone: no other is.

    Bounds: `body_bytes_max` (after decompression, where the framework decompresses), `body_s_max` for the body to
    arrive, `handle_s_max` for the handler, which is cancelled then. Raises ValueError for a schema that is none.
    """

    def __init__(
        self,
        verify: Verify,
        *,
        schema: Mapping[str, Any] | bool | None = None,
        seen: Seen | None = None,
        id_header: str = "webhook-id",
        open_paths: Collection[str] = (),
        body_bytes_max: int = BODY_BYTES_MAX,
        body_s_max: float = BODY_S_MAX,
        handle_s_max: float = HANDLE_S_MAX,
    ) -> None:
        self._seen = InMemory() if seen is None else seen
        self._check = Check(
            verify,
            validate=None if schema is None else compiled(schema),
            id_header=id_header,
            needs_id=self._seen.needs_id,
        )
        self._open = frozenset(open_paths)
        self.body_bytes_max = body_bytes_max
        self.body_s_max = body_s_max
        self._handle_s_max = handle_s_max
        self._writes: set[asyncio.Task[None]] = set()  # the loop itself holds tasks weakly

    def guards(self, path: str) -> bool:
        """Whether requests to this path are checked."""
        return path not in self._open

    def check(self, headers: Headers, body: bytes, now_s: float | None = None) -> Accepted | Refused:
        """Return the accepted request or why not; see `Check`. `now_s` is Unix time, by default the clock's."""
        return self._check(headers, body, time.time() if now_s is None else now_s)

    def refuse(self, refused: Refused) -> Reply:
        """Log a refusal, without a word of the request, and return what to answer."""
        broken = ", ".join(f"{each.rule} at {each.path or '/'}" for each in refused.violations)
        _log.warning("Refused a request: %s%s", refused.reason.value, f" ({broken})" if broken else "")
        return refused.reply()

    async def once(self, accepted: Accepted, handle: Callable[[Done], Awaitable[T]]) -> T | Reply:
        """Run `handle(done)` unless its delivery was handled or is being handled; then return what to answer instead.

        `handle` awaits `done()` when it has succeeded. Raises what `handle` raises.
        """
        claim = await self._claim(accepted)
        if claim is not Claim.OURS:
            word, reply = _ENDED[claim]
            _log.info("Not handled: %s", word, extra=log_fields(accepted))
            return reply
        turn = _Turn(self._seen, accepted.delivery_id, self._settle)
        try:
            with entered(accepted):
                async with asyncio.timeout(self._handle_s_max) as deadline:
                    turn.deadline = deadline
                    return await handle(turn.done)
        except TimeoutError:
            if turn.deadline is None or not turn.deadline.expired():
                raise  # the handler's own
            _log.error("Stopped a handler after %g s", self._handle_s_max, extra=log_fields(accepted))
            return HANDLER_TIMEOUT.reply()
        finally:
            await turn.end()

    async def _claim(self, accepted: Accepted) -> Claim:
        try:
            async with asyncio.timeout(STORE_S_MAX):
                return await self._seen.claim(accepted.delivery_id)
        except Exception as error:  # noqa: BLE001 - any store's; its message may quote the ID's key
            _log.error("The memory of deliveries fails: %s", type(error).__name__, extra=log_fields(accepted))
            return Claim.FULL

    async def _settle(self, write: Coroutine[Any, Any, None]) -> None:
        """Carry a write out to its end even if the request is cancelled meanwhile; a failure is logged."""

        async def bounded() -> None:
            try:
                async with asyncio.timeout(STORE_S_MAX):
                    await write
            except Exception as error:  # noqa: BLE001 - as above
                _log.error("The memory of deliveries was not told: %s", type(error).__name__)

        task = asyncio.ensure_future(bounded())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        await asyncio.shield(task)


class _Turn:
    """The time between a claim and its end; keeps the lease alive."""

    def __init__(
        self, seen: Seen, delivery_id: str, settle: Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
    ) -> None:
        self.deadline: asyncio.Timeout | None = None
        self._seen = seen
        self._id = delivery_id
        self._settle = settle
        self._settled = False
        self._keeper = None if seen.renew_s is None else asyncio.ensure_future(self._keep(seen.renew_s))

    async def done(self) -> None:
        """Remember the delivery. What the handler does after its answer is no longer timed."""
        if self._settled:
            return
        self._settled = True
        if self.deadline is not None and not self.deadline.expired():
            self.deadline.reschedule(None)
        await self._settle(self._seen.done(self._id))

    async def end(self) -> None:
        """Free the delivery unless it is done."""
        if self._keeper is not None:
            self._keeper.cancel()
        if not self._settled:
            self._settled = True
            await self._settle(self._seen.free(self._id))

    async def _keep(self, every_s: float) -> None:
        while not self._settled:
            await asyncio.sleep(every_s)
            try:
                async with asyncio.timeout(STORE_S_MAX):
                    kept = await self._seen.renew(self._id)
            except Exception as error:  # noqa: BLE001 - as above; the next try may be in time
                _log.error("A claim could not be renewed: %s", type(error).__name__)
                continue
            if not (kept or self._settled):
                _log.error("A claim was lost while its handler ran: the delivery may be handled twice")
                return
