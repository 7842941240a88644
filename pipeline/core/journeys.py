"""Decides which steps of a run start, and to which retry tier a run goes that has to wait.

A step starts with the run, or after others: each edge names a parent and the outcomes of it that let the step start.
What is decided depends on how the parents ended, never on which of them ended first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from pipeline.model import Edge, Kind, Outcome, Result, Step

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

PARK_PERIOD_MS: Final = 3_600_000
"""In so much time a parked run is written twice at most."""


class Node(Protocol):
    """What is asked of a step to know when it starts."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def after(self) -> tuple[Edge, ...]:
        """The steps it comes after, and as what these must have ended."""

    @property
    def any_parent(self) -> bool:
        """Whether one of them is enough."""


# ------------------------------------------------------------------------------------------------------ what starts


def shape(steps: Iterable[Step]) -> tuple[int, tuple[Step, ...]]:
    """Return how many steps start with the run and are waited for, and those that come after others.

    Nothing waits for a `record` step: it is handed over by itself.
    """
    moving = 0
    ahead: tuple[Step, ...] = ()
    for step in steps:
        if step.after:
            ahead += (step,)
        elif step.kind is not Kind.RECORD:
            moving += 1
    return moving, ahead


def ready(step: Node, results: Mapping[str, Result], retried: Collection[str]) -> bool | None:
    """Say whether a step starts: True now, False never (its parents ended otherwise), None not yet.

    `results` has the final ones, and RETRYING for a parent that waits on a retry tier; `retried` names those that ever
    did, so that an edge by `retrying` that was fulfilled once stays so.
    """
    undecided = False
    for edge in step.after:
        result = results.get(edge.parent)
        ended = None if result is None or result.outcome is Outcome.RETRYING else result.outcome
        if ended in edge.outcomes or (edge.parent in retried and Outcome.RETRYING in edge.outcomes):
            if step.any_parent:
                return True
        elif ended is None:
            undecided = True
        elif not step.any_parent:
            return False
    return None if undecided else not step.any_parent


def unknown(ahead: Iterable[Step], known: Collection[str]) -> set[str]:
    """Return the parents that steps wait for in vain: the configuration changed, and no run knows them."""
    return {edge.parent for step in ahead for edge in step.after} - set(known)


def before(names: Iterable[str], steps: Iterable[Node]) -> set[str]:
    """Return all steps that these come after: what they may read the results of."""
    parents = {step.name: [edge.parent for edge in step.after] for step in steps}
    found: set[str] = set()
    waiting = [parent for name in names for parent in parents.get(name, ())]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents.get(name, ())
    return found


# ------------------------------------------------------------------------------------------------------ what waits


def tier_for(wait_ms: int, tiers_ms: Sequence[int]) -> int:
    """Return the index of the largest tier not longer than the wait; the smallest when even that is too long."""
    best = 0
    for index, delay_ms in enumerate(tiers_ms):
        if delay_ms <= wait_ms:
            best = index
    return best


def park_tier(parks: int, tiers_ms: Sequence[int], park_max_ms: int) -> int:
    """Return the tier of the `parks`-th parking (from 0): one higher each time, never longer than `park_max_ms`.

    The first is the lowest from which a run is written fewer than three times in any hour (10 min with the default
    tiers), or the highest allowed if there is none. That is no wait: run/release lets parked runs go as soon as their
    destination is well again.
    """
    highest = tier_for(park_max_ms, tiers_ms)
    first = 0
    while first < highest and tiers_ms[first] + tiers_ms[first + 1] < PARK_PERIOD_MS:
        first += 1
    return min(first + parks, highest)


def weight(response: Mapping[str, object]) -> int:
    """Estimate the bytes of a kept response."""
    return sum(100 + len(name) + len(str(kept)) for name, kept in response.items())
