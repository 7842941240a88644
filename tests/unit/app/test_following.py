"""app/following: threads find schemas on the worker's loop, and a worker waits until all is read, or it is to stop."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from pipeline.app import following
from pipeline.app.following import Home, until
from pipeline.ports import Found, Unreachable


def never(_error: BaseException) -> None:
    raise AssertionError


async def test_a_thread_is_answered_from_the_loop() -> None:
    asked = []

    async def fetch(ref: int) -> Found:
        asked.append((ref, asyncio.get_running_loop()))
        return Found({"type": "string"})

    home = Home(SimpleNamespace(fetch=fetch), never)
    assert await asyncio.to_thread(home.fetch, 7) == Found({"type": "string"})
    assert asked == [(7, asyncio.get_running_loop())]


async def test_a_thread_does_not_wait_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(following, "ANSWER_S", 0.01)
    let = asyncio.Event()

    async def fetch(_ref: int) -> Found:
        await let.wait()
        return Found({})

    home = Home(SimpleNamespace(fetch=fetch), never)
    assert isinstance(await asyncio.to_thread(home.fetch, 7), Unreachable)
    let.set()


async def test_a_bug_in_a_thread_stops_the_worker() -> None:
    told: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    home, error = Home(SimpleNamespace(), told.set_result), ValueError()
    await asyncio.to_thread(home.bug, error)
    assert await told is error


def test_once_the_loop_is_closed_nobody_is_told() -> None:
    async def built() -> Home:
        return Home(SimpleNamespace(), never)

    asyncio.run(built()).bug(ValueError())


async def test_it_says_that_it_waits_until_all_is_read(monkeypatch) -> None:
    monkeypatch.setattr(following, "SAY_S", 0.001)
    whole = asyncio.Event()
    said = []

    def say() -> None:
        said.append(1)
        if len(said) == 3:
            whole.set()

    await until(whole.wait(), asyncio.Event(), say)
    assert len(said) >= 3


async def test_a_worker_that_is_to_stop_waits_no_longer() -> None:
    stopping, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.ensure_future(until(endless(), stopping, lambda: None))
    await asyncio.sleep(0)
    stopping.set()
    await waiting
    await ended.wait()
