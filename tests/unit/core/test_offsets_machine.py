"""core/offsets with core/progress against a plain model: any order of receiving, settling, committing and crashing."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pipeline.core.offsets import Tracker
from pipeline.core.progress import Ignored, decode, encode, identity, within
from pipeline.model import LedgerReason

PLACE = identity("c", "t", "g", 0)
FOREIGN = identity("mirror", "t", "g", 0)


class Partition(RuleBasedStateMachine):
    """`log` is what the topic holds; the model knows what was started, settled and covered by which commit."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[int] = []
        self.end = 0
        self.committed = (0, "")
        self.done_at_commit: set[int] = set()
        self.done: set[int] = set()  # settled at any time, by anyone, and not known to be lost
        self.empty: set[int] = set()  # of these, without a delivery
        self.accounted: set[int] = set()  # in a ledger that was acked
        self.start()

    def start(self) -> None:
        base, metadata = self.committed
        restored = decode(PLACE, base, metadata)
        assert not isinstance(restored, Ignored)
        restored = within(restored, self.end)
        if isinstance(restored, Ignored):
            restored, self.committed = (), (base, "")  # run/commits says so at its next turn
            self.done_at_commit = {each for each in self.done_at_commit if each < base}
            self.done = set(self.done_at_commit)
        self.tracker = Tracker("t", 0, base, PLACE, restored)
        self.fetch_from = base
        self.open: set[int] = set()
        self.seen: set[int] = set()
        self.base = base

    @rule(gap=st.sampled_from([0, 0, 0, 1, 7, 8, 40]), number=st.integers(1, 30))
    def produce(self, gap, number) -> None:
        self.end += gap
        self.log += range(self.end, self.end + number)
        self.end += number

    @rule(number=st.integers(1, 40))
    def receive(self, number) -> None:
        for offset in [each for each in self.log if each >= self.fetch_from][:number]:
            if self.tracker.received(offset):
                assert offset not in self.done_at_commit, "started again though the commit said it was finished"
                self.open.add(offset)
            else:
                assert offset in self.done_at_commit, "dropped though nobody finished it"
            self.seen.add(offset)
            self.fetch_from = offset + 1

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.floats(0, 1), empty=st.booleans())
    def settle(self, data, share, empty) -> None:
        opened = sorted(self.open)
        data.draw(st.randoms(use_true_random=False)).shuffle(opened)
        for offset in opened[: max(int(len(opened) * share), 1)]:
            self.tracker.settled(offset, LedgerReason.NO_JOURNEY if empty else None)
            self.open.discard(offset)
            self.done.add(offset)
            if empty:
                self.empty.add(offset)

    @rule()
    def commit(self) -> None:
        upto = self.tracker.watermark()
        assert upto >= self.committed[0], "the watermark went back"
        for first, last, _ in self.tracker.ledger():
            self.accounted.update(range(first, last + 1))
        text = encode(PLACE, upto, self.tracker.finished())
        assert isinstance(decode(FOREIGN, upto, text), Ignored) or text == ""
        assert isinstance(decode(PLACE, upto + 1, text), Ignored) or text == ""
        self.committed = (upto, text)
        finished = decode(PLACE, upto, text)
        known = {each for first, end in finished for each in range(first, end)}
        in_log = set(self.log)
        assert {each for each in in_log if each < upto} <= self.done, "committed past something unfinished"
        assert known & in_log <= self.done, "stored something unfinished"
        before = {each for each in self.done_at_commit if each >= upto}
        settled_here = {each for each in self.done & self.seen if each >= upto} - self.open
        assert known & in_log == (before | settled_here), "stored not all that is finished"
        assert known - in_log <= self.accounted, "a gap is stored that no ledger has"
        assert (known | set(range(upto))) & self.empty <= self.accounted, "an empty position is in no ledger"
        self.done_at_commit = {each for each in in_log if each < upto} | (known & in_log)

    @rule()
    def crash(self) -> None:
        self.done = set(self.done_at_commit)
        self.empty &= self.done | self.accounted
        self.start()

    @rule(data=st.data())
    def crash_and_truncate(self, data) -> None:
        """A broker leads now that did not have all of the log; the offsets it lost are those of the next records."""
        self.end = data.draw(st.integers(self.committed[0], max(self.end, self.committed[0])))
        self.log = [each for each in self.log if each < self.end]
        for known in (self.done_at_commit, self.empty, self.accounted):
            known.difference_update([each for each in known if each >= self.end])
        self.crash()

    @invariant()
    def nothing_unfinished_is_below_the_watermark(self) -> None:
        upto = self.tracker.watermark()
        assert not any(each < upto for each in self.open)
        assert all(each in self.done for each in self.log if each < min(upto, self.fetch_from))


def test_nothing_is_lost_and_nothing_committed_is_repeated_in_any_order_of_events() -> None:
    run_state_machine_as_test(Partition, settings=settings(max_examples=100, stateful_step_count=40, deadline=None))
