"""The bounds of the memory in memory. What it promises beyond them: tests/contract/test_receiver_seen.py."""

from __future__ import annotations

from pipeline.receiver.seen import Claim, InMemory, NoMemory


async def handled(seen, *names):
    for name in names:
        assert await seen.claim(name) is Claim.OURS
        await seen.done(name)


async def test_past_the_bound_the_oldest_are_forgotten():
    seen = InMemory(entries_max=3)
    await handled(seen, "a", "b", "c", "d")
    assert len(seen) == 3
    assert [await seen.claim(name) for name in "bcd"] == [Claim.DONE] * 3
    assert await seen.claim("a") is Claim.OURS


async def test_what_is_being_handled_is_never_forgotten():
    seen = InMemory(entries_max=2)
    assert await seen.claim("a") is Claim.OURS
    await handled(seen, "b", "c", "d")
    assert await seen.claim("e") is Claim.OURS
    assert await seen.claim("f") is Claim.FULL
    assert await seen.claim("a") is Claim.RUNNING
    await seen.free("a")
    assert await seen.claim("f") is Claim.OURS
    assert len(seen) == 2


async def test_age_is_counted_from_the_end_of_handling():
    now = [0.0]
    seen = InMemory(age_s=10, clock=lambda: now[0])
    assert await seen.claim("a") is Claim.OURS
    now[0] = 5.0
    await seen.done("a")
    await handled(seen, "b")
    now[0] = 14.9
    assert await seen.claim("a") is Claim.DONE
    now[0] = 15.0
    assert await seen.claim("a") is Claim.OURS
    assert len(seen) == 1


async def test_without_a_memory_everything_is_handled():
    seen = NoMemory()
    await handled(seen, "a", "a", "")
    await seen.free("a")
    assert await seen.renew("a")
