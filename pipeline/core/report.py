"""Decides what came of journeys: runs, outcomes by step, skips by reason, and success of who was treated and held out.

Success is counted by customer: one that entered several times succeeded if any of those runs did. Who was held out is
compared with everybody who was not, whatever the gates said to them later: the draw alone tells the two apart.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, sqrt
from typing import TYPE_CHECKING, Final, Protocol

from pipeline.model import Outcome, SkipReason, last_word, value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

RUNS_MAX: Final = 1_000_000
"""Runs that are kept in memory, some 750 bytes each; the outcomes of what is beyond are counted and left out."""
SUCCESSES_MAX: Final = 1_000_000
"""Events of success that are kept, some 600 bytes each."""
TREATED: Final = "treated"
HOLDOUT: Final = "holdout"
Z_95: Final = 1.959964
"""Of the normal distribution: 95% of it are within so many standard deviations."""

_NOT_IN: Final = frozenset({
    SkipReason.ROLLOUT, SkipReason.DUPLICATE, SkipReason.ONCE, SkipReason.STATUS, SkipReason.SHADOW, SkipReason.DRY,
})  # fmt: skip
"""Why a run is in neither group: its customer was not let in, or nothing was to be sent at all."""
_BEFORE: Final = frozenset({SkipReason.STALE, SkipReason.CONDITION_ERROR})
"""What is refused before the draw, if it is every step that is: a single one may be skipped for that after it."""

Source = tuple[str, int, int]
"""Input topic, partition and offset of the event that started a run."""


class OutcomeLike(Protocol):
    """What is read of an outcome row (schemas/outcome.avsc). Times are Unix ms."""

    journey: str
    step: str
    event_id: str
    topic: str
    partition: int
    offset: int
    event_time_ms: int
    outcome: Outcome
    reason: str
    settled_at_ms: int
    hop: int


@value
class Group:
    """Customers of one group whose window is over. `worth` is the sum of `success.value`, None without one."""

    customers: int
    succeeded: int
    worth: float | None

    @property
    def rate(self) -> float:
        """The share that succeeded, 0 of nobody."""
        return self.succeeded / self.customers if self.customers else 0.0


@value
class Compared:
    """Success within the window, treated and held out. `low` and `high` bound the difference of the rates, at 95%.

    `open`: customers whose window is not over; `unknown`: runs whose trigger could not be read any more.
    """

    treated: Group
    holdout: Group
    open: int
    unknown: int
    low: float
    high: float


@value
class Fresh:
    """How old a fact was when the system of a step had it: from the event's own time until it was delivered."""

    step: str
    delivered: int
    p50_ms: int
    p95_ms: int


@value
class Journey:
    """What came of one journey. `steps` has outcomes by step, `reasons` by step and outcome, in words."""

    name: str
    runs: int
    skipped: int  # as a whole, for one reason
    steps: Mapping[str, Mapping[str, int]]
    reasons: Mapping[str, Mapping[str, int]]
    skips: Mapping[str, int]
    success: Compared | None = None
    fresh: tuple[Fresh, ...] = ()


class _Run:
    """One run as its rows tell. `group` is settled once all are in."""

    __slots__ = ("at_ms", "customer", "id", "match", "seen", "words")

    def __init__(self) -> None:
        self.words: dict[str, tuple[tuple[bool, int, bool, bool, int], Outcome, str, int]] = {}
        self.at_ms = 0
        self.id = ""
        self.customer = ""
        self.match: str | None = None
        self.seen = False

    def group(self) -> str:
        reasons = {reason if outcome is Outcome.SKIPPED else "" for _, outcome, reason, _ in self.words.values()}
        if SkipReason.HOLDOUT in reasons:
            return HOLDOUT
        if reasons & _NOT_IN or (len(reasons) == 1 and reasons <= _BEFORE):
            return ""
        return TREATED


@value
class _Happened:
    id: str
    at_ms: int
    match: str | None
    worth: float | None = None


@value
class Wanted:
    """What a journey counts as success, in so many ms after the run's event."""

    within_ms: int
    correlated: bool  # whether its match asks for anything
    valued: bool = False


def of_copy(event_id: str) -> Source:
    """Return what a run of a copied event is known by."""
    return event_id, -1, -1


class Report:
    """Takes all outcomes, then all events. Owner: the command."""

    def __init__(self, wanted: Mapping[str, Wanted], copies: str = "") -> None:
        """`wanted`: by journey, for those that say what success is. `copies`: the topic of copied events, if any are.

        Their outcomes name the copy's position; the input's record is known by the event's ID.
        """
        self._copies = copies
        self._wanted = wanted
        self._runs: dict[tuple[str, Source], _Run] = {}
        self._at: dict[Source, list[tuple[str, _Run]]] = {}
        self._happened: dict[tuple[str, str], list[_Happened]] = {}
        self._kept = 0
        self.beyond = [0, 0]

    def outcome(self, row: OutcomeLike) -> None:
        """Take one row; of each step the last word counts."""
        source = (row.topic, row.partition, row.offset) if row.topic != self._copies else of_copy(row.event_id)
        run = self._runs.get((row.journey, source))
        if run is None:
            if len(self._runs) >= RUNS_MAX:
                self.beyond[0] += 1
                return
            run = self._runs[row.journey, source] = _Run()
            run.id, run.at_ms = row.event_id, row.event_time_ms
            self._at.setdefault(source, []).append((row.journey, run))
        word = last_word(row)
        was = run.words.get(row.step)
        if was is None or word >= was[0]:
            run.words[row.step] = word, row.outcome, row.reason, row.settled_at_ms

    def judges(self) -> bool:
        """Whether any run is to be judged by what came after it."""
        return any(journey in self._wanted for journey, _ in self._runs)

    def started(self, source: Source) -> Iterator[str]:
        """Yield the journeys with a success that an event at this position started."""
        for journey, _ in self._at.get(source, ()):
            if journey in self._wanted:
                yield journey

    def trigger(self, journey: str, source: Source, customer: str, match: str | None) -> None:
        """Say who a run is of, and the correlation of its event."""
        run = self._runs[journey, source]
        run.customer, run.match, run.seen = customer, match, True

    def success(
        self, journey: str, event_id: str, customer: str, at_ms: int, match: str | None, worth: float | None
    ) -> None:
        """Take one event that is success for a journey, at its own time."""
        if self._kept >= SUCCESSES_MAX:
            self.beyond[1] += 1
            return
        self._kept += 1
        self._happened.setdefault((journey, customer), []).append(_Happened(event_id, at_ms, match, worth))

    def journeys(self, names: Iterable[str], now_ms: int) -> Iterator[Journey]:
        """Yield what came of each of these, whether or not anything did."""
        by_name: dict[str, list[_Run]] = {name: [] for name in names}
        for (name, _), run in self._runs.items():
            if name in by_name:
                by_name[name].append(run)
        for name, runs in by_name.items():
            wanted = self._wanted.get(name)
            compared = None if wanted is None else self._compared(name, wanted, runs, now_ms)
            yield _journey(name, runs, compared)

    def _compared(self, name: str, wanted: Wanted, runs: Iterable[_Run], now_ms: int) -> Compared:
        groups: dict[str, dict[str, list[_Run]]] = {TREATED: {}, HOLDOUT: {}}
        unknown, still_open = 0, set()
        for run in runs:
            group = run.group()
            if not group:
                continue
            if not run.seen:
                unknown += 1
            elif run.at_ms + wanted.within_ms > now_ms:
                still_open.add(run.customer)
            else:
                groups[group].setdefault(run.customer, []).append(run)
        treated, holdout = (self._group(name, wanted, groups[group]) for group in (TREATED, HOLDOUT))
        low, high = difference(treated, holdout)
        return Compared(treated, holdout, len(still_open), unknown, low, high)

    def _group(self, name: str, wanted: Wanted, customers: Mapping[str, list[_Run]]) -> Group:
        succeeded, worth = 0, 0.0
        for customer, runs in customers.items():
            found = {
                each.id: each.worth or 0.0  # once, however often it was produced
                for each in self._happened.get((name, customer), ())
                if any(_meant(run, each, wanted) for run in runs)
            }
            succeeded += bool(found)
            worth += sum(found.values())
        return Group(len(customers), succeeded, worth if wanted.valued else None)


def _meant(run: _Run, each: _Happened, wanted: Wanted) -> bool:
    """Whether an event is the success of a run: in its window, and with the same correlation if one is asked for."""
    if each.id == run.id or not run.at_ms <= each.at_ms <= run.at_ms + wanted.within_ms:
        return False
    return not wanted.correlated or (run.match is not None and run.match == each.match)


def difference(treated: Group, holdout: Group) -> tuple[float, float]:
    """Return the 95% bounds of the difference of two rates; (-1, 1) if one of the groups is empty.

    Newcombe's method 10 (Statistics in Medicine 17, 1998, 873-890), from Wilson's score intervals: right for small
    groups and rates near 0, where the usual formula is not.
    """
    if not (treated.customers and holdout.customers):
        return -1.0, 1.0
    low_a, high_a = _wilson(treated)
    low_b, high_b = _wilson(holdout)
    between = treated.rate - holdout.rate
    low = between - sqrt((treated.rate - low_a) ** 2 + (high_b - holdout.rate) ** 2)
    high = between + sqrt((high_a - treated.rate) ** 2 + (holdout.rate - low_b) ** 2)
    return low, high


def _wilson(group: Group) -> tuple[float, float]:
    number, rate, squared = group.customers, group.rate, Z_95**2
    middle = (rate + squared / (2 * number)) / (1 + squared / number)
    half = Z_95 / (1 + squared / number) * sqrt(rate * (1 - rate) / number + squared / (4 * number**2))
    return middle - half, middle + half


def _journey(name: str, runs: Iterable[_Run], compared: Compared | None) -> Journey:
    steps: dict[str, Counter[str]] = {}
    reasons: dict[str, Counter[str]] = {}
    skips: Counter[str] = Counter()
    ages: dict[str, list[int]] = {}
    number = whole = 0
    for run in runs:
        number += 1
        skipped = {reason for _, outcome, reason, _ in run.words.values() if outcome is Outcome.SKIPPED}
        if len(skipped) == 1 and all(outcome is Outcome.SKIPPED for _, outcome, _, _ in run.words.values()):
            whole += 1
            skips.update(skipped)
        for step, (_, outcome, reason, settled_ms) in run.words.items():
            if outcome is Outcome.DELIVERED:
                ages.setdefault(step, []).append(max(settled_ms - run.at_ms, 0))
            steps.setdefault(step, Counter())[outcome.value] += 1
            if reason:
                reasons.setdefault(step, Counter())[f"{outcome.value}({reason})"] += 1
    fresh = tuple(_fresh(step, sorted(found)) for step, found in ages.items())
    return Journey(name, number, whole, steps, reasons, dict(skips.most_common()), compared, fresh)


def _fresh(step: str, ages_ms: Sequence[int]) -> Fresh:
    """Take nearest-rank percentiles of what is sorted."""
    p50_ms, p95_ms = (ages_ms[max(ceil(share * len(ages_ms)) - 1, 0)] for share in (0.5, 0.95))
    return Fresh(step, len(ages_ms), p50_ms, p95_ms)
