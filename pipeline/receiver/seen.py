"""Remembers which deliveries were handled, so that a repeat is answered and not handled again.

A delivery ID is claimed before the handler starts, counts as seen once the handler succeeded, and is free again if it
failed. While it is claimed nobody else gets it. In Redis a claim is a lease, renewed while the handler runs: if the
process dies, the claim ends by itself and the next attempt of the delivery runs.
"""

from __future__ import annotations

import secrets
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENTRIES_MAX: Final = 100_000
"""Delivery IDs held in memory, about 15 MB; past that the oldest are forgotten."""

AGE_S: Final = 3 * 86_400
"""How long an ID is remembered: longer than a sender goes on trying (with Hookline `retry.max_age`, a day by
default)."""

LEASE_S: Final = 30
"""How long a claim in Redis outlives the process that made it."""

PREFIX: Final = "hookline:seen:"

_DONE: Final = "done"
# Only who holds the claim may end or lengthen it: after a pause longer than the lease it may be another's.
_FREE: Final = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_RENEW: Final = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
)


class Claim(Enum):
    """What came of asking for a delivery ID."""

    OURS = auto()  # nobody handled it: go on, then say done or free
    RUNNING = auto()  # somebody is handling it
    DONE = auto()  # it was handled
    FULL = auto()  # no room to remember one more that is being handled


class Seen(Protocol):
    """A memory of delivery IDs. Calls may raise what their store raises; the receiver bounds and answers that."""

    renew_s: float | None
    """A claim must be renewed this often; None if it holds as long as the process."""

    needs_id: bool
    """Whether a request without a delivery ID has to be refused."""

    async def claim(self, delivery_id: str) -> Claim:
        """Ask for an ID. At most one asker has it at a time."""

    async def renew(self, delivery_id: str) -> bool:
        """Keep a claim; False if it was lost."""

    async def done(self, delivery_id: str) -> None:
        """Remember the ID: its handler succeeded."""

    async def free(self, delivery_id: str) -> None:
        """Give the ID back: its handler failed."""


class NoMemory:
    """Every request runs the handler: for endpoints that only read, or that recognise repeats themselves."""

    renew_s: float | None = None
    needs_id: bool = False

    async def claim(self, delivery_id: str) -> Claim:  # noqa: ARG002
        """Always ours."""
        return Claim.OURS

    async def renew(self, delivery_id: str) -> bool:  # noqa: ARG002
        """Nothing is lost."""
        return True

    async def done(self, delivery_id: str) -> None:
        """Forget it."""

    async def free(self, delivery_id: str) -> None:
        """Forget it."""


class InMemory:
    """Delivery IDs of this process: enough for one process that may forget them when it restarts."""

    renew_s: float | None = None
    needs_id: bool = True

    def __init__(
        self, *, entries_max: int = ENTRIES_MAX, age_s: float = AGE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries_max = entries_max
        self._age_s = age_s
        self._clock = clock
        self._running: set[str] = set()
        self._done: dict[str, float] = {}  # to when it ends; in that order, since all live equally long

    def __len__(self) -> int:
        return len(self._running) + len(self._done)

    async def claim(self, delivery_id: str) -> Claim:
        """Ask for an ID; never waits."""
        if delivery_id in self._running:
            return Claim.RUNNING
        self._forget(self._clock())
        if delivery_id in self._done:
            return Claim.DONE
        if len(self._running) >= self._entries_max:
            return Claim.FULL
        self._running.add(delivery_id)
        while len(self) > self._entries_max:
            del self._done[next(iter(self._done))]
        return Claim.OURS

    async def renew(self, delivery_id: str) -> bool:
        """Whether it is still claimed: it is, until done or free."""
        return delivery_id in self._running

    async def done(self, delivery_id: str) -> None:
        """Remember it for `age_s`."""
        self._running.discard(delivery_id)
        self._done[delivery_id] = self._clock() + self._age_s

    async def free(self, delivery_id: str) -> None:
        """Give it back."""
        self._running.discard(delivery_id)

    def _forget(self, now: float) -> None:
        while self._done:
            oldest = next(iter(self._done))
            if self._done[oldest] > now:
                return
            del self._done[oldest]


class RedisClient(Protocol):
    """The part of `redis.asyncio.Redis` that is used; any client with these three will do, of Redis 2.6.12 or later."""

    def set(self, name: str, value: str, *, px: int, nx: bool = False) -> Awaitable[Any]:
        """SET with an expiry in ms; with `nx` only if absent, and then something false if it was not set."""

    def get(self, name: str) -> Awaitable[Any]:
        """Return text or bytes, or None."""

    def eval(self, script: str, numkeys: int, /, *keys_and_args: Any) -> Awaitable[Any]:
        """Run a Lua script."""


class InRedis:
    """Delivery IDs that all processes of an endpoint share, and that survive their restarts.

    Endpoints that get the same delivery IDs and do different things with them need a `prefix` each. Redis must not
    evict keys (`maxmemory-policy noeviction`): an ID that is gone is handled again.
    """

    needs_id: bool = True

    def __init__(
        self, client: RedisClient, *, prefix: str = PREFIX, age_s: float = AGE_S, lease_s: float = LEASE_S
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._age_ms = int(age_s * 1000)
        self._lease_ms = int(lease_s * 1000)
        self._tokens: dict[str, str] = {}  # of our claims
        self.renew_s: float | None = lease_s / 3

    async def claim(self, delivery_id: str) -> Claim:
        """Ask Redis for an ID; one round trip if it is new, two if not."""
        if delivery_id in self._tokens:
            return Claim.RUNNING
        token = self._tokens[delivery_id] = secrets.token_hex(16)
        ours = False
        try:
            ours = bool(await self._client.set(self._prefix + delivery_id, token, nx=True, px=self._lease_ms))
        finally:
            if not ours:
                del self._tokens[delivery_id]
        if ours:
            return Claim.OURS
        found = await self._client.get(self._prefix + delivery_id)
        # None: it was freed in between. That is for the next attempt to find out.
        return Claim.DONE if found in (_DONE, _DONE.encode()) else Claim.RUNNING

    async def renew(self, delivery_id: str) -> bool:
        """Lengthen the lease; False if Redis no longer has it."""
        token = self._tokens.get(delivery_id, "")
        return bool(await self._client.eval(_RENEW, 1, self._prefix + delivery_id, token, str(self._lease_ms)))

    async def done(self, delivery_id: str) -> None:
        """Remember it for `age_s`, even if the lease was lost: it was handled."""
        self._tokens.pop(delivery_id, None)
        await self._client.set(self._prefix + delivery_id, _DONE, px=self._age_ms)

    async def free(self, delivery_id: str) -> None:
        """Give it back, unless it is another's by now."""
        token = self._tokens.pop(delivery_id, "")
        await self._client.eval(_FREE, 1, self._prefix + delivery_id, token)
