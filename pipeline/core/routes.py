"""3: decides which journeys an event starts: its type's routes whose condition holds or erred."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.model import Datum, Route, SkipReason

if TYPE_CHECKING:
    from collections.abc import Sequence


def match(routes: Sequence[Route], datum: Datum, now_ms: int) -> list[tuple[Route, SkipReason | None]]:
    """Return the routes to run, each with None, or why all its steps are skipped: its condition erred.

    A route whose condition is false is left out: the event does not start that journey. Age is a gate's question.
    """
    matched: list[tuple[Route, SkipReason | None]] = []
    for route in routes:
        condition = route.condition
        holds = True if condition is None else condition(datum, now_ms)
        if holds is True:
            matched.append((route, None))
        elif holds is None:
            matched.append((route, SkipReason.CONDITION_ERROR))
    return matched
