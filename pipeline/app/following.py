"""What a worker gives those that follow topics in threads of their own: its loop, its schemas, and time to read all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from pipeline.adapters.schemas import FETCH_S
from pipeline.ports import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pipeline.model import SchemaRef
    from pipeline.ports import Found, Schemas, Unknown

SAY_S: Final = 10.0
"""Between two lines on why a worker does not take up events yet."""
ANSWER_S: Final = 2 * FETCH_S
"""Longest wait of a follower's thread for a schema: the loop may be busy, and the registry slow."""


class Home:
    """The loop a worker lives on, as its followers' threads see it. Built on that loop."""

    def __init__(self, schemas: Schemas, fatal: Callable[[BaseException], None]) -> None:
        """`fatal` stops the worker."""
        self._schemas = schemas
        self._fatal = fatal
        self._loop = asyncio.get_running_loop()

    def fetch(self, ref: SchemaRef) -> Found | Unknown | Unreachable:
        """Find a schema for a thread, on the loop, where schemas are kept. Blocks for ANSWER_S at most."""
        asked = asyncio.run_coroutine_threadsafe(self._schemas.fetch(ref), self._loop)
        try:
            return asked.result(ANSWER_S)
        except TimeoutError:
            return Unreachable("the worker is too busy, or stops")

    def bug(self, error: BaseException) -> None:
        """Stop the worker over what a thread of its did; never raises."""
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._fatal, error)


async def until(whole: Awaitable[object], stopping: asyncio.Event, say: Callable[[], None]) -> None:
    """Return once `whole` has, or the worker is to stop; `say` is called every SAY_S meanwhile. Waits without bound."""
    read = asyncio.ensure_future(whole)
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        while not (read.done() or stopped.done()):
            done, _ = await asyncio.wait((read, stopped), timeout=SAY_S, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                say()
    finally:
        read.cancel()
        stopped.cancel()
