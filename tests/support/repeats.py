"""Attributes what a receiver accepted more than once to the faults that were inflicted, by worker, partition and time.

All times are wall clock, in seconds: those of workers' log lines are compared with those of this process.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass
class Fault:
    """Something done at `at_s` to a worker, or (`worker` "") to the broker or the receiver, that was over at `until_s`.

    `kind` is kill, stop (SIGSTOP), term, broker, cut (a worker from the broker), slow (the way between those two) or
    receiver. `committed` has the next offset of each input partition as the group had committed it just after.
    """

    kind: str
    worker: str
    at_s: float
    until_s: float = float("inf")
    committed: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Accepted:
    """One 2xx: which delivery, by whom it was sent, when it was answered, the event's position."""

    delivery_id: str
    worker: str
    at_s: float
    partition: int
    offset: int


@dataclass(frozen=True)
class Loss:
    """A worker that went on was told that a partition is not its own any more, without a chance to commit."""

    worker: str
    partition: int
    at_s: float


@dataclass
class Blame:
    """The repeats one fault caused: the acceptance that was repeated of each."""

    fault: Fault
    firsts: list[Accepted] = field(default_factory=list)

    @property
    def oldest_s(self) -> float:
        """How long before the fault the oldest of them was accepted; 0.0 without any, or if all were later."""
        return max((self.fault.at_s - each.at_s for each in self.firsts), default=0.0)

    @property
    def committed(self) -> list[Accepted]:
        """Those whose position had been committed: they should never have been sent again."""
        return [each for each in self.firsts if each.offset < self.fault.committed.get(each.partition, 0)]


@dataclass
class Attribution:
    """Every repeat, by fault in the order these happened; `unexplained` are pairs no fault accounts for."""

    blames: list[Blame]
    unexplained: list[tuple[Accepted, Accepted]]

    def of(self, *kinds: str) -> list[Blame]:
        """Return the faults of these kinds."""
        return [each for each in self.blames if each.fault.kind in kinds]

    def table(self) -> str:
        """Write one line for each fault."""
        start_s = self.blames[0].fault.at_s if self.blames else 0.0
        lines = [f"{'fault':<9}{'to':<10}{'at s':>7}{'repeats':>9}{'oldest s':>10}  partitions"]
        for each in self.blames:
            places = " ".join(map(str, sorted({first.partition for first in each.firsts})))
            lines.append(
                f"{each.fault.kind:<9}{each.fault.worker or '-':<10}{each.fault.at_s - start_s:>7.1f}"
                f"{len(each.firsts):>9}{each.oldest_s:>10.2f}  {places}"
            )
        lines.append(f"unexplained: {len(self.unexplained)}")
        lines += [
            f"  {first.partition}/{first.offset}: {first.worker} at {first.at_s - start_s:.2f} s, {again.worker} at "
            f"{again.at_s - start_s:.2f} s"
            for first, again in self.unexplained
        ]
        return "\n".join(lines)


def attribute(accepted: Iterable[Accepted], faults: Iterable[Fault], losses: Iterable[Loss]) -> Attribution:
    """Blame each acceptance but the first on what happened, in between, to the worker of the one before.

    The receiver took it while it did not answer, or not in time: that. The worker lost the partition and went on: the
    last outage before, of the broker or of the way to it. It ended or stood still: that. None of these: nothing
    explains it.
    """
    blames = [Blame(each) for each in sorted(faults, key=lambda each: each.at_s)]
    lost = list(losses)
    times: dict[str, list[Accepted]] = defaultdict(list)
    for each in accepted:
        times[each.delivery_id].append(each)
    unexplained = []
    for several in times.values():
        for first, again in pairwise(sorted(several, key=lambda each: each.at_s)):
            blame = _blame(first, again, blames, lost)
            if blame is None:
                unexplained.append((first, again))
            else:
                blame.firsts.append(first)
    return Attribution(blames, unexplained)


def _blame(first: Accepted, again: Accepted, blames: list[Blame], losses: list[Loss]) -> Blame | None:
    for each in blames:
        if each.fault.kind == "receiver" and each.fault.at_s <= first.at_s <= each.fault.until_s:
            return each
    for loss in losses:
        if (loss.worker, loss.partition) == (first.worker, first.partition) and first.at_s < loss.at_s < again.at_s:
            outages = [
                each
                for each in blames
                if (each.fault.kind == "broker" or (each.fault.kind, each.fault.worker) == ("cut", first.worker))
                and each.fault.at_s < loss.at_s
            ]
            return outages[-1] if outages else None
    if first.worker == again.worker:
        return None
    ends = [each for each in blames if each.fault.worker == first.worker and each.fault.at_s < again.at_s]
    return ends[-1] if ends else None
