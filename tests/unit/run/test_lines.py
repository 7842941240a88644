"""run/lines: a position of a log closes once its run is over, and stays open while it waits."""

from __future__ import annotations

from pipeline.model import LedgerReason, Record
from pipeline.run.lines import Log, TurnTracker, weight


class Told:
    """Notes what a tracker tells its owner."""

    def __init__(self) -> None:
        self.said: list[tuple] = []

    def done(self, tracker, offset) -> None:
        self.said.append(("done", offset))

    def rests(self, tracker, offset, state, due_ms) -> None:
        self.said.append(("rests", offset, state, due_ms))


def tracker() -> TurnTracker:
    made = TurnTracker("log", 0, 5)
    made.turns, made.rests = Told(), {}
    for offset in (5, 6, 7):
        assert made.received(offset)
    return made


def test_what_is_settled_is_told_and_closes_when_its_owner_says_so() -> None:
    made = tracker()
    made.settled(5)
    made.settled(6, LedgerReason.UNDECODABLE)
    assert made.turns.said == [("done", 5), ("done", 6)]
    assert made.watermark() == 5
    made.close(5)
    assert made.watermark() == 6
    made.close(6)
    assert (made.watermark(), made.ledger()) == (7, ())


def test_a_run_that_rests_does_so_once_everything_about_it_is_settled() -> None:
    made = tracker()
    made.rest(5, b"state", 99)
    assert made.turns.said == []
    made.settled(5)
    assert made.turns.said == [("rests", 5, b"state", 99)]
    assert made.watermark() == 5
    made.settled(5)  # the next time it is taken up it may be over
    assert made.turns.said[1:] == [("done", 5)]


def test_a_partition_without_a_commit_is_looked_into_from_its_beginning() -> None:
    assert Log(TurnTracker("log", 0, -1)).start == 0
    assert Log(TurnTracker("log", 0, 5, b"p", ((7, 9),))).finished == [(7, 9)]


def test_bytes_are_counted_with_what_is_around_them() -> None:
    assert weight(Record("log", 0, 0, b"k", b"value", (), 0)) == 306
    assert weight(Record("log", 0, 0, b"k", b"value", (("name", b"content"), ("none", None)), 0)) == 321
