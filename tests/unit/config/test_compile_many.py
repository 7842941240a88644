"""Of 200 journeys of one event type, only those that may match are asked: counted, so that it cannot be lost unseen."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import pipeline
from pipeline.core import routes
from tests.bench.gates import FOR_CEL, MATCH, SHARED, TEXT, TEXT_LAST, THRESHOLD, Asked, Case, folder_of

if TYPE_CHECKING:
    from pathlib import Path

JOURNEYS = 200
CALLS = 12
"""Python calls that find the two of them. Measured: 11; asked one by one 601, and 997 where two fields are read."""
OF_CEL = "core/expressions/cel.py"


def found(folder: Path, when: str) -> tuple[list[str], Counter[str]]:
    """Which journeys an event starts, and what was called to find them, by module."""
    case = Case("", when)
    folder_of(folder, case, JOURNEYS)
    asked = Asked(folder, case)
    event, datum, _ = asked.events[0]
    wanted = asked.plan.routes[event.type]
    assert len(wanted) == JOURNEYS
    root, calls = str(pipeline.__path__[0]), Counter[str]()

    def count(frame, kind, _argument):
        if kind == "call" and frame.f_code.co_filename.startswith(root):
            calls[frame.f_code.co_filename.removeprefix(f"{root}/")] += 1

    sys.setprofile(count)
    try:
        matched = routes.match(wanted, datum, 7)
    finally:
        sys.setprofile(None)
    return [route.journey for route, _ in matched], calls


@pytest.mark.parametrize("when", [TEXT, TEXT_LAST, THRESHOLD, SHARED])
def test_what_cannot_match_is_not_asked(tmp_path: Path, when: str) -> None:
    matched, calls = found(tmp_path, when)
    assert matched == ["journey_0", "journey_1"]
    assert calls[OF_CEL] == 0, "a comparison is left to CEL"
    assert sum(calls.values()) <= CALLS, calls


def test_what_only_cel_can_tell_is_counted(tmp_path: Path) -> None:
    """Else nothing of the above would be said: each of the others is asked of CEL."""
    matched, calls = found(tmp_path, FOR_CEL)
    assert matched == ["journey_0", "journey_1"]
    assert calls[OF_CEL] == JOURNEYS - MATCH
