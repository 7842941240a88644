"""Virtual time passes as fast as there is something to do, in the same order as real time would."""

from __future__ import annotations

import asyncio
import time

from pipeline.testing.virtual import VirtualLoop


def test_an_hour_takes_no_time_and_the_wall_clock_goes_along():
    loop = VirtualLoop(start_ns=5_000_000_000)
    began_s = time.monotonic()
    loop.run_until_complete(asyncio.sleep(3_600))
    assert 3_600 <= loop.time() < 3_600.001
    assert loop.wall_ns() // 1_000_000 == 3_605_000
    assert time.monotonic() - began_s < 30
    loop.close()


def test_timers_fire_in_order():
    loop, fired = VirtualLoop(), []

    async def at(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        fired.append(delay_s)

    async def all_() -> None:
        await asyncio.gather(*map(at, (300, 1, 20_000, 0, 7)))

    loop.run_until_complete(all_())
    assert fired == [0, 1, 7, 300, 20_000]
    loop.close()


def test_time_passes_even_for_who_waits_for_less_than_it_can_tell_apart():
    loop = VirtualLoop()
    loop.leap(1e6)

    async def until(end_s: float) -> None:
        while loop.time() < end_s:
            await asyncio.sleep(1e-12)

    loop.run_until_complete(until(1e6 + 1e-5))
    loop.close()


def test_the_wall_clock_can_be_set_without_the_loops_time():
    loop = VirtualLoop(start_ns=10**18)
    loop.set_clock(-20.0)
    assert loop.wall_ns() == 10**18 - 20 * 10**9
    assert loop.time() == 0.0
    loop.close()


def test_a_leap_only_goes_forward_and_what_was_due_happens_late():
    loop = VirtualLoop()
    late = []
    loop.call_later(5, lambda: late.append(round(loop.time())))
    loop.leap(60)
    loop.leap(30)
    loop.run_until_complete(asyncio.sleep(0))
    assert late == [60]
    loop.close()
