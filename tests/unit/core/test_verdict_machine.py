"""The way of one delivery through its retries, whatever it is answered: bounded, monotone, with one end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from pipeline.core import verdict
from pipeline.core.verdict import Dead, Delivered, Hold, Rejected, RetryAt
from pipeline.model import Answer, Failure, FailureClass, RetryPolicy

TIERS_MS = (10_000, 60_000, 600_000)
DAY_MS = 86_400_000


class Retries(RuleBasedStateMachine):
    """Attempts follow each other as run/dispatch and the retry topics make them: never before they are due."""

    @initialize(
        attempts=st.integers(1, 12), age_ms=st.sampled_from([1, 10_000, 60_000, DAY_MS]), ambiguous=st.booleans(),
        cap_ms=st.integers(0, DAY_MS), in_process=st.lists(st.integers(1, 5_000), max_size=3).map(sorted),
        start_ms=st.integers(0, 2**41),
    )  # fmt: skip
    def start(self, attempts, age_ms, ambiguous, cap_ms, in_process, start_ms) -> None:
        self.policy = RetryPolicy(attempts, age_ms, ambiguous, TIERS_MS, {}, tuple(in_process), cap_ms)
        self.began_ms = self.now_ms = start_ms
        self.attempts = 0
        self.ended = False

    @precondition(lambda self: self.ended)
    @rule()
    def another(self) -> None:
        self.began_ms, self.attempts, self.ended = self.now_ms, 0, False

    @precondition(lambda self: not self.ended)
    @rule(
        late_ms=st.one_of(st.just(0), st.integers(0, 10_000)),
        chance=st.one_of(st.just(0.0), st.floats(0, 1, exclude_max=True)),
        result=st.one_of(
            st.builds(Answer, st.integers(100, 599), st.one_of(st.text(max_size=12), st.integers(0, 10**12).map(str))),
            st.builds(Failure, st.sampled_from([FailureClass.TIMEOUT, FailureClass.TLS]), st.booleans()),
        ),
    )  # fmt: skip
    def attempt(self, late_ms, chance, result) -> None:
        self.now_ms += late_ms
        self.attempts += 1
        expires_ms = self.began_ms + self.policy.max_age_ms
        found = verdict.judge(result, self.attempts, self.policy, self.now_ms, expires_ms, chance)
        if isinstance(found, RetryAt):
            assert self.attempts < self.policy.max_attempts, "more attempts than there may be"
            assert self.now_ms <= found.due_ms < expires_ms, "due in the past, or when it is too old"
            shortest_ms = 0 if self.attempts <= len(self.policy.in_process_ms) else TIERS_MS[0]
            assert found.due_ms - self.now_ms >= shortest_ms
            if isinstance(result, Failure) and result.sent:
                assert self.policy.retry_ambiguous, "what may have arrived is sent again though repeats are kept"
            self.now_ms = found.due_ms
        elif isinstance(found, Hold):
            self.attempts -= 1  # what is held uses up no attempt
        else:
            assert isinstance(found, Delivered | Rejected | Dead)
            assert isinstance(found, Delivered) == (isinstance(result, Answer) and 200 <= result.status < 300)
            self.ended = True


def test_a_delivery_ends_in_time_whatever_it_is_answered() -> None:
    run_state_machine_as_test(Retries, settings=settings(max_examples=200, stateful_step_count=20))
