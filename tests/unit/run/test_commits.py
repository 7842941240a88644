"""run/commits: what is finished above the watermark is committed with it, after the ledger that tells of it."""

from __future__ import annotations

import random

import pytest

from pipeline.core import outcome
from pipeline.core.offsets import UNBOUNDED, UNKNOWN, Tracker
from pipeline.core.progress import decode, encode, identity
from pipeline.model import LedgerReason
from pipeline.ports import Assigned
from pipeline.run.commits import Commits
from pipeline.testing.fakes import FakeSource

PLACE = identity("cluster", "in", "g", 0)


class Scene:
    def __init__(self, world) -> None:
        self.source = FakeSource()
        self.producer = world.producer
        self.producer.holding = True
        self.telemetry = world.telemetry
        self.commits = Commits(self.source, world.producer, world.telemetry, world.clock, "g.outcomes")

    def assign(self, start=0, metadata="", place=PLACE, end=1 << 40) -> Tracker:
        stored = {("in", 0): (place, metadata, end)} if place else {}
        (tracker,) = self.commits.trackers(Assigned((("in", 0, start),), stored))
        return tracker

    def commit(self, tracker) -> None:
        self.commits.commit(tracker)
        self.producer.ack()

    def stored(self) -> tuple[tuple[int, int], ...]:
        found = decode(PLACE, self.source.committed["in", 0], self.source.metadata["in", 0])
        assert isinstance(found, tuple)
        return found


@pytest.fixture
async def scene(world):
    return Scene(world)


def received(tracker, *offsets) -> list[int]:
    return [offset for offset in offsets if tracker.received(offset)]


async def test_what_is_finished_above_a_stuck_head_is_stored_without_a_ledger(scene) -> None:
    tracker = scene.assign()
    received(tracker, 0, 1, 2, 3)
    tracker.settled(2)
    scene.commits.commit(tracker)
    assert scene.source.committed == {("in", 0): 0}
    assert scene.stored() == ((2, 3),)
    assert scene.producer.records == []


async def test_nothing_new_is_committed_once(scene) -> None:
    tracker = scene.assign()
    scene.commit(tracker)
    assert scene.source.committed == {}
    received(tracker, 0)
    scene.commit(tracker)
    assert scene.source.committed == {}
    tracker.settled(0)
    scene.commit(tracker)
    assert scene.source.committed == {("in", 0): 1}
    assert scene.source.metadata == {("in", 0): ""}
    scene.source.committed.clear()
    scene.commit(tracker)
    assert scene.source.committed == {}


async def test_a_position_without_delivery_is_stored_only_once_its_ledger_is_acked(scene) -> None:
    tracker = scene.assign()
    received(tracker, 0, 1, 5)
    tracker.settled(1, LedgerReason.NO_JOURNEY)
    scene.commits.commit(tracker)
    tracker.settled(5)
    scene.commits.commit(tracker)  # has nothing to say in a ledger, but must not overtake the one before
    assert scene.source.committed == {}
    scene.producer.ack()
    assert scene.stored() == ((1, 6),)
    rows = [outcome.decode(each.value) for each in scene.producer.records]
    assert [(row.first, row.next, row.empty) for row in rows] == [
        (0, 0, ((1, 1, "no_journey"), (2, 4, "gap"))), (0, 0, ()),
    ]  # fmt: skip


async def test_what_is_restored_is_dropped_and_stored_again_until_it_is_passed(scene) -> None:
    tracker = scene.assign(3, encode(PLACE, 3, [(4, 6), (8, 20)]))
    assert received(tracker, 3, 4, 5, 6) == [3, 6]
    tracker.settled(6)
    scene.commit(tracker)
    assert scene.stored() == ((4, 7), (8, 20))
    tracker.settled(3)
    scene.commit(tracker)
    assert scene.source.committed == {("in", 0): 7}
    assert scene.stored() == ((8, 20),)
    assert received(tracker, *range(7, 23)) == [7, 20, 21, 22]
    assert scene.telemetry.lines[0][1:] == ("progress_restored", {"topic": "in", "partition": 0, "positions": 14})


async def test_a_restored_position_that_was_deleted_meanwhile_is_no_gap(scene) -> None:
    tracker = scene.assign(3, encode(PLACE, 3, [(4, 6), (8, 10)]))
    assert received(tracker, 12) == [12]
    assert tracker.ledger() == ((3, 3, "gap"), (6, 7, "gap"), (10, 11, "gap"))


async def test_fork_480_a_plausible_run_beyond_the_end_skips_nothing_that_is_fetched(scene) -> None:
    tracker = scene.assign(3, encode(PLACE, 3, [(4, 2_000_000_000)]))
    received(tracker, 3)
    tracker.settled(3)
    assert tracker.watermark() == 4, "only what is fetched counts"
    scene.commit(tracker)
    assert scene.source.committed == {("in", 0): 4}


async def test_metadata_that_is_not_ours_is_ignored_and_said(scene) -> None:
    tracker = scene.assign(3, encode(identity("mirror", "in", "g", 0), 3, [(4, 6)]))
    assert received(tracker, 3, 4, 5) == [3, 4, 5]
    assert scene.telemetry.lines == [
        ("warning", "progress_ignored", {"topic": "in", "partition": 0, "reason": "unproven"})
    ]


async def test_new_events_at_offsets_a_log_lost_are_taken_whatever_was_finished_there(scene) -> None:
    """Finished were 3 to 9, the broker that leads now has 5 records, and events come until there are 12."""
    tracker = scene.assign(2, encode(PLACE, 2, [(3, 10)]), end=5)
    assert received(tracker, *range(2, 12)) == list(range(2, 12))
    assert scene.telemetry.lines == [
        ("warning", "progress_ignored", {"topic": "in", "partition": 0, "reason": "truncated"})
    ]
    tracker.settled(4)
    scene.commit(tracker)
    assert scene.stored() == ((4, 5),), "the place is known, and what is finished from now on is stored"


async def test_what_is_believed_no_more_is_overwritten_before_its_offsets_are_reached_again(scene) -> None:
    text = encode(PLACE, 2, [(3, 10)])
    scene.commit(scene.assign(2, text, end=UNKNOWN))
    assert scene.source.metadata == {}, "it may well be true"
    scene.commit(scene.assign(2, text, end=5))
    assert scene.source.committed == {("in", 0): 2}
    assert scene.source.metadata == {("in", 0): ""}


async def test_what_a_log_still_has_to_its_last_record_is_restored(scene) -> None:
    tracker = scene.assign(2, encode(PLACE, 2, [(3, 10)]), end=10)
    assert received(tracker, *range(2, 12)) == [2, 10, 11]


async def test_metadata_is_not_believed_while_nobody_says_where_the_log_ends(scene) -> None:
    tracker = scene.assign(2, encode(PLACE, 2, [(3, 10)]), end=UNKNOWN)
    assert received(tracker, 2, 3) == [2, 3]
    assert scene.telemetry.lines[0][2]["reason"] == "unchecked"


async def test_where_nothing_is_restored_it_does_not_matter_where_the_log_ends(scene) -> None:
    for end in (UNKNOWN, 0, 5):
        scene.assign(7, "", end=end)
    assert scene.telemetry.lines == []


async def test_a_source_in_memory_tells_where_its_logs_end(scene) -> None:
    notices = []
    scene.source.start(notices.append)
    scene.source.metadata["in", 0] = encode(identity("cluster", "in", "g", 0), 2, [(3, 10)])
    scene.source.ends["in", 0] = 5
    scene.source.assign(("in", 0, 2))
    (tracker,) = scene.commits.trackers(notices[0])
    assert received(tracker, 2, 3, 4) == [2, 3, 4]


async def test_without_a_place_only_the_watermark_is_committed(scene) -> None:
    tracker = scene.assign(3, "whatever", place=b"")
    assert tracker.room_upto == UNBOUNDED
    received(tracker, 3, 4)
    tracker.settled(4)
    scene.commit(tracker)
    assert scene.source.committed == {}
    tracker.settled(3)
    scene.commit(tracker)
    assert scene.source.committed == {("in", 0): 5}
    assert scene.source.metadata == {("in", 0): ""}


async def test_an_unknown_start_commits_nothing_before_its_first_record(scene) -> None:
    tracker = scene.assign(UNKNOWN)
    scene.commit(tracker)
    assert scene.source.committed == {}


async def test_late_acks_of_a_closed_tracker_commit_nothing(scene) -> None:
    tracker = scene.assign()
    received(tracker, 0)
    tracker.settled(0, LedgerReason.NO_JOURNEY)
    scene.commits.commit(tracker)
    tracker.closed = True
    scene.producer.ack()
    assert scene.source.committed == {}


async def test_parallel_consumer_647_a_partition_waits_before_its_metadata_is_too_long(scene) -> None:
    """Every second position finished is the worst pattern; nothing is ever left out, and below the top all goes on."""
    tracker = scene.assign()
    offset = 0
    while not (tracker.next >= tracker.room_upto and scene.commits.crowded(tracker)):
        assert tracker.received(offset)
        offset += 1
    for each in range(1, offset, 2):
        tracker.settled(each)
    scene.commit(tracker)
    assert len(scene.stored()) == offset // 2
    assert 3_600 < len(encode(PLACE, 0, [(0, 1)])) + 2_914 * 4 / 3 < 4_000
    assert offset > 20_000
    for each in range(0, offset, 2):
        tracker.settled(each)
    assert not scene.commits.crowded(tracker)


async def test_one_stuck_head_does_not_crowd_a_partition(scene) -> None:
    tracker = scene.assign()
    for offset in range(100_000):
        assert not (tracker.next >= tracker.room_upto and scene.commits.crowded(tracker))
        tracker.received(offset)
        if offset:
            tracker.settled(offset)
    scene.commit(tracker)
    assert scene.stored() == ((1, 100_000),)


async def test_records_below_what_is_restored_are_taken_however_long_it_is(scene) -> None:
    runs = [(9 * n + 1, 9 * n + 9) for n in range(8_000)]
    tracker = scene.assign(0, encode(PLACE, 0, runs, 1 << 30)[:0])
    tracker._restored.extend(runs)
    assert not scene.commits.crowded(tracker)
    for offset in range(9 * 8_000):
        assert tracker.next < tracker.room_upto
        tracker.received(offset)
    assert scene.commits.crowded(tracker)


async def test_a_broker_with_less_room_gets_less_and_the_partition_waits(scene) -> None:
    tracker = scene.assign()
    for offset in range(4_000):
        tracker.received(offset)
    for offset in random.Random(1).sample(range(1, 4_000), 2_000):
        tracker.settled(offset)
    scene.source.metadata_chars = 200
    scene.commit(tracker)
    kept = scene.stored()
    assert 0 < len(kept) < len(tracker.finished())
    assert list(kept) == tracker.finished()[: len(kept)]
    assert scene.commits.crowded(tracker)
    scene.source.metadata_chars = 10
    assert not scene.commits.crowded(tracker)


async def test_a_refused_ledger_holds_the_commits_after_it_back(scene) -> None:
    tracker = scene.assign()
    received(tracker, 0, 1, 2)
    tracker.settled(0, LedgerReason.NO_JOURNEY)
    scene.commits.commit(tracker)
    scene.producer.refuse("no")
    tracker.settled(1, LedgerReason.NO_JOURNEY)
    scene.commit(tracker)
    assert scene.source.committed == {}, "the older ledger would be missing"
    assert tracker.unacked == 2
    scene.producer.take()
    assert scene.source.committed == {("in", 0): 2}
    assert tracker.unacked == 0
