"""A seat: one open connection of a lane and the one task that uses it, attempt after attempt."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.model import Answer, Attempt, Broken, Delivery, Destination, Failure, FailureClass

if TYPE_CHECKING:
    from pipeline.ports import Authentication, Connection, LaneStats, Sender

IDLE_S: Final = 15.0
"""A connection unused for so long is closed."""

HISTORY_MAX: Final = 32
"""Attempts kept per delivery and hop for its outcome record."""
UNAUTHORISED: Final = 401
CLOSED_BEFORE_ANSWER: Final = "closed_before_answer"
"""A receiver that closes an idle connection just as a request goes out; see RFC 9112, 9.3.1."""


class Work(Protocol):
    """What a seat asks of its lane."""

    destination: Destination
    authentication: Authentication | None

    def take(self) -> Delivery | None:
        """Return the next admitted delivery, or None."""

    def idle(self, seat: Seat) -> None:
        """Note that the seat waits to be woken."""

    def begin(self, delivery: Delivery) -> str:
        """Count an attempt; return its span ID, or "" if it may not be sent any more."""

    def head(self, delivery: Delivery, span_id: str, lines: bytes = b"") -> bytes:
        """Build the request head."""

    def judge(self, delivery: Delivery, span_id: str, result: Answer | Failure) -> None:
        """Act on the result of the attempt."""

    def owned(self, delivery: Delivery) -> bool:
        """Whether it may still be sent; False frees what it was admitted to."""

    def gone(self, seat: Seat, error: BaseException | None) -> None:
        """Forget the seat."""


class Seat:
    """Takes deliveries from its lane until idle for IDLE_S. Owner of its connection."""

    __slots__ = ("_aborted", "_authenticating", "_connection", "_lane", "_loop", "_sender", "_span_id", "_waiter",
                 "delivery", "task", "until_s")  # fmt: skip

    def __init__(self, lane: Work, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        self.delivery: Delivery | None = None
        self._lane = lane
        self._sender = sender
        self._loop = loop
        self._connection: Connection | None = None
        self.until_s = inf
        """When to be swept (the loop's time): the deadline of the attempt under way, or the end of idleness."""
        self._span_id = ""
        self._aborted: FailureClass | None = None
        self._authenticating = False
        self._waiter: asyncio.Future[bool] | None = None
        self.task = loop.create_task(self._work())

    def wake(self) -> None:
        """Let an idle seat look for work."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def abort(self, cls: FailureClass) -> None:
        """End the attempt under way, connecting included, as a failure of that class."""
        self.until_s = inf
        if self._connection is not None and not self._authenticating:
            self._connection.abort(cls)
        elif self.delivery is not None:
            self._aborted = cls
            self.task.cancel()

    def give_up(self, delivery: Delivery, now_ns: int) -> None:
        """End the attempt of a delivery whose budget is spent; it is remembered, for the delivery ends before it."""
        remember(delivery, self._span_id, now_ns, 0, FailureClass.TIMEOUT)
        self.abort(FailureClass.TIMEOUT)

    def sweep(self, now_s: float) -> None:
        """Abort an overdue attempt; end a seat that was idle for IDLE_S."""
        if self.until_s >= now_s:
            return
        if self.delivery is not None:
            self.abort(FailureClass.TIMEOUT)
        elif self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(False)

    async def _work(self) -> None:
        error: BaseException | None = None
        try:
            try:
                await self._deliver()
            except asyncio.CancelledError:
                if self._aborted is None or self.delivery is None:
                    raise
                detail = "not_authenticated" if self._authenticating else "not_connected"
                failure = Failure(self._aborted, sent=False, detail=detail)
                self._lane.judge(self.delivery, self._span_id, failure)
                self.delivery = None
        except asyncio.CancelledError:
            raise
        except BaseException as unexpected:  # noqa: BLE001 - our bug: it must stop the worker, uncommitted
            error = unexpected
        finally:
            if self._connection is not None:
                self._connection.close()
            self._lane.gone(self, error)

    async def _deliver(self) -> None:
        while True:
            delivery = self._lane.take()
            if delivery is not None:
                self.delivery = delivery
                await self._attempt(delivery)
                self.delivery = None
            elif not await self._woken():
                return

    async def _woken(self) -> bool:
        self.until_s = self._loop.time() + IDLE_S
        self._waiter = self._loop.create_future()
        self._lane.idle(self)
        go_on = await self._waiter
        self._waiter = None
        return go_on

    async def _attempt(self, delivery: Delivery) -> None:
        lane = self._lane
        self.until_s = self._loop.time() + lane.destination.timeout_ms / 1000
        self._span_id = span_id = lane.begin(delivery)
        if not span_id:
            return
        if lane.authentication is not None:
            await self._authenticated(delivery, span_id, lane.authentication)
            return
        connection = self._connection
        if connection is not None and connection.usable():
            result = await connection.exchange(lane.head(delivery, span_id), delivery.body, delivery.step.keep_bytes)
            if not _went_stale(result) or not lane.destination.drops_repeats:
                lane.judge(delivery, span_id, result)
                return
        opened = await self._opened()
        if isinstance(opened, Failure):
            lane.judge(delivery, span_id, opened)
            return
        if not lane.owned(delivery):
            return  # its partition went while connecting, or a gate closed
        head = lane.head(delivery, span_id)
        lane.judge(delivery, span_id, await opened.exchange(head, delivery.body, delivery.step.keep_bytes))

    async def _opened(self) -> Connection | Failure:
        """Open a connection instead of the one there is."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        opened = await self._sender.connect()
        if not isinstance(opened, Failure):
            self._connection = opened
        return opened

    async def _authenticated(self, delivery: Delivery, span_id: str, authentication: Authentication) -> None:
        """Make an attempt that has to wait for a token or a signature.

        Answered 401 once, it is made again at once if there is another token: only a second 401 is judged.
        """
        lane = self._lane
        for again in (True, False):
            self._authenticating = True
            lines = await authentication.lines(delivery.id, delivery.body)
            self._authenticating = False
            result = lines if isinstance(lines, Failure) else await self._exchanged(delivery, span_id, lines)
            if result is None:
                return
            if again and isinstance(lines, bytes) and isinstance(result, Answer) and result.status == UNAUTHORISED:
                self._authenticating = True
                renewed = await authentication.refused(lines)
                self._authenticating = False
                if renewed:
                    continue
            lane.judge(delivery, span_id, result)
            return

    async def _exchanged(self, delivery: Delivery, span_id: str, lines: bytes) -> Answer | Failure | None:
        """Write the request with these header lines; None if its partition went meanwhile, or a gate closed."""
        lane = self._lane
        connection = self._connection
        if connection is not None and connection.usable():
            if not lane.owned(delivery):
                return None
            head = lane.head(delivery, span_id, lines)
            result = await connection.exchange(head, delivery.body, delivery.step.keep_bytes)
            if not _went_stale(result) or not lane.destination.drops_repeats:
                return result
        opened = await self._opened()
        if isinstance(opened, Failure):
            return opened
        if not lane.owned(delivery):
            return None
        return await opened.exchange(lane.head(delivery, span_id, lines), delivery.body, delivery.step.keep_bytes)


def _went_stale(result: Answer | Failure) -> bool:
    """Whether a kept-alive connection was closed under the request: repeating it at once is safe with a delivery ID."""
    return isinstance(result, Failure) and result.detail == CLOSED_BEFORE_ANSWER


def keep_response(delivery: Delivery, result: Answer | Failure, stats: LaneStats) -> tuple[str, str]:
    """Keep the declared fields of the answer that took a delivery; return class and detail, both "" for a good one.

    What `on_status` calls delivered though it is no success promises no content: nothing of it is read.
    """
    read = delivery.step.response
    if read is None or not isinstance(result, Answer) or not 200 <= result.status < 300:  # noqa: PLR2004
        return "", ""
    kept = read(result)
    if not isinstance(kept, Broken):
        delivery.response = kept
        return "", ""
    cls = FailureClass.CONTRACT
    stats.failures[cls] = stats.failures.get(cls, 0) + 1
    return cls, kept.detail


def remember(delivery: Delivery, span_id: str, now_ns: int, status: int, cls: str) -> None:
    """Keep an attempt for the delivery's outcome record, up to HISTORY_MAX."""
    if delivery.history is None:
        delivery.history = []
    if len(delivery.history) < HISTORY_MAX:
        delivery.history.append(Attempt(delivery.attempts, span_id, delivery.last_ns, now_ns, status, cls))
