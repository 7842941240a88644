"""core/offsets: only what is settled is committed, gaps never stall, empties are accounted for exactly once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.offsets import UNKNOWN, Tracker
from pipeline.model import LedgerReason


def test_the_watermark_is_the_lowest_open_offset() -> None:
    tracker = Tracker("t", 0, 10)
    for offset in (10, 11, 12):
        assert tracker.received(offset)
    tracker.settled(12)
    tracker.settled(11)
    assert tracker.watermark() == 10
    tracker.settled(10)
    assert tracker.watermark() == 13


def test_an_unknown_start_is_the_first_record_received() -> None:
    tracker = Tracker("t", 0, UNKNOWN)
    assert tracker.watermark() == UNKNOWN
    tracker.received(700)
    assert tracker.committed == 700
    assert tracker.ledger() == ()


def test_a_gap_is_in_the_ledger_and_does_not_stall() -> None:
    tracker = Tracker("t", 0, 5)
    tracker.received(8)
    tracker.settled(8, LedgerReason.NO_JOURNEY)
    tracker.received(9)
    assert tracker.watermark() == 9
    assert tracker.ledger() == ((5, 7, "gap"), (8, 8, "no_journey"))
    assert tracker.ledger() == ()


def test_a_record_received_before_is_to_be_dropped() -> None:
    tracker = Tracker("t", 0, 0)
    assert tracker.received(0)
    assert tracker.received(1)
    assert not tracker.received(0)
    tracker.settled(0)
    assert not tracker.received(0)
    assert tracker.watermark() == 1


def test_empties_above_the_watermark_are_handed_out_once_and_count_as_finished() -> None:
    tracker = Tracker("t", 0, 0)
    for offset in range(4):
        tracker.received(offset)
    tracker.settled(3, LedgerReason.TOMBSTONE)
    tracker.settled(0, LedgerReason.NO_JOURNEY)
    assert tracker.ledger() == ((0, 0, "no_journey"), (3, 3, "tombstone"))
    assert tracker.finished() == [(3, 4)]
    tracker.settled(1)
    tracker.settled(2)
    assert tracker.ledger() == ()
    assert tracker.watermark() == 4


@settings(max_examples=300)
@given(
    gaps=st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=40),
    order=st.randoms(use_true_random=False),
    empties=st.sets(st.integers(min_value=0, max_value=39)),
    cuts=st.sets(st.integers(min_value=0, max_value=39)),
)
def test_ledgers_of_all_commits_name_exactly_what_had_no_delivery(gaps, order, empties, cuts) -> None:
    tracker = Tracker("t", 0, 0)
    received, offset = [], 0
    for gap in gaps:
        offset += gap
        received.append(offset - 1)
    for each in received:
        assert tracker.received(each)
    expected = set(range(offset)) - set(received) | {each for index, each in enumerate(received) if index in empties}
    settle = list(received)
    order.shuffle(settle)
    closed: set[int] = set()
    seen: set[int] = set()
    for index, each in enumerate(settle):
        closed.add(each)
        tracker.settled(each, LedgerReason.NO_JOURNEY if received.index(each) in empties else None)
        upto = tracker.watermark()
        assert all(other in closed for other in received if other < upto)
        assert upto == offset or upto not in closed
        if index in cuts:
            for first, last, _ in tracker.ledger():
                positions = set(range(first, last + 1))
                assert not positions & seen
                seen |= positions
    for first, last, _ in tracker.ledger():
        seen |= set(range(first, last + 1))
    assert seen == expected


def test_parallel_consumer_826_what_is_only_received_is_never_committed() -> None:
    tracker = Tracker("t", 0, 0)
    for offset in range(10):
        tracker.received(offset)
    tracker.settled(9)
    assert tracker.watermark() == 0
    assert tracker.finished() == [(9, 10)]


def test_parallel_consumer_909_a_new_assignment_knows_nothing_of_the_old_one() -> None:
    old, new = Tracker("t", 0, 0), Tracker("t", 0, 0)
    assert old.received(0)
    assert new.received(0), "taken up, whatever is still open of the old epoch"
    old.settled(0)
    assert new.watermark() == 0
    assert new.finished() == []


def test_faust_312_gaps_neither_stall_nor_move_the_commit_past_what_is_open() -> None:
    tracker = Tracker("t", 0, 0)
    for offset in (0, 4, 5, 9):
        tracker.received(offset)
    for offset in (0, 5, 9):
        tracker.settled(offset)
    assert tracker.watermark() == 4
    assert tracker.finished() == [(5, 10)]
    tracker.settled(4)
    assert tracker.watermark() == 10
