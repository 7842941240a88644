"""Decides whether the edges between a journey's steps make sense: none leads back, each from a step that can end so.

What can never start is refused: a step in a circle, and one that needs a step before it to end in two ways at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.config.journey import GOES_ON
from pipeline.config.section import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.journey import JourneyConfig, StepConfig
    from pipeline.config.places import Path, Places
    from pipeline.model import Problem

NEVER_ENDS: Final = "never ends"
"""What is said of an outcome that a step of that kind does not have."""
_NOT_STARTED: Final = "skipped"
_UNDER_WAY: Final = "retrying"
_ENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "update": ("delivered", "rejected", "dead", "skipped", "retrying"),
    "enrich": ("delivered", "rejected", "dead", "skipped", "retrying"),
    "enrich with default": ("delivered", "defaulted", "dead", "skipped", "retrying"),
    "decide": ("delivered", "defaulted", "dead", "skipped"),
    "record": ("delivered", "rejected", "dead", "skipped", "retrying"),
    "mark": ("delivered", "dead", "skipped"),
}


def ends(step: StepConfig) -> tuple[str, ...]:
    """Return the outcomes a step can have, `retrying` among them if it can be handed over."""
    return _ENDS[_shown(step)]


def ancestors(journey: JourneyConfig, name: str) -> frozenset[str]:
    """Return the steps that come before a step, directly or not; a circle's members come before themselves."""
    parents = {step.name: tuple(step.after) for step in journey.steps}
    found: set[str] = set()
    waiting = list(parents.get(name, ()))
    while waiting:
        each = waiting.pop()
        if each not in found and each in parents:
            found.add(each)
            waiting.extend(parents[each])
    return frozenset(found)


def problems(journey: JourneyConfig, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with the edges of a journey."""
    graph = _Graph(journey, places)
    yield from graph.edges()
    yield from graph.circles()
    yield from graph.never_started()


def _shown(step: StepConfig) -> str:
    kind = step.kind or "mark"
    return "enrich with default" if kind == "enrich" and step.default is not None else kind


class _Graph:
    """The steps of one journey by name; of two with one name the first counts."""

    def __init__(self, journey: JourneyConfig, places: Places) -> None:
        self._journey = journey
        self._places = places
        self._at: dict[str, int] = {}
        for index, step in enumerate(journey.steps):
            self._at.setdefault(step.name, index)
        self._circular: set[str] = set()

    def edges(self) -> Iterator[Problem]:
        """Yield what is wrong with single edges."""
        for index, step in enumerate(self._journey.steps):
            for parent, outcomes in step.after.items():
                if parent == step.name:
                    self._circular.add(parent)
                    yield self._problem(index, parent, "a step cannot come after itself")
                elif parent not in self._at:
                    others = [each for each in self._at if each != step.name]
                    hint = suggestion(parent, others) or "there are: " + (", ".join(others) or "no other steps")
                    yield self._problem(index, parent, f"there is no step `{parent}`", hint)
                else:
                    yield from self._edge(index, parent, outcomes)

    def _edge(self, index: int, parent: str, outcomes: tuple[str, ...]) -> Iterator[Problem]:
        before = self._journey.steps[self._at[parent]]
        if before.kind == "record":
            hint = "nothing waits for a record; a step that others wait for is an update"
            yield self._problem(index, parent, f"cannot come after `{parent}`, which is a record", hint)
            return
        if outcomes == GOES_ON:
            return
        for outcome in outcomes:
            if outcome not in ends(before):
                hint = f"{_shown(before)} ends {', '.join(ends(before))}"
                yield self._problem(index, parent, f"`{parent}` {NEVER_ENDS} {outcome}", hint)

    def circles(self) -> Iterator[Problem]:
        """Yield one problem for each circle of steps, with all its members."""
        for start in self._at:
            if start in self._circular or not (circle := self._circle(start)):
                continue
            self._circular.update(circle)
            shown = " → ".join((*circle, circle[0]))
            hint = "take one of these `after` away"
            yield self._problem(self._at[start], circle[-1], f"waits for itself: {shown}", hint)

    def _circle(self, start: str) -> tuple[str, ...]:
        """Return the steps on the way from a step back to itself, in the order they would run; () if there is none."""
        came: dict[str, str] = {}
        waiting = [start]
        while waiting:
            each = waiting.pop(0)
            for parent in self._parents(each):
                if parent == start:
                    way = [each]
                    while way[-1] != start:
                        way.append(came[way[-1]])
                    return (start, *way[:-1])
                if parent not in came:
                    came[parent] = each
                    waiting.append(parent)
        return ()

    def never_started(self) -> Iterator[Problem]:
        """Yield the steps that no run ever starts because of what their ancestors would have to do."""
        needs: dict[str, dict[str, frozenset[str]]] = {}
        told: set[str] = set(self._circular)
        for step in self._ordered():
            if told & {step.name, *step.after} and (step.join == "all" or told >= set(step.after)):
                told.add(step.name)  # what is wrong has been said of a step before it
                continue
            ways = [self._needed(step, each, needs) for each in self._choices(step) if not told & set(each)]
            possible = [way for way in ways if all(way.values())]
            needs[step.name] = possible[0] if len(possible) == 1 else {}
            if not possible and ways:
                told.add(step.name)
                torn = next(name for name, outcomes in ways[0].items() if not outcomes)
                message = f"can never start: it needs `{torn}` to have ended in two ways"
                yield self._problem(self._at[step.name], None, message, "take a step or an outcome away, or join: any")

    @staticmethod
    def _choices(step: StepConfig) -> list[tuple[str, ...]]:
        """Return the sets of parents each of which is enough."""
        if step.join == "any" and step.after:
            return [(parent,) for parent in step.after]
        return [tuple(step.after)]

    def _needed(
        self, step: StepConfig, parents: tuple[str, ...], needs: Mapping[str, Mapping[str, frozenset[str]]]
    ) -> dict[str, frozenset[str]]:
        """Return how ancestors must have ended for a step to start by way of these parents.

        `retrying` is passed through and decides nothing; one that was skipped needs nothing of those before it.
        """
        needed: dict[str, frozenset[str]] = {}
        for parent in parents:
            allowed = frozenset(step.after[parent])
            if _UNDER_WAY in allowed:
                continue
            before: dict[str, frozenset[str]] = {parent: allowed}
            if _NOT_STARTED not in allowed:
                before |= needs.get(parent, {})
            for name, outcomes in before.items():
                needed[name] = needed.get(name, outcomes) & outcomes
        return needed

    def _ordered(self) -> Iterator[StepConfig]:
        """Yield the steps outside circles, each after its parents; those behind a circle last."""
        done: set[str] = set(self._circular)
        left = [self._journey.steps[index] for name, index in self._at.items() if name not in self._circular]
        while left:
            ready = [step for step in left if done.issuperset(self._parents(step.name))]
            yield from ready
            done.update(step.name for step in ready)
            left = [step for step in left if step not in ready]
            if not ready:
                return

    def _parents(self, name: str) -> tuple[str, ...]:
        return tuple(each for each in self._journey.steps[self._at[name]].after if each in self._at)

    def _problem(self, index: int, parent: str | None, message: str, hint: str = "") -> Problem:
        path: Path = ("steps", index, "after")
        if parent is None:
            return self._places.problem(self._journey.file, path, message, hint)
        file, whole = self._journey.file, self._places.where(self._journey.file, path)
        listed = (*path, tuple(self._journey.steps[index].after).index(parent))
        at = listed if self._places.where(file, listed) != whole else (*path, parent)
        return self._places.problem(file, at, message, hint, at_key=True)
