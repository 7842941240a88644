"""What a held run waits for, and what an order of the control topic lets go before it is due, and how fast.

A release begins slowly, keeps to its rate, and waits while its destination takes nothing: never longer than its tier,
though. A drop sends nothing, and is not slowed down.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pipeline.core import runstate, switches
from pipeline.core.switches import RELEASE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipeline.core.switches import Order
    from pipeline.model import Record
    from pipeline.run.holder import Spare

EARLY_S: Final = 0.05
"""How soon is looked again after something went before it was due, or while something may."""
SLOW_START_PER_S: Final = 10.0
"""What a release begins with, in each worker; it doubles every second, up to its rate."""
DOUBLINGS_MAX: Final = 20
"""After so many doublings a release without a rate is bound by the lane alone."""
QUEUED: Final = 1_000
"""Entries from which an order's queue is rid of what went otherwise; next when it has twice what was left."""


class Awaited:
    """One held run: when it is due (Unix ms), and what it waits for. It may be in several queues: see `end`.

    `destinations` of its steps; `parked_for` those a parked run waits for, none for others; `parks`: how often it was.
    `held`: back by hand. `ordered`: it goes by an order.
    """

    __slots__ = ("began_ms", "destinations", "due_ms", "gone", "held", "ordered", "parked_for", "parks", "record")

    def __init__(self, due_ms: int, record: Record) -> None:
        self.due_ms = due_ms
        self.record = record
        self.destinations: tuple[str, ...] = ()
        self.parked_for: tuple[str, ...] = ()
        self.parks = 0
        self.began_ms = 0
        self.held = False
        self.ordered = False
        self.gone = False

    def end(self) -> None:
        """Let go of what waited: this stays in the queues it is in until they come to it, however long that is."""
        self.gone = True
        del self.record

    def look(self, lanes: Mapping[str, Spare], calls: Mapping[tuple[str, str], str], now_ms: int) -> None:
        """Note what a run waits for, and whether only because destinations were not well: then how often.

        `calls` has the destination of each journey's steps, by (journey, step).
        """
        state = runstate.decode(self.record.header(runstate.STATE_HEADER))
        if not isinstance(state, runstate.RunState):
            return
        self.began_ms = state.started_ms
        self.held = any(step.cls in switches.HELD for step in state.steps.values())
        names = {calls.get((state.journey, step), "") for step in state.steps}
        self.destinations = tuple(sorted(names))
        waits = any(step.due_ms > now_ms for step in state.steps.values())
        if state.parks and not waits and names <= lanes.keys():
            self.parked_for, self.parks = self.destinations, state.parks


W = TypeVar("W", bound=Awaited)


class Orders(Generic[W]):
    """The orders in force, and the queue of each. Times are the loop's seconds."""

    def __init__(self, lanes: Mapping[str, Spare]) -> None:
        self._lanes = lanes
        self._orders: Sequence[Order] = ()
        self._share: Callable[[], float] = _whole
        self._queues: dict[tuple[str, str, int], Early[W]] = {}

    def __bool__(self) -> bool:
        """Whether there is an order."""
        return bool(self._orders)

    def waiting(self) -> bool:
        """Whether any may go by an order."""
        return any(early.entries for early in self._queues.values())

    def follow(self, orders: Sequence[Order], share: Callable[[], float], held: Iterable[W], now_s: float) -> None:
        """Obey these orders from now on, for what is held and what comes; one that was there goes on at its speed.

        `share` is this worker's of the fleet's rates.
        """
        self._orders, self._share = orders, share
        for early in self._queues.values():
            early.entries.clear()
        for entry in held:
            entry.ordered = False
            self.put(entry, now_s)
        self._queues = {name: early for name, early in self._queues.items() if early.entries}
        for early in self._queues.values():
            early.sort()

    def put(self, entry: W, now_s: float) -> None:
        """Put an entry with those that go by an order that means it, if there is one."""
        if not self._orders:
            return
        # What is held back still would be written anew at once: again and again, as long as the grace lasts.
        late = entry.held and not any(lane.holding() for lane in map(self._lanes.get, entry.destinations) if lane)
        order = switches.told(self._orders, entry.destinations, entry.record.timestamp_ms, entry.began_ms, held=late)
        if order is None:
            return
        entry.ordered = True
        name = (order.verb, order.destination, order.at_ms)
        early = self._queues.get(name)
        if early is None:
            early = self._queues[name] = Early(order, now_s)
        early.put(entry)

    def take(self, room: int, now_s: float) -> list[W]:
        """Take out what may go now, at most `room`."""
        taken: list[W] = []
        for early in self._queues.values():
            lane = self._lanes.get(early.order.destination)
            if early.order.verb == RELEASE and (lane is None or not lane.takes()):
                early.start_over(now_s)
            else:
                taken += early.take(room - len(taken), now_s, self._share())
        return taken

    def clear(self) -> None:
        """Forget what waits."""
        self._queues.clear()


class Early(Generic[W]):
    """The queue of one order. Times are the loop's seconds."""

    __slots__ = ("_at_s", "_entries_max", "_since_s", "_tokens", "entries", "order")

    def __init__(self, order: Order, now_s: float) -> None:
        self.order = order
        self.entries: deque[W] = deque()
        self._entries_max = QUEUED
        self._since_s = self._at_s = now_s
        self._tokens = 1.0

    def put(self, entry: W) -> None:
        """Let an entry stand last. What went otherwise, when it was due or behind others, is not kept for long."""
        self.entries.append(entry)
        if len(self.entries) > self._entries_max:
            self.entries = deque(each for each in self.entries if not each.gone)
            self._entries_max = max(2 * len(self.entries), QUEUED)

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


def _whole() -> float:
    return 1.0
