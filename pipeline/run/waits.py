"""What runs of a log wait for: their time, their destination to be well again, or an order that lets them go before.

Owner of the waits, not of the runs: run/turns asks whose wait is over.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pipeline.run.orders import QUEUED, Awaited, Orders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipeline.core.switches import Order
    from pipeline.model import Record
    from pipeline.ports import Clock
    from pipeline.run.holder import Spare


class Run(Protocol):
    """What waits."""

    record: Record


R = TypeVar("R", bound=Run)


class Wait(Awaited, Generic[R]):
    """The wait of one run; `gone` once it is over."""

    __slots__ = ("run",)

    def __init__(self, run: R, due_ms: int) -> None:
        super().__init__(due_ms, run.record)
        self.run = run

    def end(self) -> None:
        """Let go of the run, too, and so of all that is held with it."""
        super().end()
        del self.run


class Waits(Generic[R]):
    """Of one worker. Nothing here waits or raises; times in Unix ms, but `now_s`: the loop's seconds."""

    def __init__(self, clock: Clock, lanes: Mapping[str, Spare], calls: Mapping[tuple[str, str], str]) -> None:
        """`calls` has the destination of each journey's steps, by (journey, step)."""
        self._clock = clock
        self._lanes = lanes
        self._calls = calls
        self._due: list[tuple[int, int, Wait[R]]] = []  # a heap; what is over stays in it, but not too much does
        self._count = 0
        self._live = 0
        self._parked: dict[Wait[R], None] = {}
        self._orders: Orders[Wait[R]] = Orders(lanes)

    def add(self, run: R, due_ms: int, now_s: float) -> Wait[R]:
        """Let a run wait until it is due, or may go before."""
        wait = Wait(run, due_ms)
        wait.look(self._lanes, self._calls, self._clock() // 1_000_000)
        if wait.parked_for:
            self._parked[wait] = None
        self._count += 1
        self._live += 1
        heapq.heappush(self._due, (due_ms, self._count, wait))
        self._orders.put(wait, now_s)
        return wait

    def end(self, wait: Wait[R]) -> None:
        """Forget a wait: it is over, or its partition is not ours any more."""
        wait.end()
        self._live -= 1
        self._parked.pop(wait, None)
        if len(self._due) > max(2 * self._live, QUEUED):
            self._due = [each for each in self._due if not each[2].gone]
            heapq.heapify(self._due)

    def next_ms(self) -> float:
        """Return when the next run is due; inf if none waits."""
        while self._due and self._due[0][2].gone:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else float("inf")

    def early(self) -> bool:
        """Whether any may go before it is due: it waits for its destination, or an order means it."""
        return bool(self._parked) or self._orders.waiting()

    def follow(self, orders: Sequence[Order], share: Callable[[], float], now_s: float) -> None:
        """Obey these orders from now on: see run/orders."""
        self._orders.follow(orders, share, [wait for _, _, wait in self._due if not wait.gone], now_s)

    def over(self, room: int, now_s: float) -> list[R]:
        """Take out the runs that go now: those that are due, and at most `room` of those that may go before."""
        now_ms = self._clock() // 1_000_000
        taken: list[R] = []
        while self.next_ms() <= now_ms:
            self._take(self._due[0][2], taken)
        left = room - len(taken)
        for wait in self._orders.take(left, now_s) if left > 0 else ():
            self._take(wait, taken)
            left -= 1
        if self._parked and left > 0:
            self._take_parked(left, taken)
        return taken

    def _take_parked(self, room: int, taken: list[R]) -> None:
        """Let parked runs go whose destinations have room, those first that wait longest."""
        spare = {name: self._lanes[name].spare() for wait in self._parked for name in wait.parked_for}
        if not any(spare.values()):
            return
        steady = {name: self._lanes[name].steady() for name in spare}
        for wait in tuple(self._parked):
            names = wait.parked_for
            well = all(spare[each] > 0 for each in names) and (wait.parks <= 1 or all(steady[each] for each in names))
            if room <= 0:
                return
            if well and not wait.ordered:
                for name in names:
                    spare[name] -= 1
                room -= 1
                self._take(wait, taken)

    def _take(self, wait: Wait[R], taken: list[R]) -> None:
        taken.append(wait.run)
        self.end(wait)
