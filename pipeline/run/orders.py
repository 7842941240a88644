"""What an order of the control topic lets go before it is due, and how fast.

A release begins slowly, keeps to its rate, and waits while its destination takes nothing: never longer than its tier,
though. A drop sends nothing, and is not slowed down.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from pipeline.core.switches import RELEASE

if TYPE_CHECKING:
    from pipeline.core.switches import Order
    from pipeline.model import Record

EARLY_S: Final = 0.05
"""How soon is looked again after something went before it was due, or while something may."""
SLOW_START_PER_S: Final = 10.0
"""What a release begins with, in each worker; it doubles every second, up to its rate."""
DOUBLINGS_MAX: Final = 20
"""After so many doublings a release without a rate is bound by the lane alone."""


class Waits(Protocol):
    """What is held back."""

    record: Record
    gone: bool


W = TypeVar("W", bound=Waits)


class Early(Generic[W]):
    """The queue of one order. Times are the loop's seconds."""

    __slots__ = ("_at_s", "_since_s", "_tokens", "entries", "order")

    def __init__(self, order: Order, now_s: float) -> None:
        self.order = order
        self.entries: deque[W] = deque()
        self._since_s = self._at_s = now_s
        self._tokens = 1.0

    def sort(self) -> None:
        """Put the oldest first, or the newest."""
        newest_first = self.order.newest_first
        self.entries = deque(sorted(self.entries, key=lambda each: each.record.timestamp_ms, reverse=newest_first))

    def start_over(self, now_s: float) -> None:
        """Begin slowly once more: the destination takes nothing at present."""
        self._since_s = self._at_s = now_s
        self._tokens = 1.0

    def take(self, room: int, now_s: float, share: float) -> list[W]:
        """Take out what may go now, at most `room`; `share` is this worker's of the fleet's rate."""
        if self.order.verb == RELEASE:
            rate = SLOW_START_PER_S * 2 ** min(now_s - self._since_s, DOUBLINGS_MAX)
            if self.order.rate_per_s:
                rate = min(rate, self.order.rate_per_s * share)
            self._tokens = min(self._tokens + (now_s - self._at_s) * rate, max(rate, 1.0))
            self._at_s = now_s
            room = min(room, int(self._tokens))
        taken: list[W] = []
        while self.entries and len(taken) < room:
            entry = self.entries.popleft()
            if not entry.gone:
                taken.append(entry)
        self._tokens -= len(taken)
        return taken
