"""Waits for a condition with a bound, so that no test sleeps for a guessed time."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

POLL_S = 0.02


def wait_until(condition: Callable[[], T], timeout_s: float = 20.0, what: str = "the condition") -> T:
    """Block until `condition()` is truthy and return its value; AssertionError after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s (last value: {value!r:.500})")
        time.sleep(POLL_S)


async def eventually(
    condition: Callable[[], T | Awaitable[T]], timeout_s: float = 20.0, what: str = "the condition"
) -> T:
    """As `wait_until`, leaving the event loop free between looks; `condition` may be a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        value: T = await found if inspect.isawaitable(found) else found
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s (last value: {value!r:.500})")
        await asyncio.sleep(POLL_S)
