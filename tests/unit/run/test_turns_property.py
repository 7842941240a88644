"""Whatever fails, waits, moves or crashes: starts are a naive order's, by each event's first entry in the log."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import runstate
from tests.support.logs import Log, Owner, state

CUSTOMERS = "abc"

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(0, 2)),
        st.tuples(st.just("copies"), st.integers(1, 6)),
        st.tuples(st.just("over"), st.integers(0, 9)),
        st.tuples(st.just("rest"), st.integers(0, 9)),
        st.tuples(st.just("ack"), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.just(0)),
        st.tuples(st.just("commit"), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.just(0)),
    ),
    max_size=60,
)


class Play:
    """One log, its owner of the moment, what the last commit said, and each customer's events as the log has them."""

    def __init__(self) -> None:
        self.log = Log()
        self.line: dict[str, list[int]] = defaultdict(list)  # offsets of each event's first entry
        self.committed: tuple[int, tuple] = (0, ())
        self.owner = Owner(self.log)
        self.seen = 0
        self.under_way: dict[int, runstate.RunState] = {}  # by offset
        self.fed: list[tuple[str, int]] = []

    def event(self, customer: str) -> None:
        number = len(self.fed)
        self.fed.append((customer, number))
        self.line[customer].append(self.log.event(customer, number).offset)

    def copies(self, number: int) -> None:
        """Feed the last events again, as a worker does that takes an input partition over."""
        for customer, each in self.fed[-number:]:
            self.log.event(customer, each)

    async def look(self) -> None:
        """Take what is there, and judge what starts by the log alone."""
        await self.owner.fetch()
        over = self.log.over()
        for record in self.owner.started[self.seen :]:
            offset = record.offset
            line = next(line for line in self.line.values() if offset in line)  # else it is a copy
            assert offset not in over, "started again though it was over"
            assert over.issuperset(line[: line.index(offset)]), "started before the one before it was over"
            assert offset not in self.under_way
            read = runstate.decode(record.header(runstate.STATE_HEADER))
            assert isinstance(read, runstate.RunState)
            self.under_way[offset] = read
        self.seen = len(self.owner.started)

    def over(self, which: int) -> None:
        if self.under_way:
            offset = sorted(self.under_way)[which % len(self.under_way)]
            del self.under_way[offset]
            self.owner.over(offset)

    def rest(self, which: int) -> None:
        if self.under_way:
            offset = sorted(self.under_way)[which % len(self.under_way)]
            was = self.under_way.pop(offset)
            due_ms = self.log.clock() // 1_000_000 + 10_000
            later = state(was.source[2], hop=was.hop + 1, due_ms=due_ms, cls="timeout")
            self.owner.rest(offset, due_ms, later)

    def commit(self) -> None:
        self.committed = (max(self.owner.tracker.watermark(), 0), tuple(self.owner.tracker.finished()))

    def crash(self, written: int) -> None:
        """Die: of what was not acknowledged some had got there; another worker takes over."""
        self.log.arrive(written)
        self.log.open.clear()
        self._next(*self.committed)

    def leave(self) -> None:
        """Give the partition up gracefully: what was written is acknowledged and committed."""
        self.owner.turns.forget((self.owner.tracker.topic, 0))
        self.log.ack()
        self.commit()
        self._next(*self.committed)

    def _next(self, start: int, finished: tuple) -> None:
        self.owner.end()
        self.owner = Owner(self.log, start, finished)
        self.under_way.clear()
        self.seen = 0

    async def step(self, action: str, number: int) -> None:
        match action:
            case "event":
                self.event(CUSTOMERS[number])
            case "copies":
                self.copies(number)
            case "over":
                self.over(number)
            case "rest":
                self.rest(number)
            case "ack":
                self.log.ack(number)
            case "wait":
                self.log.clock.advance(10_000)
            case "commit":
                self.commit()
            case "crash":
                self.crash(number)
            case "leave":
                self.leave()
        await self.look()

    async def finish(self) -> None:
        for _ in range(20 + 3 * len(self.fed)):
            self.log.ack()
            self.log.clock.advance(20_000)
            await self.look()
            while self.under_way:
                self.over(0)
        self.log.ack()
        assert self.log.over() == {offset for line in self.line.values() for offset in line}
        assert self.owner.tracker.open() == 0
        assert self.owner.turns.held() == 0
        self.owner.end()
        assert self.owner.errors == []


@settings(max_examples=200, deadline=None)
@given(ACTIONS)
def test_starts_are_those_of_a_naive_order_whatever_fails_moves_or_crashes(actions) -> None:
    async def play() -> None:
        played = Play()
        for action, number in actions:
            await played.step(action, number)
        await played.finish()

    asyncio.run(play())
