"""Decides which committed positions of one input partition are accounted for, and adds up what became of them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from itertools import groupby
from math import ceil
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from pipeline.core.account import ranges, rows
from pipeline.model import Outcome, value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.core.account.ranges import Range, Ranges
    from pipeline.core.account.rows import PartitionRows, Reasons, Waiting

NAMED_MAX: Final = 20
"""Missing positions and waiting deliveries that are named unless more are asked for; all of them are counted."""
ALWAYS_MS: Final = 1 << 62
"""The end of a window without one."""
OVERDUE_MS: Final = 60_000
"""How late a waiting delivery may be before it is called overdue: its release and one exchange with its timeout."""
ACK_SPREAD_MS: Final = 60_000
"""How far apart the broker may have taken a hand-over and the `retrying` outcome that tells of it."""

Place = tuple[str, int]


@value
class Missing:
    """Committed positions `first` to `last` that are not accounted for, and what is known of them."""

    topic: str
    partition: int
    first: int
    last: int
    why: str


@value
class Part:
    """One input partition: committed positions `first` to `next`, excluded, those judged, those not accounted for."""

    topic: str
    partition: int
    first: int
    next: int
    judged: tuple[Range, ...]
    missing: tuple[Range, ...]


@value
class Report:
    """The balance of one group. Positions and deliveries are those of the committed window; times in ms."""

    positions: int  # committed positions that were judged
    events: int  # those with all their deliveries
    ledger: Mapping[str, int]  # those without any delivery, by reason
    deliveries: Mapping[str, int]  # by outcome, each delivery once
    reasons: Mapping[str, Mapping[str, int]]  # by outcome, then by reason or failure class
    missing_count: int
    missing: tuple[Missing, ...]
    waiting: int
    overdue_count: int
    overdue: tuple[Waiting, ...]
    stranded_count: int  # waiting, though no retry topic has a record of them any more
    stranded: tuple[Waiting, ...]
    repeats: int  # rows that settled or handed over a delivery once more; of all rows read
    rows: int
    unreadable: int
    outside: int  # committed positions outside the window, or from before the rows that could be read
    beyond: int  # positions with outcomes that are not committed yet
    trigger_count: int  # deliveries with an attempt
    trigger_p50_ms: int
    trigger_p95_ms: int
    parts: tuple[Part, ...]

    @property
    def balanced(self) -> bool:
        """Whether every judged position is accounted for and no waiting delivery is lost."""
        return self.missing_count == 0 and self.stranded_count == 0


class Tally:
    """Adds up over all partitions. `stranded_before_ms`: what was handed over before that cannot still be waiting.

    `named_max` bounds what is named; all is counted.
    """

    def __init__(self, reasons: Reasons, now_ms: int, stranded_before_ms: int, named_max: int) -> None:
        self._named_max = named_max
        self._names = reasons
        self._overdue_before_ms = now_ms - OVERDUE_MS
        self._stranded_before_ms = stranded_before_ms
        self._positions = self._events = self._outside = self._beyond = self._waiting = 0
        self._ledger: Counter[str] = Counter()
        self._codes: Counter[int] = Counter()
        self._missing_count = 0
        self._missing: list[Missing] = []
        self._overdue: list[Waiting] = []
        self._stranded: list[Waiting] = []
        self._triggers = array("q")
        self._parts: list[Part] = []

    def judge(
        self, place: Place, read: PartitionRows, committed: int, begin: int, *, from_ms: int, until_ms: int
    ) -> None:
        """Judge one partition below its committed offset; see Account.report."""
        window = _window(read, committed, from_ms, until_ms)
        covered = ranges.intersect(window, ranges.merge(each[:2] for each in read.covers))
        wanted = ranges.subtract(covered, self._count_empty(read, covered))
        done: Ranges = []
        partial: list[tuple[int, str]] = []
        for offset, group in groupby(sorted(read.deliveries), rows.offset_of):
            members = list(group)
            if offset >= committed:
                self._beyond += 1
                continue
            why = _incomplete(members)
            if why:
                partial.append((offset, why))
            elif done and done[-1][1] == offset:
                done[-1] = (done[-1][0], offset + 1)
            else:
                done.append((offset, offset + 1))
            if _inside(offset, window):
                self._count_deliveries(read, members)
        self._positions += ranges.size(window)
        self._outside += max(committed - begin, 0) - ranges.size(ranges.intersect(window, [(begin, committed)]))
        self._events += ranges.size(ranges.intersect(wanted, done))
        uncovered = ranges.subtract(window, covered)
        self._name_missing(place, uncovered, "committed, but in no ledger")
        lost = ranges.subtract(wanted, done)
        if committed > 0:
            first = min([begin, *(each for each, _ in window[:1])])
            missing = ranges.merge(uncovered + lost)
            self._parts.append(Part(*place, min(first, committed), committed, tuple(window), tuple(missing)))
        known = [offset for offset, _ in partial]
        self._name_missing(place, ranges.subtract(lost, [(offset, offset + 1) for offset in known]), "no outcome")
        for offset, why in partial:
            if _inside(offset, lost):
                self._name_missing(place, [(offset, offset + 1)], why)

    def _count_empty(self, read: PartitionRows, covered: Ranges) -> Ranges:
        """Count each empty position once, whatever number of reasons a repeat under other rules gave it."""
        counted: Ranges = []
        for reason in sorted(read.empty):
            fresh = ranges.subtract(ranges.intersect(ranges.merge(read.empty[reason]), covered), counted)
            if fresh:
                self._ledger[reason] += ranges.size(fresh)
                counted = ranges.merge(counted + fresh)
        return counted

    def _count_deliveries(self, read: PartitionRows, keys: list[int]) -> None:
        states: dict[int, tuple[int, int]] = {}  # by delivery: the state that counts, and its key
        for key in keys:
            state, identity = read.deliveries[key], rows.identity(key)
            known = states.get(identity)
            if known is None or self._names.larger(known[0], state) != known[0]:
                states[identity] = (state, key)
        for state, key in states.values():
            self._codes[rows.code(state)] += 1
            trigger_ms = rows.trigger_ms(state)
            if trigger_ms is not None:
                self._triggers.append(trigger_ms)
            if not rows.final(state):
                self._count_waiting(read.waiting[key], rows.settled_at_ms(state))

    def _count_waiting(self, waiting: Waiting, since_ms: int) -> None:
        self._waiting += 1
        if since_ms < self._stranded_before_ms:
            self._stranded.append(waiting)
        elif waiting.due_ms < self._overdue_before_ms:
            self._overdue.append(waiting)

    def _name_missing(self, place: Place, missing: Ranges, why: str) -> None:
        self._missing_count += ranges.size(missing)
        for first, end in missing[: self._named_max]:
            self._missing.append(Missing(*place, first, end - 1, why))

    def report(self, repeats: int, read: int, unreadable: int) -> Report:
        """Return the sums."""
        triggers = sorted(self._triggers)
        deliveries: Counter[str] = Counter()
        reasons: dict[str, dict[str, int]] = {}
        for code, number in self._codes.items():
            outcome, reason = self._names.pair(code)
            deliveries[outcome.value] += number
            if reason:
                reasons.setdefault(outcome.value, {})[reason] = number
        missing = sorted(self._missing, key=lambda each: (each.topic, each.partition, each.first))
        overdue, stranded = (sorted(each, key=_by_due)[: self._named_max] for each in (self._overdue, self._stranded))
        return Report(
            positions=self._positions, events=self._events, ledger=dict(sorted(self._ledger.items())),
            deliveries={each.value: deliveries[each.value] for each in Outcome if deliveries[each.value]},
            reasons={each: dict(sorted(counts.items())) for each, counts in sorted(reasons.items())},
            missing_count=self._missing_count, missing=tuple(missing[: self._named_max]), waiting=self._waiting,
            overdue_count=len(self._overdue), overdue=tuple(overdue),
            stranded_count=len(self._stranded), stranded=tuple(stranded),
            repeats=repeats, rows=read, unreadable=unreadable, outside=self._outside, beyond=self._beyond,
            trigger_count=len(triggers), trigger_p50_ms=_rank(triggers, 0.5), trigger_p95_ms=_rank(triggers, 0.95),
            parts=tuple(self._parts),
        )  # fmt: skip


def _window(read: PartitionRows, committed: int, from_ms: int, until_ms: int) -> Ranges:
    """Return the committed positions that can be judged and that were last committed in the window.

    From the first of its ledgers, what they cover and what no ledger covers at all: a hole is a committed position
    nobody accounts for, and counts to the window of the ledger below it. What only older ledgers cover may have lost
    its outcomes to retention.
    """
    older = ranges.merge((first, end) for first, end, at_ms in read.covers if at_ms < from_ms)
    later = ranges.merge((first, end) for first, end, at_ms in read.covers if at_ms > until_ms)
    trusted = ranges.merge((first, end) for first, end, at_ms in read.covers if from_ms <= at_ms <= until_ms)
    trusted = ranges.subtract(trusted, later)
    firsts = [first for first, _ in trusted[:1]]
    if from_ms == 0 and read.deliveries:
        firsts.append(rows.offset_of(min(read.deliveries)))
    if not firsts:
        return []
    whole = ranges.merge([(min(firsts), committed)])
    holes = ranges.subtract(whole, ranges.merge(each[:2] for each in read.covers))
    others = ranges.merge(later + ranges.subtract(older, trusted))
    above = [hole for hole in holes if _inside(hole[0] - 1, others)]
    return ranges.subtract(whole, ranges.merge(others + above))


def _incomplete(keys: list[int]) -> str:
    """Say which deliveries of one position are missing; "" when all of one processing are there."""
    if len(keys) == 1 and rows.stated(keys[0]) <= 1:
        return ""
    counts = Counter(map(rows.stated, keys))
    if any(have >= max(want, 1) for want, have in counts.items()):
        return ""
    want, have = max(counts.items())
    return f"{have} of {want} deliveries have an outcome"


def _inside(offset: int, where: Ranges) -> bool:
    at = bisect_right(where, offset, key=itemgetter(0)) - 1
    return at >= 0 and offset < where[at][1]


def _by_due(waiting: Waiting) -> tuple[int, str, str]:
    return waiting.due_ms, waiting.event_id, waiting.delivery_id


def _rank(ascending: list[int], share: float) -> int:
    """Return the nearest-rank percentile; 0 of nothing."""
    return ascending[ceil(share * len(ascending)) - 1] if ascending else 0
