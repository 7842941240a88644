"""What every memory of deliveries promises, asked of the one in memory and of the one in a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis import asyncio as redis

from pipeline.receiver.seen import Claim, InMemory, InRedis
from tests.support import redis_server
from tests.support.conditions import eventually


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server.running(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
async def client(server):
    async with redis.Redis.from_url(server.url) as connected:
        yield connected


@pytest.fixture(params=["memory", "redis", "redis that decodes"])
async def seen(request):
    if request.param == "memory":
        yield InMemory()
        return
    url = request.getfixturevalue("server").url
    async with redis.Redis.from_url(url, decode_responses="decodes" in request.param) as connected:
        await connected.flushall()
        yield InRedis(connected)


async def test_an_id_is_handled_once_and_remembered(seen):
    assert await seen.claim("a") is Claim.OURS
    assert await seen.claim("a") is Claim.RUNNING
    assert await seen.claim("b") is Claim.OURS
    await seen.done("a")
    assert await seen.claim("a") is Claim.DONE
    assert await seen.claim("b") is Claim.RUNNING


async def test_a_failure_frees_the_id(seen):
    assert await seen.claim("a") is Claim.OURS
    await seen.free("a")
    assert await seen.claim("a") is Claim.OURS


async def test_of_many_askers_at_once_one_gets_it(seen):
    claims = await asyncio.gather(*(seen.claim("a") for _ in range(50)))
    assert (claims.count(Claim.OURS), claims.count(Claim.RUNNING)) == (1, 49)


async def test_a_claim_is_kept_while_it_is_held(seen):
    assert await seen.claim("a") is Claim.OURS
    assert await seen.renew("a")
    await seen.free("a")
    assert not await seen.renew("a")


# ------------------------------------------------------------------------------------------------- only in Redis


async def test_what_was_done_is_forgotten_after_its_age(client):
    await client.flushall()
    seen = InRedis(client, age_s=0.2)
    assert await seen.claim("a") is Claim.OURS
    await seen.done("a")

    async def forgotten():
        return await seen.claim("a") is Claim.OURS

    await eventually(forgotten, 10.0, "forgetting")


async def test_processes_share_one_memory_and_prefixes_part_it(client):
    await client.flushall()
    one, two, other = InRedis(client), InRedis(client), InRedis(client, prefix="other:")
    assert await one.claim("a") is Claim.OURS
    assert await two.claim("a") is Claim.RUNNING
    assert await other.claim("a") is Claim.OURS
    await one.done("a")
    assert await two.claim("a") is Claim.DONE
    assert await other.claim("a") is Claim.RUNNING


async def test_the_claim_of_a_process_that_died_ends_by_itself(client):
    await client.flushall()
    died, lives = InRedis(client, lease_s=1), InRedis(client)
    assert await died.claim("a") is Claim.OURS
    assert await lives.claim("a") is Claim.RUNNING

    async def taken_over():
        return await lives.claim("a") is Claim.OURS

    await eventually(taken_over, 10.0, "the end of the lease")


async def test_who_lost_its_claim_can_neither_end_nor_lengthen_anothers(client):
    await client.flushall()
    slow, next_one = InRedis(client), InRedis(client)
    assert await slow.claim("a") is Claim.OURS
    await client.delete("hookline:seen:a")  # as if its lease had passed
    assert await next_one.claim("a") is Claim.OURS
    assert not await slow.renew("a")
    await slow.free("a")
    assert await next_one.renew("a")
    assert await InRedis(client).claim("a") is Claim.RUNNING


async def test_renewing_lengthens_the_lease(client):
    await client.flushall()
    seen = InRedis(client, lease_s=30)
    assert await seen.claim("a") is Claim.OURS
    await client.pexpire("hookline:seen:a", 1_000)
    assert await seen.renew("a")
    assert await client.pttl("hookline:seen:a") > 20_000


async def test_every_key_expires(client):
    await client.flushall()
    seen = InRedis(client, age_s=100, lease_s=10)
    await seen.claim("running")
    await seen.claim("done")
    await seen.done("done")
    assert 0 < await client.pttl("hookline:seen:running") <= 10_000
    assert 10_000 < await client.pttl("hookline:seen:done") <= 100_000


async def test_a_redis_that_is_away_raises_and_keeps_no_claim(tmp_path):
    with redis_server.running(tmp_path) as server:
        async with redis.Redis.from_url(server.url, retry=None) as client:
            seen = InRedis(client)
            server.stop()
            with pytest.raises(redis.ConnectionError):
                await seen.claim("a")
            server.start()
            assert await seen.claim("a") is Claim.OURS
