"""Decides whether anything keeps a step from its customer: active while one reason remains."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.model import Known, Memory, Route, Step, Suppress


def active(step: Step, route: Route, known: Known, now_ms: int) -> bool:
    """Whether a suppression of the journey, its category or the channel it reaches has not ended."""
    return any(_means(each, step, route) and not _ended(each, known.memory, now_ms) for each in known.suppressions)


def _means(suppress: Suppress, step: Step, route: Route) -> bool:
    if suppress.scope == "category":
        return suppress.of == route.category
    if suppress.scope == "channel":
        return suppress.of == step.reaches
    # Of a journey, by its name or its first one; and what is of an unknown scope means everybody.
    return suppress.scope != "journey" or suppress.of in (route.journey, route.shares)


def _ended(suppress: Suppress, memory: Memory | None, now_ms: int) -> bool:
    """Whether its time is over or its event came. What is not remembered did not happen: it goes on."""
    if suppress.until_ms and now_ms >= suppress.until_ms:
        return True
    if not suppress.until_event or memory is None:
        return False
    return any(
        each.event == suppress.until_event
        and each.at_ms >= suppress.at_ms
        and (not suppress.match or each.match == suppress.match)
        for each in memory.happened
    )
