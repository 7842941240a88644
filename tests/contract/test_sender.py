"""What every Sender and Connection promises, whoever implements them: the real one on sockets, and the fake of tests.

A world offers `expect(*results)` (what the receiver does to the requests to come: a status, status and body, "silence",
"close") and `sender()`. Add a world for another implementation to WORLDS.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from pipeline.model import Answer, Failure, FailureClass
from pipeline.testing.fakes import FakeEndpoint
from pipeline.testing.stage.endpoints import Reply, Request, StageEndpoint
from tests.contract.endpoint import Act, WireEndpoint, ok, request
from tests.support.conditions import eventually

if TYPE_CHECKING:
    from pipeline.ports import Connection, Sender


class SocketWorld:
    def __init__(self):
        self._endpoint = WireEndpoint()

    async def __aenter__(self):
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._endpoint.__aexit__(*error)

    def expect(self, *results):
        acts = {"silence": [Act.SILENCE], "close": [Act.CLOSE]}
        self._endpoint.replies = [acts.get(result) or [_reply(result)] for result in results]

    def sender(self) -> Sender:
        return self._endpoint.sender()

    def arrived(self) -> list[bytes]:
        return self._endpoint.requests

    async def shut(self):
        await self._endpoint.shut()


def _reply(result) -> bytes:
    status, *rest = result if isinstance(result, tuple) else (result,)
    return ok(rest[-1] if rest else b"", status=status)


class FakeWorld:
    def __init__(self):
        self._endpoint = FakeEndpoint()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._endpoint.close()

    def expect(self, *results):
        answers = {"silence": None, "close": Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer")}
        script = [
            answers[result] if result in answers else Answer(*result) if isinstance(result, tuple) else Answer(result)
            for result in results
        ]
        self._endpoint.script = lambda _head, _body: script[min(len(self._endpoint.requests), len(script)) - 1]

    def sender(self) -> Sender:
        return self._endpoint

    def arrived(self) -> list[bytes]:
        return [head + body for head, body in self._endpoint.requests]

    async def shut(self):
        self._endpoint.down = Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused")


class StageWorld:
    def __init__(self):
        self._arrived: list[bytes] = []
        self._script = [Reply(Answer(204))]
        self._endpoint = StageEndpoint(
            "crm", lambda _: self._script[min(len(self._arrived), len(self._script)) - 1], time.time_ns, self._told
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._endpoint.close()

    def _told(self, asked: Request):
        self._arrived.append(asked.body)

    def expect(self, *results):
        answers = {"silence": None, "close": Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer")}
        self._script = [
            Reply(answers[result] if result in answers else Answer(*result) if isinstance(result, tuple)
                  else Answer(result))
            for result in results
        ]  # fmt: skip

    def sender(self) -> Sender:
        return self._endpoint

    def arrived(self) -> list[bytes]:
        return self._arrived

    async def shut(self):
        self._endpoint.down = Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused")


WORLDS = [SocketWorld, FakeWorld, StageWorld]


@pytest.fixture(params=WORLDS)
async def world(request):
    async with request.param() as made:
        yield made


async def connected(world) -> Connection:
    opened = await world.sender().connect()
    assert not isinstance(opened, Failure)
    return opened


async def test_an_answer_comes_back_and_the_connection_serves_the_next_request(world):
    world.expect(204, 200, 503)
    connection = await connected(world)
    statuses = []
    for number in range(3):
        assert connection.usable()
        answer = await connection.exchange(*request(b"%d" % number))
        assert isinstance(answer, Answer)
        statuses.append(answer.status)
    assert statuses == [204, 200, 503]
    assert [sent[-1:] for sent in world.arrived()] == [b"0", b"1", b"2"]
    assert connection.usable()


async def test_of_a_body_only_what_is_asked_for_is_kept(world):
    world.expect(*[(status, "", b'{"id": 1}') for status in (200, 200, 200, 422)], 204)
    connection = await connected(world)
    assert await connection.exchange(*request()) == Answer(200)
    assert await connection.exchange(*request(), 9) == Answer(200, "", b'{"id": 1}')
    assert await connection.exchange(*request(), 4) == Answer(200, "", b'{"id', cut=True)
    assert await connection.exchange(*request(), 100) == Answer(422, "", b'{"id": 1}')
    assert await connection.exchange(*request(), 100) == Answer(204)
    assert connection.usable()


async def test_redirects_are_answers_and_never_followed(world):
    world.expect(302)
    connection = await connected(world)
    assert await connection.exchange(*request()) == Answer(302)
    assert len(world.arrived()) == 1


async def test_closed_before_the_answer_is_ambiguous_and_ends_the_connection(world):
    world.expect("close")
    connection = await connected(world)
    failure = await connection.exchange(*request())
    assert failure == Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer")
    assert not connection.usable()


@pytest.mark.parametrize("cls", [FailureClass.TIMEOUT, FailureClass.EXPIRED])
async def test_an_abort_ends_the_exchange_with_its_class(world, cls):
    world.expect("silence")
    connection = await connected(world)
    exchange = asyncio.ensure_future(connection.exchange(*request()))
    await eventually(world.arrived)
    connection.abort(cls)
    failure = await asyncio.wait_for(exchange, 5)
    assert failure == Failure(cls, sent=True, detail="aborted")
    assert not connection.usable()


async def test_an_abort_without_an_exchange_ends_the_connection(world):
    connection = await connected(world)
    connection.abort(FailureClass.TIMEOUT)
    assert not connection.usable()


async def test_a_cancelled_exchange_leaves_no_usable_connection(world):
    world.expect("silence")
    connection = await connected(world)
    exchange = asyncio.ensure_future(connection.exchange(*request()))
    await eventually(world.arrived)
    exchange.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange
    assert not connection.usable()


async def test_close_is_idempotent_and_nothing_is_sent_afterwards(world):
    connection = await connected(world)
    connection.close()
    connection.close()
    assert not connection.usable()
    failure = await connection.exchange(*request())
    assert failure == Failure(FailureClass.CONNECTION, sent=False, detail="closed_before_write")
    assert world.arrived() == []


async def test_an_unreachable_receiver_is_a_value(world):
    sender = world.sender()
    await world.shut()
    failure = await sender.connect()
    assert failure == Failure(FailureClass.CONNECTION, sent=False, detail="connect_refused")


async def test_closing_the_sender_closes_its_connections_and_is_idempotent(world):
    sender = world.sender()
    connection = await sender.connect()
    assert not isinstance(connection, Failure)
    await sender.close()
    await sender.close()
    assert not connection.usable()
    connection.close()
