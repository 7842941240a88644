"""The receiver of tests and demo: it does what it is told, the same way each time, and counts right."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import signal
import sys
import time
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from standardwebhooks import Webhook

from pipeline.testing.receiver import Behaviour, Receiver, in_thread, rejects, signed
from tests.support.children import Child
from tests.support.conditions import wait_until

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def ids(count: int) -> list[str]:
    return [str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))) for number in range(count)]


@asynccontextmanager
async def running(behaviour=None, **options):
    receiver = Receiver(behaviour, **options)
    await receiver.start()
    async with aiohttp.ClientSession() as session:

        async def post(delivery_id="", body=b"{}", **headers) -> int:
            named = {"webhook-id": delivery_id} if delivery_id else {}
            try:
                async with session.post(receiver.url + "/hook", data=body, headers=named | headers) as response:
                    return response.status
            except aiohttp.ClientConnectionError:
                return 0

        try:
            yield receiver, post
        finally:
            await receiver.stop()


async def test_it_answers_by_path_with_a_body_where_told_to():
    async with running(Behaviour(answers={"/hook": (422, b"no such thing")})) as (receiver, post):
        assert await post(ids(1)[0]) == 422
        async with aiohttp.ClientSession() as session:
            async with session.post(receiver.url + "/hook?a=b") as response:
                assert await response.read() == b"no such thing"
            async with session.post(receiver.url + "/other") as response:
                assert (response.status, await response.read()) == (204, b"")


async def test_it_counts_attempts_and_acceptances_by_delivery_id():
    async with running() as (receiver, post):
        first, second = ids(2)
        assert [await post(first), await post(first), await post(second), await post("not-a-uuid"), await post()] == [
            204
        ] * 5
        counted = receiver.snapshot()
    assert counted["ids"] == {first: [2, 2], second: [1, 1], "not-a-uuid": [1, 1]}
    assert (counted["requests"], counted["without_id"], counted["statuses"]) == (5, 1, {"204": 5})
    assert (receiver.deliveries(), receiver.accepted()) == (3, 3)
    assert json.loads(json.dumps(counted)) == counted


async def test_an_id_of_any_first_byte_is_told_as_it_came():
    odd = "3d000000-0000-5000-8000-000000000000"
    async with running() as (receiver, post):
        await post(odd)
        assert list(receiver.snapshot()["ids"]) == [odd]


async def test_422_depends_on_the_delivery_id_alone():
    async with running(Behaviour(reject=0.3)) as (receiver, post):
        wanted = {delivery_id: 422 if rejects(delivery_id, 0.3) else 204 for delivery_id in ids(15)}
        for _ in range(2):
            assert {delivery_id: await post(delivery_id) for delivery_id in wanted} == wanted
        assert set(wanted.values()) == {204, 422}
        assert receiver.accepted() == sum(status == 204 for status in wanted.values())


def test_the_share_of_rejected_ids_is_what_was_asked_for():
    share = sum(rejects(delivery_id, 0.05) for delivery_id in ids(20_000)) / 20_000
    assert 0.04 < share < 0.06
    assert not any(rejects(delivery_id, 0.0) for delivery_id in ids(100))
    assert all(rejects(delivery_id, 1.0) for delivery_id in ids(100))


async def test_chances_repeat_with_the_seed():
    async def play(seed):
        async with running(Behaviour(unavailable=0.3, reset=0.2, retry_after="1"), seed=seed) as (receiver, post):
            played = [await post(delivery_id) for delivery_id in ids(25)]
            assert receiver.snapshot()["resets"] == played.count(0)
            return played

    first = await play(7)
    assert set(first) == {0, 204, 503}
    assert await play(7) == first
    assert await play(8) != first


async def test_the_unauthorised_switch_works_while_it_runs():
    async with running(Behaviour(reset=1.0, unauthorised=True)) as (receiver, post):
        assert await post() == 401
        receiver.behaviour.unauthorised = False
        receiver.behaviour.reset = 0.0
        assert await post() == 204


async def test_down_refuses_and_cuts_and_up_listens_on_the_same_port():
    async with running(Behaviour(latency_ms=60_000)) as (receiver, post):
        url = receiver.url
        hanging = asyncio.ensure_future(post())
        while not receiver.snapshot()["requests"]:
            await asyncio.sleep(0.01)
        await receiver.down()
        await receiver.down()
        assert await asyncio.wait_for(hanging, 5) == 0
        assert await post() == 0
        receiver.behaviour.latency_ms = 0
        await receiver.up()
        assert await post() == 204
        assert receiver.url == url


async def test_signatures_are_verified_as_the_reference_library_makes_them():
    async with running(secrets=[SECRET]) as (receiver, post):
        [delivery_id] = ids(1)
        now_s = int(time.time())
        body = '{"a": "ä"}'
        at = datetime.fromtimestamp(now_s, UTC)
        signature = Webhook(SECRET).sign(delivery_id, at, body)
        headers = {"webhook-timestamp": str(now_s), "webhook-signature": "v1,AAAA " + signature}
        assert await post(delivery_id, body.encode(), **headers) == 204
        assert await post(delivery_id, b"{}", **headers) == 400
        assert await post(delivery_id, body.encode()) == 400
        assert receiver.snapshot()["bad_signatures"] == 2
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        assert signed(headers, delivery_id, body.encode(), [key], now_s + 200)
        assert not signed(headers, delivery_id, body.encode(), [key], now_s + 301)


async def test_only_the_last_requests_are_kept_whole():
    async with running(keep=2) as (receiver, post):
        for number in range(4):
            await post(body=b"%d" % number)
        assert [(seen.body, seen.status, seen.path) for seen in receiver.seen] == [
            (b"2", 204, "/hook"),
            (b"3", 204, "/hook"),
        ]


async def test_a_megabyte_is_taken():
    async with running() as (_, post):
        assert await post(body=io.BytesIO(b"x" * 2_000_000)) == 204


def test_in_a_thread():
    receiver = Receiver()
    with in_thread(receiver) as url:

        async def post():
            async with aiohttp.ClientSession() as session, session.post(url, headers={"webhook-id": "a"}) as response:
                return response.status

        assert asyncio.run(post()) == 204
    assert receiver.snapshot()["ids"] == {"a": [1, 1]}


@pytest.fixture
def receiver_process(tmp_path):
    snapshot = tmp_path / "seen.json"
    argv = [sys.executable, "-m", "pipeline.testing.receiver", "--latency", "1ms", "--reject", "100%"]
    child = Child([*argv, "--snapshot", str(snapshot)], tmp_path / "receiver.log")
    yield child, snapshot
    child.kill()


def test_as_a_process(receiver_process):
    child, snapshot = receiver_process
    url = wait_until(lambda: child.log.read_text().partition("\n")[0] if "\n" in child.log.read_text() else "")

    async def post():
        try:
            async with aiohttp.ClientSession() as session, session.post(url, headers={"webhook-id": "a"}) as response:
                return response.status
        except aiohttp.ClientConnectionError:
            return 0

    assert asyncio.run(post()) == 422
    child.send(signal.SIGUSR1)
    wait_until(lambda: asyncio.run(post()) == 0)
    child.send(signal.SIGUSR2)
    wait_until(lambda: asyncio.run(post()) == 422)
    child.send(signal.SIGTERM)
    assert child.wait(10) == 0
    seen = json.loads(snapshot.read_text())
    assert seen["url"] == url
    assert seen["ids"]["a"][1] == 0
    assert set(seen["statuses"]) == {"422"}
