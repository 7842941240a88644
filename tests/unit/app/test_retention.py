"""app/retention: settled retry records go at once, those of a log once nothing may be told by them any more."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from pipeline.app.retention import delete_settled
from pipeline.run.lines import LOOK_BACK
from pipeline.testing.fakes import FakeSource
from tests.unit.run.conftest import until


def intake(role: str, acked: int):
    return SimpleNamespace(source=FakeSource(role), trackers={(role, 0): SimpleNamespace(acked=acked)})


@pytest.mark.parametrize(
    ("acked", "at_first", "an_hour_later"),
    [(LOOK_BACK + 500, 500, LOOK_BACK + 500), (300, None, 300), (0, None, None)],
)
async def test_of_a_log_what_copies_are_told_by_stays_an_hour(acked, at_first, an_hour_later) -> None:
    asked: list[dict] = []
    intakes = [intake("input", 9), intake("retry", 7), intake("ordered", acked)]
    task = asyncio.create_task(delete_settled(intakes, lambda upto: asked.append(dict(upto)), print, every_s=0.001))
    await until(lambda: len(asked) >= 2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    for seen, expected in zip(asked, (at_first, an_hour_later), strict=False):
        assert seen.get(("ordered", 0)) == expected
        assert seen["retry", 0] == 7
        assert ("input", 0) not in seen
