"""Decides what of one run is sent again: the steps that failed, and those that were skipped because they had.

A failed step is sent again if what it comes after still allows it; one that comes after another that is sent again
starts, or does not, as its edges say once that has ended. So does every step that was `skipped(upstream)`, if of all it
comes after it is known, or will be, how that ended. Steps that started after a failure (`a: [dead]`) and ended are not
undone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING, Final

from pipeline.core import journeys, replay, runstate
from pipeline.model import REPLAYED, UNSENT, Outcome, Result, SkipReason, value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pipeline.core.outcome import OutcomeRow
    from pipeline.core.replay import Target
    from pipeline.core.runstate import RunState

_ANSWERED: Final = (Outcome.DELIVERED, Outcome.DEFAULTED)

Place = tuple[int, int]
"""Partition and offset on the dead topic."""


@value
class Kept:
    """What a dead letter keeps of its run: how the steps before ended, which of these ever waited. No answers."""

    ended: Mapping[str, Result]
    retried: frozenset[str]


@value
class Chosen:
    """One delivery that may be sent again: its newest dead letter, its last outcome, its step of today.

    `kept` None: the letter keeps nothing of its run.
    """

    place: Place
    row: OutcomeRow
    target: Target
    cls: str
    ambiguous: bool = False
    kept: Kept | None = None


@value
class Rerun:
    """What is sent again of one run, as one retry record. Names are today's.

    `steps` are sent; `ahead` start as their edges say, chosen ones and `along`: the last outcomes of those that were
    skipped. `results` are of the steps that all these come after, without what was answered.
    """

    journey: str
    chosen: tuple[Chosen, ...]
    steps: tuple[str, ...]
    ahead: tuple[str, ...] = ()
    along: tuple[OutcomeRow, ...] = ()
    results: Mapping[str, Result] = field(default_factory=dict)
    retried: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many deliveries it has."""
        return len(self.chosen) + len(self.along)


def kept(state: RunState, names: Mapping[str, str]) -> Kept:
    """Return what of a letter's state decides; `names` are today's, by older ones. Answers are left to be read again.

    They may be large, and many letters are held at once.
    """
    ended = {
        names.get(name, name): Result(result.outcome, result.cls, result.status)
        for name, result in state.results.items()
    }
    return Kept(ended, frozenset(names.get(name, name) for name in state.retried))


def plan(
    journey: str, targets: Mapping[str, Target], failed: Sequence[Chosen], rows: Mapping[str, OutcomeRow]
) -> tuple[Rerun | None, Counter[str], int]:
    """Return what of a run is sent again, what of it is left alone by reason, and how many steps stay skipped for good.

    `targets` are its journey's steps of today, `rows` the last outcomes of its steps; `failed` are those asked for,
    oldest first. None if nothing is.
    """
    planning = _Planning(targets, failed, rows)
    planning.settle()
    return planning.rerun(journey), planning.left, len(planning.stuck) if planning.going else 0


class _Planning:
    """Narrows what is sent again until nothing speaks against the rest."""

    def __init__(self, targets: Mapping[str, Target], failed: Sequence[Chosen], rows: Mapping[str, OutcomeRow]) -> None:
        self.going = {each.target.name: each for each in failed}
        self.left: Counter[str] = Counter()
        self.stuck: set[str] = set()
        self._along: set[str] = set()
        self._targets = targets
        self._rows = rows
        letters = [each.kept for each in failed if each.kept is not None]
        self._ended = {name: result for letter in letters for name, result in letter.ended.items()}
        self._retried = frozenset(name for letter in letters for name in letter.retried)
        self._results = {name: result for name in targets if (result := self._result(name)) is not None}

    def settle(self) -> None:
        """Take away what cannot be sent again, until the rest can."""
        while self.going:
            self._spread()
            refused = {name: why for name in self.going if (why := self._refused(name))}
            if not refused:
                return
            for name, why in refused.items():
                del self.going[name]
                self.left[why] += 1

    def rerun(self, journey: str) -> Rerun | None:
        """Return what is left."""
        if not self.going:
            return None
        steps = tuple(name for name in self.going if not self._before(name) & self.going.keys())
        ahead = tuple(
            name for name in self._targets if name in self._along or (name in self.going and name not in steps)
        )
        needed = journeys.before([*steps, *ahead], self._targets.values()) - {*steps, *ahead}
        # One that waits elsewhere would be waited for in vain.
        results = {
            name: result
            for name, result in self._results.items()
            if name in needed and not (ahead and result.outcome is Outcome.RETRYING)
        }
        along = tuple(self._rows[name] for name in ahead if name in self._along)
        retried = tuple(sorted(self._retried & needed))
        return Rerun(journey, tuple(self.going.values()), steps, ahead, along, results, retried)

    # -------------------------------------------------------------------------------------------- what is known

    def _result(self, name: str) -> Result | None:
        """Return how a step ended, by its last outcome, else as a letter has it."""
        row = self._rows.get(name)
        if row is None:
            return self._ended.get(name)
        unsent = row.outcome is Outcome.SKIPPED and row.reason in UNSENT
        return Result(Outcome.DELIVERED if unsent else row.outcome, row.reason, row.status)

    def _known(self, name: str) -> bool:
        """Whether it is known how a step ended and, if steps after it may read that, what it was answered."""
        result = self._results.get(name)
        if result is None or result.outcome is Outcome.RETRYING:
            return False
        if name not in self._targets or not self._targets[name].keeps or result.outcome not in _ANSWERED:
            return True
        told = self._ended.get(name)  # which has the answer, if there was one
        return told is not None and told.outcome is result.outcome

    def _before(self, name: str) -> set[str]:
        return journeys.before([name], self._targets.values())

    def _waits(self, names: Iterable[str]) -> bool:
        return any((result := self._results.get(name)) and result.outcome is Outcome.RETRYING for name in names)

    # ------------------------------------------------------------------------------------------- what goes along

    def _spread(self) -> None:
        """Find the skipped steps that go along, and those that would have to but cannot."""
        along = {name for name in self._targets if self._was_skipped(name) and self._before(name) & self.going.keys()}
        self.stuck = set()
        while stuck := {name for name in along if not self._decided(name, along)}:
            along -= stuck
            self.stuck |= stuck
        self._along = along

    def _was_skipped(self, name: str) -> bool:
        row = self._rows.get(name)
        return row is not None and row.outcome is Outcome.SKIPPED and row.reason == SkipReason.UPSTREAM

    def _decided(self, name: str, along: Collection[str]) -> bool:
        """Whether of all steps that one comes after it is known, or will be, how they ended."""
        parents = [edge.parent for edge in self._targets[name].after]
        return all(
            each in self.going or each in along or (each not in self.stuck and self._known(each)) for each in parents
        )

    def _refused(self, name: str) -> str:
        """Say why a failed step is not sent again, "" if it is."""
        target = self._targets[name]
        before = self._before(name)
        if any(name in (found := self._before(stuck)) and self._waits(found) for stuck in self.stuck):
            return replay.RUNS
        if not target.after:
            return ""
        if before & self.going.keys():
            return "" if self._decided(name, self._along) else replay.RUNS if self._waits(before) else replay.NO_RESULTS
        if self.going[name].kept is None and not all(map(self._known, before)):
            return replay.NO_RESULTS
        starts = journeys.ready(target, self._results, self._retried)
        if starts is None and self._waits(edge.parent for edge in target.after):
            return replay.RUNS
        return replay.UPSTREAM if starts is False else ""


# ----------------------------------------------------------------------------------------------------- what is written


def state(
    rerun: Rerun, letters: Iterable[RunState], names: Mapping[str, str], now_ms: int, due_ms: int
) -> runstate.RunState:
    """Return the state of the retry record; `letters` have what steps were answered, `names` are today's by older ones.

    It has no hash: what failed under yesterday's configuration is replayed because today's is another.
    """
    first = rerun.chosen[0].row
    answers = {
        (names.get(name, name), result.outcome): result.response
        for letter in letters
        for name, result in letter.results.items()
    }
    results = {
        name: Result(each.outcome, each.cls, each.status, answers.get((name, each.outcome)))
        for name, each in rerun.results.items()
    }
    ambiguous = {each.target.name: each.ambiguous for each in rerun.chosen}
    hop = max(row.hop for row in (*(each.row for each in rerun.chosen), *rerun.along))
    return runstate.RunState(
        journey=rerun.journey, hash="", event_id=first.event_id,
        source=(first.topic, first.partition, first.offset, first.record_time_ms), deliveries=first.deliveries,
        started_ms=now_ms, hop=hop + 1, parks=0, due_ms=due_ms, trace_id=first.trace_id, sampled=False, link="",
        steps={
            name: runstate.StepState(0, due_ms, 0, REPLAYED, 0, ambiguous[name]) for name in rerun.steps
        },
        ahead=rerun.ahead, results=results, retried=rerun.retried,
    )  # fmt: skip
