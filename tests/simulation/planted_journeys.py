"""Bugs of graphs, gates, marks and memory, to be planted: each takes `setattr` and puts itself into the product."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.core import gates, journeys
from pipeline.core.gates import consent, contacts, suppression
from pipeline.core.memory import Shelf
from pipeline.core.switches import Held
from pipeline.model import Outcome, SkipReason
from pipeline.run.follow import Follow
from pipeline.run.lines import Entry
from pipeline.run.memory import Recall
from pipeline.run.recheck import Recheck
from pipeline.run.resume import Resume
from pipeline.run.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable


from tests.simulation.planted_commits import Swallowing

# ------------------------------------------------------------------------------------------------------ graphs


def joins_all_at_the_first(patch):
    ready = journeys.ready
    patch(journeys, "ready", lambda step, *more: ready(replace(step, any_parent=True), *more))


def starts_whatever_ended_before(patch):
    ready = journeys.ready
    patch(journeys, "ready", lambda *given: True if ready(*given) is False else ready(*given))


def forgets_answers_when_it_resumes(patch):
    restore = Resume._restore

    def mutant(self, run, state, known, datum, why):
        emptied = {name: replace(result, response={"code": "of another run"}) if result.response else result
                   for name, result in state.results.items()}  # fmt: skip
        restore(self, run, replace(state, results=emptied), known, datum, why)

    patch(Resume, "_restore", mutant)


def forgets_what_comes_after_when_it_resumes(patch):
    restore = Resume._restore
    patch(Resume, "_restore", lambda self, run, state, *more: restore(self, run, replace(state, ahead=()), *more))


# ------------------------------------------------------------------------------------------ gates, marks, memory


def sends_without_consent(patch):
    patch(consent, "granted", lambda *_: True)


def asks_for_consent_once(patch):
    """Asked when an event came, and never again: not before attempts, not at retries."""
    patch(Recheck, "passes", lambda *_, **__: True)
    patch(gates, "ask", _only_first(gates.ask))


def _only_first(ask: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(delivery, *more):
        return ask(delivery, *more) if delivery.run.hop == 0 and not delivery.attempts else None

    return mutant


def lets_the_newest_grant_win(patch):
    merged = consent.merged
    patch(consent, "merged", lambda event, *more: {**merged(event, *more), **event.consent})


def believes_stale_tables(patch):
    ask = gates.ask
    patch(gates, "ask", lambda delivery, event, datum, known, *more: ask(
        delivery, event, datum, replace(known, stale_ms=0), *more))  # fmt: skip


def suppresses_nobody(patch):
    patch(suppression, "active", lambda *_: False)


def sends_to_the_erased(patch):
    ask = gates.ask
    patch(gates, "ask", lambda delivery, event, datum, known, *more: ask(
        delivery, event, datum, replace(known, erased_ms=0), *more))  # fmt: skip


def cancels_nothing(patch):
    patch(gates, "_cancelled", lambda *_: False)


def cancels_only_what_is_new(patch):
    of_run = gates.of_run

    def mutant(run, *more):
        gate = of_run(run, *more)
        return None if gate is SkipReason.CANCELLED and run.hop else gate

    patch(gates, "of_run", mutant)


def remembers_no_event(patch):
    patch(Recall, "notice", lambda *_: False)


def remembers_before_it_is_written(patch):
    """The position did not wait for what is remembered: lost with the first crash."""
    remember = Recall.remember

    def mutant(self, flight, entry, at_ms, until_ms, _write):
        self._producer, producer = Swallowing(self._producer, ".memory"), self._producer
        try:
            return remember(self, flight, entry, at_ms, until_ms, lambda _flight: self._acked)
        finally:
            self._producer = producer

    patch(Recall, "remember", mutant)


def does_not_wait_for_memory(patch):
    """A partition's new owner began before it had read what was remembered."""
    patch(Recall, "_current", lambda *_: True)


def lets_everybody_enter(patch):
    patch(Recall, "enter", lambda *_: None)


def counts_no_contact(patch):
    patch(Recall, "contacted", lambda *_: None)


def knows_no_cap(patch):
    patch(contacts, "capped", lambda *_: False)


def forgets_what_is_later(patch):
    put = Shelf.put
    patch(Shelf, "put", lambda self, customer, entry: put(self, customer, replace(entry, at_ms=entry.at_ms - 60_000)))


def says_it_marked(patch):
    def mutant(self, delivery, _mark):
        self._settlement.finish(delivery, Outcome.DELIVERED, "", "")

    patch(Follow, "_mark", mutant)


def obeys_no_pause(patch):
    patch(Held, "__call__", lambda *_: "")


# ------------------------------------------------------------------------------------------------------- order


def lets_events_of_a_customer_go_side_by_side(patch):
    init = Entry.__init__
    patch(Entry, "__init__", lambda self, log, record, _, size: init(self, log, record, b"%d" % record.offset, size))


def goes_on_with_a_log_before_it_was_looked_back_into(patch):
    async def mutant(self, log):
        log.whole = True

    patch(Turns, "_look_back", mutant)
