"""Asks at the end of a run whether everything came out: the account, every outcome, the order of steps, what is kept.

Like `promises` it is written against the documentation, from what was published, answered and written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import topics
from pipeline.core.account import Account
from pipeline.known import TURN
from pipeline.model import Outcome, SkipReason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from pipeline.config.models import StepConfig
    from pipeline.core.outcome import OutcomeRow
    from pipeline.testing.simulation.books import Books
    from pipeline.testing.simulation.facts import Facts, Published
    from pipeline.testing.simulation.promises import Promises
    from pipeline.testing.stage.broker import Place, StageBroker

_RUN: Final = frozenset({
    SkipReason.STALE, SkipReason.CANCELLED, SkipReason.ONCE, SkipReason.DUPLICATE, SkipReason.ERASED,
    SkipReason.STATUS, SkipReason.DROPPED,
})  # fmt: skip
"""Reasons that end what is left of a run, whatever its edges say."""
_PUT_OFF: Final = ("", TURN, SkipReason.UPSTREAM)
"""Reasons to wait that are none of the step itself: its worker stopped, its turn or the steps before it are to come."""
_FAILED: Final = (Outcome.DEAD, Outcome.REJECTED)


class Closing:
    """Of one run that has come to its end."""

    def __init__(
        self, facts: Facts, promises: Promises, broker: StageBroker, books: Books, taken: Counter[str]
    ) -> None:
        """`taken`: how often systems did what each delivery asked for, and said so."""
        self._facts = facts
        self._promises = promises
        self._broker = broker
        self._taken = taken
        group = facts.config.group
        self._group = group
        self._rows, self._ledger = books.rows, books.ledgers
        self._runs: dict[tuple[Place, int, str], dict[str, list[OutcomeRow]]] = defaultdict(lambda: defaultdict(list))
        for row in self._rows:
            self._runs[(row.topic, row.partition), row.offset, row.journey][row.step].append(row)

    def flaws(self) -> Iterator[str]:
        """Yield everything that did not hold."""
        yield from self._account()
        yield from self._deliveries()
        yield from self._remembered()
        yield from self._entered()
        yield from self._dead()
        if not self._facts.crashed():
            yield from self._once_each()
            yield from self._told()
            yield from self._graphs()

    # -------------------------------------------------------------------------------------------- the account

    def _account(self) -> Iterator[str]:
        """Balance as `hookline account` does."""
        account: Any = Account()  # its rows are protocols that frozen values keep but for the type checker
        for row in self._rows:
            account.outcome(row)
        for ledger in self._ledger:
            account.ledger(ledger)
        places = sorted({place for place in self._broker.logs if place[0].startswith("stage.")})
        committed = {place: self._broker.committed.get((self._group, *place), (0, ""))[0] for place in places}
        now_ms = self._facts.now_ms()
        report = account.report(committed, dict.fromkeys(places, 0), now_ms, 0, now_ms)
        if report.missing_count:
            first = report.missing[0]
            yield f"{report.missing_count} committed positions are not accounted for, such as {first}"
        if report.waiting:
            yield f"{report.waiting} deliveries have no final outcome"
        open_ = sum(self._broker.logs[place].last - committed[place] for place in places)
        if open_:
            yield f"{open_} positions were never committed"

    def _deliveries(self) -> Iterator[str]:
        """Each event that starts a journey has an outcome of each of its steps, and no other event has any."""
        expected: set[tuple[Place, int, str]] = set()
        for event in (*self._facts.events.values(), *self._facts.copies):
            for journey in self._facts.starts(event):
                run = event.place, event.offset, journey.name
                expected.add(run)
                for step in journey.steps:
                    if not any(row.outcome is not Outcome.RETRYING for row in self._runs[run][step.name]):
                        yield f"event {event.number} {journey.name}.{step.name} has no outcome"
        for run, steps in self._runs.items():
            if steps and run not in expected:
                yield f"{run[2]} ran for position {run[1]} of {run[0][0]}/{run[0][1]}, which does not start it"
        ids = {name: set(each) for name, each in self._promises.ids.items()}
        for row in self._rows:
            ids.setdefault((row.event_id, row.journey, row.step), set()).add(row.delivery_id)
        for (event_id, journey_name, step_name), several in ids.items():
            if len(several) > 1:
                yield f"{self._facts.name(event_id)} {journey_name}.{step_name} had two delivery IDs"

    def _once_each(self) -> Iterator[str]:
        """Where nothing crashed, a delivery is taken once and ends once, and nothing is sent after that."""
        copied = {each.id for each in self._facts.copies}
        for delivery_id, count in self._taken.items():
            if count > 1:
                row = next(each for each in self._rows if each.delivery_id == delivery_id)
                if row.event_id not in copied:
                    which = f"{self._facts.name(row.event_id)} {row.journey}.{row.step}"
                    yield f"{which} was taken {count} times, and nothing had crashed"
        for (_, _, journey), steps in self._runs.items():
            for step, rows in steps.items():
                ends = [row for row in rows if row.outcome is not Outcome.RETRYING]
                if len(ends) > 1:
                    yield f"{self._facts.name(rows[0].event_id)} {journey}.{step} ended {len(ends)} times"

    # ------------------------------------------------------------------------------------------- what is kept

    def _remembered(self) -> Iterator[str]:
        """What journeys wait for is on the memory topic before its position is committed."""
        facts = self._facts
        rules = [rule for journey in facts.config.journeys.values() for rule in journey.cancel_on]
        waited = {rule.event for rule in rules}
        whatever = {rule.event for rule in rules if rule.match == "true"}  # whatever its key
        for event in facts.events.values():
            if event.type not in waited or self._is_erased(event.customer):
                continue
            if not any(  # of two under one key the later counts
                entry.by_ms >= event.at_ms and (event.type in whatever or facts.events[entry.by].key == event.key)
                for entry in facts.happened[event.customer, event.type]
            ):
                yield f"event {event.number}, for which a journey waits, is not remembered"

    def _entered(self) -> Iterator[str]:
        """Nobody enters a journey twice with a key that it takes once."""
        entered: dict[tuple[str, str, str], set[int]] = defaultdict(set)
        for journey in self._facts.config.journeys.values():
            for event in self._facts.events.values() if journey.trigger.once is not None else ():
                ids = (self._promises.ids.get((event.id, journey.name, step.name), ()) for step in journey.steps)
                if any(ids) and not self._is_erased(event.customer):
                    entered[journey.name, event.customer, event.key].add(event.number)
        for (name, _, _), numbers in entered.items():
            if len(numbers) > 1:
                yield f"{name}, which a customer enters once, was entered by events {sorted(numbers)}"

    def _told(self) -> Iterator[str]:
        """What was delivered is remembered where caps count it; what was marked is known."""
        facts = self._facts
        capped = {(cap.category, cap.channel) for cap in facts.config.caps}
        contacts = {each.by for all_ in facts.contacts.values() for each in all_}
        for row in self._rows:
            if row.outcome is not Outcome.DELIVERED:
                continue
            journey = facts.config.journeys[row.journey]
            step = next(each for each in journey.steps if each.name == row.step)
            which = f"{facts.name(row.event_id)} {row.journey}.{row.step}"
            if (journey.category, step.reaches) in capped and journey.basis_of(step) != "legal_obligation":
                if row.delivery_id not in contacts:
                    yield f"{which} reached its customer, and is not remembered"
            elif step.mark is not None and not self._marked(step, facts.events[row.event_id]):
                yield f"{which} marked something, and nobody knows of it"

    def _marked(self, step: StepConfig, event: Published) -> bool:
        mark = step.mark
        assert mark is not None
        known = self._facts.words.within(event.customer, 0.0)
        if mark.consent is not None:
            key, granted = mark.consent.key, mark.consent.state == "granted"
            return any(each.consent[key].granted == granted or each.consent[key].at_ms > event.at_ms
                       for each in known if key in each.consent)  # fmt: skip
        id_ = f"reason:{event.key}"
        if mark.suppress is not None:
            return any(each.id == id_ for all_ in known for each in all_.suppressions)
        return True

    def _is_erased(self, customer: str) -> bool:
        return bool(self._facts.words.at(customer, self._facts.now_s()).erased_ms)

    def _dead(self) -> Iterator[str]:
        """What failed for good is on the dead topic, with the record it came from; so is what is no event."""
        letters: set[str] = set()
        positions: dict[tuple[str, int, int], bytes | None] = {}
        for record in self._broker.of(topics.dead(self._group)):
            header = {name: (content or b"").decode(errors="replace") for name, content in record.headers}
            if "hookline-delivery-id" in header:
                letters.add(header["hookline-delivery-id"])
            place = header["hookline-source-topic"], int(header["hookline-source-partition"])
            positions[(*place, int(header["hookline-source-offset"]))] = record.value
        # A crash may come between outcome and dead letter; then the delivery is done again, and may end otherwise.
        otherwise = {row.delivery_id for row in self._rows if row.outcome not in (*_FAILED, Outcome.RETRYING)}
        for row in self._rows:
            if row.outcome in _FAILED and row.delivery_id not in letters | otherwise:
                yield f"{self._facts.name(row.event_id)} {row.journey}.{row.step} is dead, and on no dead topic"
        for position, content in self._facts.garbage.items():
            if content is not None and positions.get(position, b"") != content:
                yield f"position {position[2]} of {position[0]}/{position[1]} is no event, and on no dead topic"

    # ------------------------------------------------------------------------------------------------- graphs

    def _graphs(self) -> Iterator[str]:
        """Steps ran if, and only if, those before them ended so that they may."""
        for event in (*self._facts.events.values(), *self._facts.copies):
            for journey in self._facts.starts(event):
                rows = self._runs[event.place, event.offset, journey.name]
                for step in journey.steps:
                    if step.after and (what := self._misplaced(step, rows)):
                        yield f"event {event.number} {journey.name}.{step.name} {what}"

    @staticmethod
    def _misplaced(step: StepConfig, rows: Mapping[str, list[OutcomeRow]]) -> str:
        end = _end(rows.get(step.name, ()))
        if end is None or (end.outcome is Outcome.SKIPPED and end.reason in _RUN):
            return ""
        may = [bool(_ended(rows.get(parent, ())) & set(allowed)) for parent, allowed in step.after.items()]
        starts = any(may) if step.join == "any" else all(may)
        upstream = end.outcome is Outcome.SKIPPED and end.reason == SkipReason.UPSTREAM
        if not starts and not upstream:
            return "ran, though those before it ended otherwise"
        if starts and upstream:
            return "did not run, though those before it ended as they should"
        return ""


def _end(rows: Iterable[OutcomeRow]) -> OutcomeRow | None:
    return next((row for row in rows if row.outcome is not Outcome.RETRYING), None)


def _ended(rows: Collection[OutcomeRow]) -> set[str]:
    """Return the words an edge may name for how a step ended: what was only rendered counts as delivered.

    One that was put off without a reason of its own did not wait as an edge means it.
    """
    words = {row.outcome.value for row in rows if row.outcome is not Outcome.RETRYING or row.reason not in _PUT_OFF}
    if any(row.reason == SkipReason.SHADOW for row in rows):
        words = words - {Outcome.SKIPPED.value} | {Outcome.DELIVERED.value}
    return words
