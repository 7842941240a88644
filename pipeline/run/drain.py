"""Drains partitions: nothing new starts, attempts end, the rest is handed over, what is finished is committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.core.offsets import Tracker
    from pipeline.run.commits import Commits
    from pipeline.run.dispatch import Lane

LAST_ACKS_S: Final = 5.0
"""What is left for acks after the drain budget ended the attempts under way."""
LOOK_S: Final = 0.005
"""How often is looked whether all is done."""


async def drain(trackers: Sequence[Tracker], lanes: Iterable[Lane], commits: Commits, budget_s: float) -> None:
    """Drain the partitions of these trackers, which are `leaving`: one deadline for all, and LAST_ACKS_S for acks."""
    loop = asyncio.get_running_loop()
    chosen = frozenset(map(id, trackers))
    deadline_s = loop.time() + budget_s
    for lane in lanes:
        lane.release(lambda delivery: id(delivery.run.flight.tracker) in chosen)
    await _settled(trackers, deadline_s)
    if loop.time() >= deadline_s:
        for lane in lanes:
            lane.abort(lambda delivery: id(delivery.run.flight.tracker) in chosen)
        await _settled(trackers, deadline_s + LAST_ACKS_S)
    for tracker in trackers:
        if not tracker.closed:
            commits.commit(tracker)
    while any(not tracker.closed and tracker.unacked for tracker in trackers):
        if loop.time() >= deadline_s + LAST_ACKS_S:
            return
        await asyncio.sleep(LOOK_S)


async def _settled(trackers: Sequence[Tracker], deadline_s: float) -> None:
    loop = asyncio.get_running_loop()
    while any(not tracker.closed and tracker.in_flight for tracker in trackers) and loop.time() < deadline_s:
        await asyncio.sleep(LOOK_S)
