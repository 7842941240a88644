"""Attempts that wait for a token: real sockets, a real token endpoint, and a receiver that wants its tokens."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from pipeline.adapters.http import HttpSender, TokenSource, Waited
from pipeline.core import payload
from pipeline.model import Credentials
from pipeline.ports import LaneStats
from pipeline.run.dispatch import Lane
from tests.support.tokens import CANARY, REQUEST, Guarded, TokenEndpoint, destination
from tests.unit.run.conftest import step, until

HEAD = payload.head("POST", "/hook", "crm.example", [], Credentials())
TIMEOUT_MS = 2_000


class Authenticated:
    """A lane whose deliveries carry tokens."""

    def __init__(self, world, receiver: Guarded, tokens: TokenEndpoint, **changes) -> None:
        self.world = world
        chosen = {"timeout_ms": TIMEOUT_MS} | changes
        where = destination(receiver.port, **chosen)
        self.senders = [HttpSender(where, LaneStats()), HttpSender(destination(tokens.port, **chosen), LaneStats())]
        source = TokenSource(
            "crm", Credentials(token_request=REQUEST), self.senders[1], where.timeout_ms / 1_000, world.telemetry.log
        )
        self.authentication = Waited(source, None, world.clock)
        self.lane = world.lanes["crm"] = Lane(
            where, self.senders[0], world.settlement, world.telemetry, LaneStats(), world.clock, world.dice,
            world.errors.append, lambda: 1.0, None, self.authentication,
        )  # fmt: skip

    def offer(self, number: int = 1, **policy) -> None:
        made = step(**policy)
        for _ in range(number):
            (delivery,) = self.world.deliveries(_with_head(made))
            self.lane.offer(delivery)

    async def settled(self, number: int = 1) -> set[tuple[str, str, int]]:
        await until(lambda: self.world.tracker.watermark() == number)
        return {(row.outcome, row.reason, row.attempts) for row in self.world.outcomes()}


def _with_head(made):
    fields = {name: getattr(made, name) for name in made.__slots__} | {"head": HEAD}
    return type(made)(**fields)


@pytest.fixture
async def tokens():
    async with TokenEndpoint() as made:
        yield made


@pytest.fixture
async def receiver(tokens):
    async with Guarded(lambda token: token in tokens.issued) as made:
        yield made


@pytest.fixture
async def authenticated(world, receiver, tokens):
    made = Authenticated(world, receiver, tokens)
    yield made
    await made.lane.close()
    await made.authentication.close()
    assert CANARY not in repr(world.telemetry.lines)


async def test_fifty_seats_get_one_token(authenticated, receiver, tokens) -> None:
    tokens.open.clear()
    authenticated.offer(50)
    await until(lambda: tokens.requests)
    assert len(authenticated.lane._seats) == 50
    assert receiver.requests == []
    tokens.open.set()
    assert await authenticated.settled(50) == {("delivered", "", 1)}
    assert len(tokens.requests) == 1
    assert len(receiver.taken) == 50


async def test_401_once_is_sent_again_at_once_and_uses_no_attempt(authenticated, receiver, tokens) -> None:
    receiver.good = lambda token: token == f"{CANARY}-token-2"
    authenticated.offer()
    assert await authenticated.settled() == {("delivered", "", 1)}
    assert len(tokens.requests) == 2
    assert receiver.refused == receiver.taken == ["d-0-crm"]


async def test_many_401_at_once_renew_once(authenticated, receiver, tokens) -> None:
    authenticated.offer(50)
    await authenticated.settled(50)
    revoked = set(tokens.issued)
    receiver.good = lambda token: token in tokens.issued and token not in revoked
    authenticated.offer(50)
    assert await authenticated.settled(100) == {("delivered", "", 1)}
    assert len(tokens.requests) == 2
    assert len(receiver.taken) == 100


async def test_a_second_401_holds(authenticated, receiver, tokens) -> None:
    receiver.good = lambda _token: False
    authenticated.offer()
    assert await authenticated.settled() == {("retrying", "auth", 0)}
    assert receiver.refused == ["d-0-crm"] * 2
    assert len(tokens.requests) == 2
    assert authenticated.lane.stats.state == "open"


async def test_a_token_endpoint_that_refuses_us_holds_and_sends_nothing(authenticated, receiver, tokens) -> None:
    tokens.next_answer = lambda: web.json_response({"error": "invalid_client"}, status=401)
    authenticated.offer(20)
    assert await authenticated.settled(20) == {("retrying", "auth", 0)}
    assert receiver.requests == []
    assert len(tokens.requests) == 1
    assert authenticated.world.producer.of("g.dead") == []
    assert authenticated.lane.stats.state == "open"


@pytest.mark.parametrize(("status", "cls"), [(500, "server_error"), (429, "rate_limited"), (200, "auth")])
async def test_a_token_endpoint_in_trouble_is_retried(authenticated, receiver, tokens, status, cls) -> None:
    tokens.next_answer = lambda: web.Response(status=status)
    authenticated.offer(in_process=(), retry_ambiguous=False)
    assert await authenticated.settled() == {("retrying", cls, 1)}
    assert receiver.requests == []


async def test_one_deadline_for_token_and_exchange(world, receiver, tokens) -> None:
    made = Authenticated(world, receiver, tokens, timeout_ms=150)
    made.authentication._tokens._timeout_s = 60  # as if another delivery's wait had begun much later
    tokens.open.clear()
    made.offer(in_process=(), retry_ambiguous=False)
    assert await made.settled() == {("retrying", "timeout", 1)}
    assert receiver.requests == []
    tokens.open.set()
    await made.lane.close()
    await made.authentication.close()


async def test_a_deadline_while_renewing_after_a_401(world, receiver, tokens) -> None:
    made = Authenticated(world, receiver, tokens, timeout_ms=400)
    made.authentication._tokens._timeout_s = 60
    made.offer()
    await made.settled()
    receiver.good = lambda _token: False
    tokens.open.clear()
    made.offer(in_process=())
    assert ("retrying", "timeout", 1) in await made.settled(2)
    tokens.open.set()
    await made.lane.close()
    await made.authentication.close()


async def test_what_went_to_another_worker_while_waiting_is_not_sent(authenticated, receiver, tokens) -> None:
    tokens.open.clear()
    authenticated.offer()
    await until(lambda: tokens.requests)
    authenticated.world.tracker.closed = True
    tokens.open.set()
    await until(lambda: not authenticated.lane.stats.attempts or not any(s.delivery for s in authenticated.lane._seats))
    assert receiver.requests == []


async def test_a_closed_keep_alive_connection_is_no_failure(authenticated, receiver, tokens) -> None:
    authenticated.offer()
    await authenticated.settled()
    for request in receiver.requests:
        if request.transport is not None:
            request.transport.abort()
    await asyncio.sleep(0)
    authenticated.offer()
    assert await authenticated.settled(2) == {("delivered", "", 1)}
    assert len(receiver.taken) == 2


async def test_closing_the_lane_while_it_waits(authenticated, tokens) -> None:
    tokens.open.clear()
    authenticated.offer(3)
    await until(lambda: tokens.requests)
    await asyncio.wait_for(authenticated.lane.close(), 5)
    tokens.open.set()


# --------------------------------------------------------------------------------------------------- a signer outside


class Signer:
    """Signs once `open` is set."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked: list[bytes] = []

    async def sign(self, content: bytes) -> str:
        self.asked.append(content)
        await self.open.wait()
        return "v1a,signature"


async def test_a_signature_made_elsewhere_goes_with_the_token(authenticated, receiver) -> None:
    signer = authenticated.authentication.signer = Signer()
    signer.open.set()
    authenticated.offer()
    assert await authenticated.settled() == {("delivered", "", 1)}
    (request,) = receiver.requests
    assert request.headers["webhook-signature"] == "v1a,signature"
    stamp = request.headers["webhook-timestamp"]
    assert signer.asked == [f"d-0-crm.{stamp}.{{}}".encode()]


async def test_a_signer_that_takes_too_long_is_a_failure_of_the_attempt(world, receiver, tokens) -> None:
    made = Authenticated(world, receiver, tokens, timeout_ms=200)
    made.authentication.signer = Signer()
    made.offer(in_process=(), retry_ambiguous=False)
    assert await made.settled() == {("retrying", "timeout", 1)}
    assert receiver.requests == []
    await made.lane.close()
    await made.authentication.close()
