"""core/admission against plain models that keep everything: any order of attempts, ends, switches and time."""

from __future__ import annotations

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

from pipeline.core.admission import Breaker, Bucket
from pipeline.model import BreakerPolicy

EPSILON = 1e-6


class BreakerMachine(RuleBasedStateMachine):
    """The model remembers each attempt since the breaker last forgot, and counts shares over the whole list."""

    @initialize(
        share=st.sampled_from([0.1, 0.5, 1.0]), of=st.integers(1, 8), rejections=st.sampled_from([0.2, 1.0]),
        rejections_of=st.integers(1, 8), open_ms=st.sampled_from([100, 1_000]), times=st.integers(1, 8),
    )  # fmt: skip
    def start(self, share, of, rejections, rejections_of, open_ms, times) -> None:
        self.policy = BreakerPolicy(share, of, open_ms, open_ms * times, rejections, rejections_of)
        self.breaker = Breaker(self.policy)
        self.now_s = 0.0
        self.under_way = 0
        self.forget()
        self.openings, self.opened_s, self.for_rejections, self.is_open, self.probing = 0, 0.0, False, False, False

    def forget(self) -> None:
        self.attempts: list[str] = []

    def half_open(self) -> bool:
        return self.is_open and self.asked_after_its_time

    @rule(seconds=st.floats(0, 2))
    def wait(self, seconds) -> None:
        self.now_s += seconds

    @rule()
    def attempt(self) -> None:
        lasts_s = min(self.policy.open_ms * 2 ** max(self.openings - 1, 0), self.policy.open_max_ms) / 1_000
        if self.is_open and not self.asked_after_its_time and self.now_s >= self.opened_s + lasts_s:
            self.asked_after_its_time, self.probing = True, False
        wanted = not self.is_open or (self.half_open() and not self.probing)
        assert self.breaker.admits(self.now_s) == wanted
        if wanted:
            self.breaker.started()
            self.probing = self.half_open()
            self.under_way += 1

    @precondition(lambda self: self.under_way)
    @rule(result=st.sampled_from(["ok", "failed", "rejected", "abandoned"]))
    def end(self, result) -> None:
        self.under_way -= 1
        if result == "abandoned":
            self.breaker.abandoned()
            self.probing = False
            return
        if result == "ok":
            self.breaker.succeeded()
        else:
            opened = self.breaker.failed(self.now_s) if result == "failed" else self.breaker.rejected(self.now_s)
            assert opened == self.opens(result)
            if opened:
                self.open(for_rejections=result == "rejected")
                return
        if self.half_open() and result != "failed":
            self.close()
        elif not (result == "failed" and self.is_open):
            self.attempts.append(result)

    def opens(self, result: str) -> bool:
        if self.half_open():
            return result == "failed" or self.for_rejections
        if self.is_open:
            return False
        seen = [*self.attempts, result]
        if result == "failed":
            window = seen[-self.policy.of :]
            return len(window) == self.policy.of and window.count("failed") >= max(
                self.policy.failures * self.policy.of, 1.0
            )
        answered = [each for each in seen if each != "failed"][-self.policy.rejections_of :]
        return len(answered) == self.policy.rejections_of and answered.count("rejected") >= max(
            self.policy.rejections * self.policy.rejections_of, 1.0
        )

    @rule()
    def trip(self) -> None:
        assert self.breaker.trip(self.now_s) == (not self.is_open or self.half_open())
        if not self.is_open or self.half_open():
            self.open(for_rejections=False)

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.close()

    def open(self, *, for_rejections: bool) -> None:
        self.is_open, self.asked_after_its_time = True, False
        self.for_rejections = for_rejections
        self.openings += 1
        self.opened_s = self.now_s
        self.forget()

    def close(self) -> None:
        self.is_open, self.openings = False, 0
        self.forget()

    @invariant()
    def its_state_is_the_models(self) -> None:
        if hasattr(self, "breaker"):
            state = "closed" if not self.is_open else "half-open" if self.asked_after_its_time else "open"
            assert self.breaker.state == state


class BucketMachine(RuleBasedStateMachine):
    """In no stretch of time is more taken than its rates allow and one second's worth; and nobody waits for longer."""

    @initialize(rate=st.floats(0.1, 100))
    def start(self, rate) -> None:
        self.bucket = Bucket(rate, 0.0)
        self.now_s = 0.0
        self.allowed = [max(rate, 1.0)]  # for the stretch that began with each take or retuning, until now
        self.taken = [0]

    def begin(self) -> None:
        self.allowed.append(max(self.bucket.rate, 1.0))
        self.taken.append(0)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds) -> None:
        self.now_s += seconds
        self.allowed = [each + seconds * self.bucket.rate for each in self.allowed]

    @rule()
    def take(self) -> None:
        wait_s = self.bucket.take(self.now_s)
        if wait_s == 0:
            self.begin()
            self.taken = [each + 1 for each in self.taken]
            assert all(taken <= allowed + EPSILON for taken, allowed in zip(self.taken, self.allowed, strict=True))
            return
        assert 0 < wait_s <= 1 / self.bucket.rate + EPSILON
        self.wait(wait_s + EPSILON)
        assert self.bucket.take(self.now_s) == 0, "said when, and then had none"
        self.begin()
        self.taken = [each + 1 for each in self.taken]

    @rule(rate=st.floats(0.1, 100))
    def retune(self, rate) -> None:
        before = self.bucket.rate
        self.bucket.retune(rate, self.now_s)
        # A bucket that shrinks loses what it cannot hold; one that grows is not filled by growing.
        if max(rate, 1.0) < max(before, 1.0):
            self.begin()


def test_a_breaker_is_as_its_model_whatever_happens() -> None:
    run_state_machine_as_test(BreakerMachine, settings=settings(max_examples=150, stateful_step_count=40))


def test_a_bucket_gives_no_more_than_its_rate_and_says_when_it_has_more() -> None:
    run_state_machine_as_test(BucketMachine, settings=settings(max_examples=100, stateful_step_count=40))
