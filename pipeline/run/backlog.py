"""What waits in a lane: first attempts, retries, and what is not due yet. First attempts go first, none starves.

While first attempts wait, at most one delivery in five that starts is a retry, and retries have at most a fifth of the
slots: deliveries that failed before, often slow ones, must not take a lane over. Without first attempts they may have
all of it.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.model import Delivery

RETRY_SHARE: Final = 0.2
"""Share of a lane's starts (so of its rate, too) and of its slots that retries have while first attempts wait."""
_PER_FIRST: Final = RETRY_SHARE / (1 - RETRY_SHARE)


class Backlog:
    """Owner of the deliveries of a lane that have no seat. `firsts` and `retries` are in the order they came."""

    __slots__ = ("_credit", "_tie", "delayed", "firsts", "retries", "retrying")

    def __init__(self) -> None:
        self.firsts: deque[Delivery] = deque()
        self.retries: deque[Delivery] = deque()
        self.delayed: list[tuple[int, int, Delivery]] = []  # heap by due time, Unix ms
        self.retrying: set[Delivery] = set()  # attempts under way that were taken from `retries`
        self._credit = 0.0
        self._tie = count()

    def __len__(self) -> int:
        """Return how many could start, if the lane let them."""
        return len(self.firsts) + len(self.retries)

    def queue_of(self, delivery: Delivery) -> deque[Delivery]:
        """Return where it waits for its turn. What was tried before, here or on an earlier hop, is a retry.

        An event of a journey that keeps order is taken up first on hop 1.
        """
        run = delivery.run
        return self.retries if delivery.attempts or run.hop > run.flight.tracker.ordered else self.firsts

    def add(self, delivery: Delivery) -> None:
        """Let a delivery wait for its turn."""
        self.queue_of(delivery).append(delivery)

    def delay(self, delivery: Delivery, due_ms: int) -> None:
        """Let a delivery wait until it is due."""
        heapq.heappush(self.delayed, (due_ms, next(self._tie), delivery))

    def due(self, now_ms: int) -> Iterator[Delivery]:
        """Yield what has become due, the longest due first, but what ended meanwhile."""
        while self.delayed and self.delayed[0][0] <= now_ms:
            delivery = heapq.heappop(self.delayed)[2]
            if not delivery.over:
                yield delivery

    def drop(self, delivery: Delivery) -> bool:
        """Let a delivery wait for its turn no more; False if it did not."""
        for queue in (self.firsts, self.retries):
            if delivery in queue:
                queue.remove(delivery)
                return True
        return False

    def take(self, limit: int) -> Delivery:
        """Take the next delivery of those that wait, in a lane with so many slots; there must be one."""
        firsts, retries = self.firsts, self.retries
        if firsts:
            slots = max(int(limit * RETRY_SHARE), 1)
            if not retries or self._credit < 1.0 or len(self.retrying) >= slots:
                self._credit = min(self._credit + _PER_FIRST, 1.0)
                return firsts.popleft()
            self._credit -= 1.0
        delivery = retries.popleft()
        self.retrying.add(delivery)
        return delivery

    def take_all(self, chosen: Callable[[Delivery], bool], *, delayed: bool = True) -> list[tuple[Delivery, int]]:
        """Take out all that `chosen` picks, each with when it is due (Unix ms; 0: now)."""
        taken = [(each, 0) for each in (*self.firsts, *self.retries) if chosen(each)]
        if taken:
            self.firsts = deque(each for each in self.firsts if not chosen(each))
            self.retries = deque(each for each in self.retries if not chosen(each))
        if delayed and self.delayed:
            taken += [(entry[2], entry[0]) for entry in self.delayed if chosen(entry[2])]
            self.delayed = [entry for entry in self.delayed if not chosen(entry[2])]
            heapq.heapify(self.delayed)
        return taken
