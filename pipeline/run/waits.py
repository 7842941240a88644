"""What runs of a log wait for: their time, their destination to be well again, or an order that lets them go before.

Owner of the waits, not of the runs: run/turns asks whose wait is over.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pipeline.core import runstate, switches
from pipeline.run.orders import Early

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.core.switches import Order
    from pipeline.model import Record
    from pipeline.ports import Clock
    from pipeline.run.holder import Spare


class Run(Protocol):
    """What waits."""

    record: Record


R = TypeVar("R", bound=Run)


class Wait(Generic[R]):
    """The wait of one run; `gone` once it is over. The rest as of an entry of run/release."""

    __slots__ = (
        "began_ms", "destinations", "due_ms", "gone", "held", "ordered", "parked_for", "parks", "record", "run"
    )  # fmt: skip

    def __init__(self, run: R, due_ms: int) -> None:
        self.run = run
        self.record = run.record
        self.due_ms = due_ms
        self.destinations: tuple[str, ...] = ()
        self.parked_for: tuple[str, ...] = ()
        self.parks = 0
        self.began_ms = 0
        self.held = False
        self.ordered = False
        self.gone = False


class Waits(Generic[R]):
    """Of one worker. Nothing here waits or raises; times in Unix ms, but `now_s`: the loop's seconds."""

    def __init__(self, clock: Clock, lanes: Mapping[str, Spare], calls: Mapping[tuple[str, str], str]) -> None:
        """`calls` has the destination of each journey's steps, by (journey, step)."""
        self._clock = clock
        self._lanes = lanes
        self._calls = calls
        self._due: list[tuple[int, int, Wait[R]]] = []
        self._count = 0
        self._parked: dict[Wait[R], None] = {}
        self._orders: Sequence[Order] = ()
        self._share: Callable[[], float] = _whole
        self._ordered: dict[tuple[str, str, int], Early[Wait[R]]] = {}

    def add(self, run: R, due_ms: int, now_s: float) -> Wait[R]:
        """Let a run wait until it is due, or may go before."""
        wait = Wait(run, due_ms)
        state = runstate.decode(run.record.header(runstate.STATE_HEADER))
        if isinstance(state, runstate.RunState):
            wait.began_ms = state.started_ms
            wait.held = any(step.cls in switches.HELD for step in state.steps.values())
            names = {self._calls.get((state.journey, step), "") for step in state.steps}
            wait.destinations = tuple(sorted(names))
            now_ms = self._clock() // 1_000_000
            if state.parks and names <= self._lanes.keys() and all(s.due_ms <= now_ms for s in state.steps.values()):
                wait.parked_for, wait.parks = wait.destinations, state.parks
                self._parked[wait] = None
        self._count += 1
        heapq.heappush(self._due, (due_ms, self._count, wait))
        self._order((wait,), now_s)
        return wait

    def end(self, wait: Wait[R]) -> None:
        """Forget a wait: it is over, or its partition is not ours any more."""
        wait.gone = True
        self._parked.pop(wait, None)

    def next_ms(self) -> float:
        """Return when the next run is due; inf if none waits."""
        while self._due and self._due[0][2].gone:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else float("inf")

    def early(self) -> bool:
        """Whether any may go before it is due: it waits for its destination, or an order means it."""
        return bool(self._parked) or any(early.entries for early in self._ordered.values())

    def follow(self, orders: Sequence[Order], share: Callable[[], float], now_s: float) -> None:
        """Obey these orders from now on: see run/release."""
        self._orders, self._share = orders, share
        self._ordered.clear()
        waits = [wait for _, _, wait in self._due if not wait.gone]
        for wait in waits:
            wait.ordered = False
        self._order(waits, now_s)
        for early in self._ordered.values():
            early.sort()

    def _order(self, waits: Iterable[Wait[R]], now_s: float) -> None:
        """Put those with the others of an order that means them."""
        for wait in waits if self._orders else ():
            late = wait.held and not any(lane.holding() for lane in map(self._lanes.get, wait.destinations) if lane)
            order = switches.told(self._orders, wait.destinations, wait.record.timestamp_ms, wait.began_ms, held=late)
            if order is None:
                continue
            wait.ordered = True
            name = (order.verb, order.destination, order.at_ms)
            early = self._ordered.get(name)
            if early is None:
                early = self._ordered[name] = Early(order, now_s)
            early.entries.append(wait)

    def over(self, room: int, now_s: float) -> list[R]:
        """Take out the runs that go now: those that are due, and at most `room` of those that may go before."""
        now_ms = self._clock() // 1_000_000
        taken: list[R] = []
        while self.next_ms() <= now_ms:
            self._take(self._due[0][2], taken)
        left = room - len(taken)
        for early in self._ordered.values() if left > 0 else ():
            lane = self._lanes.get(early.order.destination)
            if early.order.verb == switches.RELEASE and (lane is None or not lane.takes()):
                early.start_over(now_s)
                continue
            for wait in early.take(left, now_s, self._share()):
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
        self.end(wait)
        taken.append(wait.run)


def _whole() -> float:
    return 1.0
