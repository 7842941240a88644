"""The simulation is sound on the product, repeats itself by seed, and catches bugs that are planted in the product."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from pipeline.adapters.schemas import Folders, packaged
from pipeline.config.load import load
from pipeline.core import payload
from pipeline.core.gates import consent
from pipeline.core.offsets import Tracker
from pipeline.run.carry import Carrier
from pipeline.run.commits import Commits
from pipeline.run.consume import Intake
from pipeline.run.dispatch import Lane
from pipeline.run.lines import Entry
from pipeline.run.past import Past
from pipeline.run.resume import Resume
from pipeline.run.settle import Settlement
from pipeline.run.turns import Turns
from pipeline.testing.stage.simulation import SAMPLES, Simulation

SEEDS = 20
"""Sound on each of these; `hookline simulate` runs as many as are asked for."""
CAUGHT_WITHIN = 150


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    config = load(Path("pipeline/cli/demo/configuration"), None)
    return Simulation(config, dict(Folders((packaged(),)).readers), SAMPLES)


def test_what_is_promised_holds(simulation):
    found = [simulation.run(seed) for seed in range(SEEDS)]
    assert [each for each in found if each.flaws] == []
    assert sum(each.events for each in found) > 10 * SEEDS
    assert len({fault for each in found for fault in each.faults}) == 7


def test_the_same_seed_is_the_same_run(simulation):
    for seed in (3, 7, 11):
        assert simulation.run(seed) == simulation.run(seed)
    assert simulation.run(7) != simulation.run(8)


class Swallowing:
    """A producer that acknowledges what goes to a retry topic, and drops it."""

    def __init__(self, producer) -> None:
        self._producer = producer

    def produce(self, topic, key, content, headers, acked, partition=-1):
        if ".retry." in topic:
            return self._producer.produce("nowhere", key, content, headers, acked, 0)
        return self._producer.produce(topic, key, content, headers, acked, partition)


def commits_what_is_open(patch):
    patch(Tracker, "watermark", lambda self: self.next)
    patch(Tracker, "finished", lambda _: [])


def calls_open_positions_finished(patch):
    patch(
        Tracker,
        "finished",
        lambda self: [(self.watermark() + 1, self.next)] if self.next > self.watermark() + 1 else [],
    )


def takes_no_note_of_outcomes(patch):
    patch(Settlement, "_write_outcome", lambda self, delivery, *_, **__: self._acked(delivery.run.flight, None, None))


def forgets_runs_that_are_handed_over(patch):
    write = Carrier._write

    def mutant(self, *arguments):
        self._producer, producer = Swallowing(self._producer), self._producer
        try:
            return write(self, *arguments)
        finally:
            self._producer = producer

    patch(Carrier, "_write", mutant)


def drops_every_run_as_repeated(patch):
    patch(Resume, "repeated", lambda *_: True)


def gives_each_attempt_an_id(patch):
    patch(payload, "delivery_id", lambda *_: str(uuid.uuid4()))


def sends_without_consent(patch):
    patch(consent, "granted", lambda *_: True)


def leaves_without_draining(patch):
    async def mutant(self, trackers, _budget_s):
        for tracker in trackers:
            tracker.leaving = True

    patch(Intake, "_drain", mutant)


def leaves_without_a_last_commit(patch):
    commit = Commits.commit
    patch(Commits, "commit", lambda self, tracker: None if tracker.leaving else commit(self, tracker))


def takes_what_was_posted_twice(patch):
    received = Tracker.received

    def mutant(self, offset):
        return True if offset < self.next and offset not in self._open and not self._open.update({offset: None}) else (
            received(self, offset)
        )  # fmt: skip

    patch(Tracker, "received", mutant)


def commits_what_it_lost(patch):
    def mutant(self, trackers):
        for tracker in trackers:
            tracker.in_flight = 0

    patch(Intake, "_forget", mutant)


def loses_what_waits_when_partitions_go(patch):
    patch(Lane, "release", lambda *_: None)
    patch(Settlement, "forget", lambda *_: None)


def lets_events_of_a_customer_go_side_by_side(patch):
    init = Entry.__init__
    patch(Entry, "__init__", lambda self, log, record, _, size: init(self, log, record, b"%d" % record.offset, size))


def takes_copies_up_again(patch):
    patch(Past, "see", lambda *_: False)


def forgets_what_is_over_until_it_is_committed(patch):
    patch(Past, "over", lambda *_: False)


def goes_on_with_a_log_before_it_was_looked_back_into(patch):
    async def mutant(self, log):
        log.whole = True

    patch(Turns, "_look_back", mutant)


MUTANTS = [each for name, each in list(globals().items()) if callable(each) and getattr(each, "__code__", None)
           and each.__code__.co_varnames[:1] == ("patch",)]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda each: each.__name__)
def test_a_planted_bug_is_caught(simulation, monkeypatch, mutant):
    mutant(monkeypatch.setattr)
    for seed in range(CAUGHT_WITHIN):
        if simulation.run(seed).flaws:
            return
    pytest.fail(f"not caught by {CAUGHT_WITHIN} seeds")
