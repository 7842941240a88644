"""Bugs of committing and settling, to be planted: each takes `setattr` and puts itself into the product.

Where one is known by its number it says so: PC is Confluent's Parallel Consumer.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

from pipeline.core import payload, progress
from pipeline.core.offsets import Tracker
from pipeline.run.aftermath import Aftermath
from pipeline.run.batch import Batching
from pipeline.run.carry import Carrier
from pipeline.run.commits import Commits
from pipeline.run.consume import Intake
from pipeline.run.dispatch import Lane
from pipeline.run.release import Release
from pipeline.run.seen import Seen
from pipeline.run.settle import Settlement


class Swallowing:
    """A producer that acknowledges what goes to some topics, and drops it."""

    def __init__(self, producer: Any, topics: str) -> None:
        self._producer = producer
        self._topics = topics

    def produce(self, topic, key, content, headers, acked, partition=-1):
        if self._topics in topic:
            return self._producer.produce("nowhere", key, content, headers, acked, 0)
        return self._producer.produce(topic, key, content, headers, acked, partition)


def swallowing(patch, owner: type, method: str, topics: str) -> None:
    """Let one method write to a producer that drops what goes to these topics."""
    real = getattr(owner, method)

    def mutant(self, *arguments, **more):
        self._producer, producer = Swallowing(self._producer, topics), self._producer
        try:
            return real(self, *arguments, **more)
        finally:
            self._producer = producer

    patch(owner, method, mutant)


# ------------------------------------------------------------------------------------------- offsets and commits


def commits_what_is_open(patch):
    """PC 826: the highest offset seen was committed."""
    patch(Tracker, "watermark", lambda self: self.next)
    patch(Tracker, "finished", lambda _: [])


def commits_the_number_of_what_is_done(patch):
    """Faust 312, 606: gaps in the offsets moved the commit to the wrong place."""
    watermark = Tracker.watermark
    patch(Tracker, "watermark", lambda self: min(watermark(self) + 1, self.next) if self._empty else watermark(self))


def stalls_at_gaps(patch):
    """A high-water mark that wants each offset to be the one after the last (Pyrallel Consumer)."""
    received = Tracker.received

    def mutant(self, offset):
        if self.next not in (offset, -1) and offset > self.next:
            self._open[self.next] = None
        return received(self, offset)

    patch(Tracker, "received", mutant)


def calls_open_positions_finished(patch):
    patch(
        Tracker, "finished",
        lambda self: [(self.watermark() + 1, self.next)] if self.next > self.watermark() + 1 else [],
    )  # fmt: skip


def believes_any_metadata(patch):
    """PC 326, fork 480: what another program had committed was taken for what is finished."""
    patch(progress, "decode", lambda place, base, text: ((base + 1, base + 3),) if text and place else ())


def takes_no_note_of_gaps(patch):
    patch(Tracker, "_gap", lambda *_: None)


def commits_before_its_ledger_is_acked(patch):
    def mutant(self, tracker, first, upto, empty, then):
        then()
        write(self, tracker, first, upto, empty, lambda: None)

    write = Commits._write_ledger
    patch(Commits, "_write_ledger", mutant)


def commits_what_it_lost(patch):
    """Connect 4477, librdkafka 5604: commits for partitions that were another's by then."""

    def mutant(self, trackers):
        for tracker in trackers:
            tracker.in_flight = 0

    patch(Intake, "_forget", mutant)


def knows_the_old_assignment(patch):
    """PC 909: what was left of an old assignment stood for records of the new one."""
    patch(Settlement, "forget", lambda *_: [])


def leaves_without_draining(patch):
    """PC 777: whatever was under way was repeated after every revoke."""

    async def mutant(self, trackers, _budget_s):
        for tracker in trackers:
            tracker.leaving = True

    patch(Intake, "_drain", mutant)


def leaves_without_a_last_commit(patch):
    commit = Commits.commit
    patch(Commits, "commit", lambda self, tracker: None if tracker.leaving else commit(self, tracker))


def takes_what_was_posted_twice(patch):
    """Arroyo 299: submitted twice."""
    received = Tracker.received

    def mutant(self, offset):
        return True if offset < self.next and offset not in self._open and not self._open.update({offset: None}) else (
            received(self, offset)
        )  # fmt: skip

    patch(Tracker, "received", mutant)


def goes_on_after_a_refused_write(patch):
    """What a broker refused was taken for done: the lost dead letters of Knative, Arroyo and taskbroker."""
    acked = Settlement._acked
    patch(Settlement, "_acked", lambda self, flight, _refused, record: acked(self, flight, None, record))


def commits_behind_a_ledger_that_was_refused(patch):
    def mutant(self, tracker, piece, refused, record):
        if refused is not None:
            acked(self, tracker, piece, refused, record)
            return
        tracker.unacked -= 1
        piece.then()

    acked = Commits._acked
    patch(Commits, "_acked", mutant)


# --------------------------------------------------------------------------------------------------- settling


def takes_no_note_of_outcomes(patch):
    patch(Settlement, "_write_outcome", lambda self, delivery, *_, **__: self._acked(delivery.run.flight, None, None))


def forgets_runs_that_are_handed_over(patch):
    swallowing(patch, Carrier, "_write", ".retry.")


def loses_dead_letters(patch):
    """Knative: a dead letter that could not be written was committed all the same."""
    swallowing(patch, Settlement, "_dead_letter", ".dead")


def ends_what_is_over_once_more(patch):
    finish = Settlement.finish

    def mutant(self, delivery, *arguments):
        delivery.over = False
        finish(self, delivery, *arguments)

    patch(Settlement, "finish", mutant)


def drops_every_run_as_repeated(patch):
    patch(Seen, "hop", lambda *_: True)


def loses_what_waits_when_partitions_go(patch):
    patch(Lane, "release", lambda *_: None)
    patch(Settlement, "forget", lambda *_: [])


def forgets_what_is_parked(patch):
    patch(Aftermath, "park", lambda *_: None)


def waits_for_nothing(patch):
    """Connect 1352: Retry-After was not obeyed."""
    hold = Release.hold

    def mutant(self, records):
        hold(self, [replace(record, timestamp_ms=0) for record in records])

    patch(Release, "hold", mutant)
    later = Settlement.later
    patch(Settlement, "later", lambda self, delivery, due_ms, cls, **more: later(self, delivery, 0, cls, **more))


def gives_each_attempt_an_id(patch):
    patch(payload, "delivery_id", lambda *_: str(uuid.uuid4()))


def forgets_a_batch_but_its_first(patch):
    tell = Batching._tell

    def mutant(ended):
        tell(ended)
        del ended.members[1:]

    patch(Batching, "_tell", staticmethod(mutant))
