"""A modelled receiver and a lane that always has work, on a virtual clock: what a concurrency limit makes of them."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.core.concurrency import Adaptive

REFUSAL_MS = 2.0


@dataclass
class Receiver:
    """`capacity` requests are worked on at once, the others queue (`refuses`: are answered 429 at once instead)."""

    capacity: int
    service_ms: Callable[[Random], float]
    refuses: bool = False
    stray_503: float = 0.0


@dataclass
class Seen:
    """What came of a stretch of virtual time. Latencies in ms, `limits` after each answer."""

    delivered: int = 0
    refused: int = 0
    ms: float = 0.0
    latencies: list[float] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return self.delivered * 1_000 / self.ms

    @property
    def mean_ms(self) -> float:
        return sum(self.latencies) / max(len(self.latencies), 1)


class Loop:
    """Closed loop: whenever the limit allows, the next request goes out at once, but for `idle` stretches."""

    def __init__(self, window: Adaptive, receiver: Receiver, seed: int = 1) -> None:
        self.window = window
        self.receiver = receiver
        self.now_ms = 0.0
        self._random = Random(seed)
        self._events: list[tuple[float, int, float, str]] = []  # when answered, tie, when sent, answer
        self._tie = 0
        self._in_flight = 0
        self._working = 0
        self._queue: deque[float] = deque()

    def run(self, ms: float, *, wanted: bool = True, at_once: int = 0) -> Seen:
        """Go on for so long; without `wanted` only `at_once` requests are ever in flight."""
        seen, until_ms = Seen(ms=ms), self.now_ms + ms
        while True:
            most = self.window.limit if wanted else min(at_once, self.window.limit)
            while self._in_flight < most:
                self._send()
            if not self._events or self._events[0][0] > until_ms:
                break
            self.now_ms, _, sent_ms, answer = heapq.heappop(self._events)
            self._in_flight -= 1
            self._answer(seen, sent_ms, answer, wanted=wanted)
            seen.limits.append(self.window.limit)
            assert self.window.limit >= 1
        self.now_ms = until_ms
        return seen

    def _send(self) -> None:
        self._in_flight += 1
        receiver = self.receiver
        if self._random.random() < receiver.stray_503:
            self._at(self.now_ms + REFUSAL_MS, self.now_ms, "throttled")
        elif self._working < receiver.capacity:
            self._work(self.now_ms)
        elif receiver.refuses:
            self._at(self.now_ms + REFUSAL_MS, self.now_ms, "throttled")
        else:
            self._queue.append(self.now_ms)

    def _work(self, sent_ms: float) -> None:
        self._working += 1
        self._at(self.now_ms + self.receiver.service_ms(self._random), sent_ms, "delivered")

    def _at(self, when_ms: float, sent_ms: float, answer: str) -> None:
        self._tie += 1
        heapq.heappush(self._events, (when_ms, self._tie, sent_ms, answer))

    def _answer(self, seen: Seen, sent_ms: float, answer: str, *, wanted: bool) -> None:
        if answer == "throttled":
            seen.refused += 1
            self.window.failed(throttled=True)
            return
        self._working -= 1
        if self._queue and self._working < self.receiver.capacity:
            self._work(self._queue.popleft())
        seen.delivered += 1
        seen.latencies.append(self.now_ms - sent_ms)
        self.window.answered(self.now_ms - sent_ms, wanted=wanted)


def lognormal(mean_ms: float, sigma: float) -> Callable[[Random], float]:
    """Service times with a long tail: sigma 0.5 is a steady endpoint, 1.0 a ragged one."""
    from math import log  # noqa: PLC0415

    return lambda random: random.lognormvariate(log(mean_ms) - sigma**2 / 2, sigma)
