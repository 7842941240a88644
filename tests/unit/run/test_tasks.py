"""run/tasks: what a task raises is heard, what still runs ends with its owner."""

from __future__ import annotations

import asyncio

from pipeline.run.tasks import Tasks
from tests.unit.run.conftest import until


async def test_what_a_task_raises_is_heard_and_others_go_on() -> None:
    heard: list[BaseException] = []
    tasks, goes_on = Tasks(heard.append), asyncio.Event()

    async def fails() -> None:
        raise ZeroDivisionError

    async def works() -> None:
        await until(lambda: heard)
        goes_on.set()

    tasks.spawn(fails())
    tasks.spawn(works())
    await asyncio.wait_for(goes_on.wait(), 20)
    assert [type(each) for each in heard] == [ZeroDivisionError]


async def test_what_still_runs_ends_with_its_owner_and_is_no_failure() -> None:
    heard: list[BaseException] = []
    tasks, ended = Tasks(heard.append), asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tasks.spawn(waits())
    await asyncio.sleep(0)  # it has begun
    tasks.cancel()
    await asyncio.wait_for(ended.wait(), 20)
    await asyncio.sleep(0)  # its end is told on a turn of its own
    assert heard == []
