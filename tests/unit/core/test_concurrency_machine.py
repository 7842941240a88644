"""core/concurrency under any order of requests and answers: the limit moves for a reason, and by what is due.

The lane here keeps what the limit must not need to know: when each request was sent, and what was wanted all along.
Answers come in the order of their requests, so that those of before a cut are known for what they are.
"""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.core import concurrency
from pipeline.core.concurrency import START, THROTTLED, Adaptive
from tests.support.modelled import Loop, Receiver

RTT = 100.0
LATENCIES = st.sampled_from([0.0, 20.0, 90.0, RTT, 110.0, 160.0, 400.0, 5_000.0, 1e9, -5.0])
MANY = 64
EPSILON = 1e-6


class Lane(RuleBasedStateMachine):
    """`twin` hears other latencies of what was asked for before a cut: they say nothing, so it comes to the same."""

    @initialize(most=st.sampled_from([1, 2, 5, 20, 64, 300]))
    def start(self, most) -> None:
        self.most = most
        self.window, self.twin = Adaptive(most), Adaptive(most)
        self.under_way: deque[int] = deque()  # of each request the cuts that were before it, the oldest first
        self.cuts = 0
        self.highest = self.window.limit
        self.refused = 0  # of requests sent since the last cut
        self.wanted = 0  # answers while more waited, ever
        self.unwanted = 0  # answers since the last of them

    @rule(share=st.floats(0, 1))
    def send(self, share) -> None:
        free = self.window.limit - len(self.under_way)
        self.under_way.extend([self.cuts] * round(free * share))

    @precondition(lambda self: self.under_way)
    @rule(ms=LATENCIES, wanted=st.booleans(), number=st.integers(1, MANY))
    def answer(self, ms, wanted, number) -> None:
        for _ in range(min(number, len(self.under_way))):
            self.one(ms, wanted=wanted)

    @rule(ms=LATENCIES, number=st.integers(1, 400), wanted=st.booleans())
    def go_on(self, ms, number, wanted) -> None:
        """Answer so many, each followed by as many as the limit lets go: what a lane with much to do looks like."""
        for _ in range(number):
            self.send(1.0)
            self.one(ms, wanted=wanted)

    def one(self, ms: float, *, wanted: bool) -> None:
        before, old = self.window.limit, self.under_way.popleft() < self.cuts
        self.window.answered(ms, wanted=wanted)
        self.twin.answered(1e9 - ms if old else ms, wanted=wanted)
        self.wanted += wanted
        self.unwanted = 0 if wanted else self.unwanted + 1
        # Long enough for what was begun while more waited: a full round, one that passes, one at half, one that passes.
        if self.unwanted > 4 * max(self.highest, concurrency.CHECK_MIN):
            assert self.window.limit <= before, "nobody wants as many"
        self.moved(before)

    @precondition(lambda self: self.under_way)
    @rule(throttled=st.booleans(), number=st.integers(1, MANY))
    def refuse(self, throttled, number) -> None:
        for _ in range(min(number, len(self.under_way))):
            before, old = self.window.limit, self.under_way.popleft() < self.cuts
            checking = self.window._phase in (concurrency._FULL, concurrency._CHECKING)
            self.refused += throttled and not old
            for each in (self.window, self.twin):
                each.failed(throttled=throttled)
            if self.window.limit < before and not checking:  # else what it measured may be the reason
                assert self.refused > 1 + THROTTLED * before - EPSILON, "a stray refusal, or those of before the cut"
                assert self.window.limit >= before // 2, "refusals halve it, no more"
            self.moved(before)

    @precondition(lambda self: self.under_way and self.under_way[0] < self.cuts)
    @rule()
    def refuse_what_is_from_before_the_cut(self) -> None:
        self.refuse(throttled=True, number=sum(each < self.cuts for each in self.under_way))

    @rule()
    def refuse_until_one_is_left(self) -> None:
        while self.window.limit > 1:
            self.send(1.0)
            self.refuse(throttled=True, number=1)

    def moved(self, before: int) -> None:
        assert 1 <= self.window.limit <= self.most
        self.highest = max(self.highest, self.window.limit)
        if self.window.limit < before:
            self.cuts += 1
            self.refused = 0

    @invariant()
    def it_is_within_its_bounds(self) -> None:
        if hasattr(self, "window"):
            assert 1 <= self.window.limit <= self.most
            assert isinstance(self.window.limit, int)
            assert self.window.limit <= START + 2 * self.wanted, "nobody wanted as many"

    @invariant()
    def what_was_asked_for_before_a_cut_says_nothing(self) -> None:
        if hasattr(self, "window"):
            assert self.twin.limit == self.window.limit

    def teardown(self) -> None:
        """From wherever it got to, a good destination gets all of it again."""
        if not hasattr(self, "window") or self.most > MANY or self.window.limit > self.most:
            return
        loop = Loop(self.window, Receiver(10_000, lambda _random: RTT))
        for _ in range(3_000):
            if self.window.limit >= self.most:
                break
            loop.run(RTT)
        assert self.window.limit == self.most


def test_the_limit_moves_for_a_reason_whatever_comes() -> None:
    machine_settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Lane, settings=machine_settings)
