"""Access tokens over real sockets: got once however many wait, renewed ahead, and every trouble has its failure."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from pipeline.adapters.http import HttpSender, TokenSource
from pipeline.adapters.http.oauth import AHEAD_MAX_S, LIFE_DEFAULT_S, LIFE_MAX_S, RETRY_MAX_S, RETRY_S
from pipeline.model import Credentials, Failure, FailureClass
from pipeline.ports import LaneStats
from tests.support.tokens import CANARY, REQUEST, TokenEndpoint, destination


class Sources:
    """Token sources of a test, with a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.lines: list[str] = []
        self.made: list[TokenSource] = []

    def source(self, port: int, **changes: object) -> TokenSource:
        where = destination(port, **changes)
        credentials = Credentials(token_request=REQUEST)
        sender = HttpSender(where, LaneStats())
        made = TokenSource("crm", credentials, sender, where.timeout_ms / 1_000, self.log, lambda: self.now_s)
        self.credentials = credentials
        self.made.append(made)
        return made

    def log(self, *words: object, **fields: object) -> None:
        self.lines.append(json.dumps([words, fields]))


@pytest.fixture
async def sources():
    made = Sources()
    yield made
    for each in made.made:
        await each.close()
        assert CANARY not in repr(each)
    assert CANARY not in "".join(made.lines)


@pytest.fixture
async def endpoint():
    async with TokenEndpoint() as made:
        yield made


def bearer(number: int) -> bytes:
    return f"Authorization: Bearer {CANARY}-token-{number}\r\n".encode()


async def until(condition) -> None:
    """Wait for a condition; the bound is against hanging only."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


# --------------------------------------------------------------------------------------------------------- tokens


async def test_fifty_wait_for_one_request(sources, endpoint):
    source = sources.source(endpoint.port)
    endpoint.open.clear()
    waiting = [asyncio.ensure_future(source.line()) for _ in range(50)]
    await until(lambda: endpoint.requests)
    endpoint.open.set()
    assert await asyncio.gather(*waiting) == [bearer(1)] * 50
    assert await source.line() == bearer(1)
    assert len(endpoint.requests) == 1
    assert endpoint.bodies == [REQUEST[1]]


async def test_a_token_is_renewed_ahead_of_its_end_and_nobody_waits(sources, endpoint):
    endpoint.life_s = 1_000
    source = sources.source(endpoint.port)
    await source.line()
    sources.now_s += 799
    assert await source.line() == bearer(1)
    assert len(endpoint.requests) == 1
    endpoint.open.clear()
    sources.now_s += 2
    assert [await source.line() for _ in range(3)] == [bearer(1)] * 3
    await until(lambda: len(endpoint.requests) == 2)
    endpoint.open.set()
    await until(lambda: len(endpoint.issued) == 2)
    async with asyncio.timeout(5):
        while await source.line() != bearer(2):
            await asyncio.sleep(0.001)
    assert len(endpoint.requests) == 2


async def test_a_long_life_is_renewed_a_bounded_time_ahead(sources, endpoint):
    endpoint.life_s = 10 * LIFE_MAX_S
    source = sources.source(endpoint.port)
    await source.line()
    sources.now_s += LIFE_MAX_S - AHEAD_MAX_S - 1
    await source.line()
    assert len(endpoint.requests) == 1
    sources.now_s += 2
    await source.line()
    await until(lambda: len(endpoint.requests) == 2)


async def test_after_its_end_a_token_is_not_used(sources, endpoint):
    source = sources.source(endpoint.port)
    await source.line()
    sources.now_s += 3_601
    assert await source.line() == bearer(2)


@pytest.mark.parametrize("life_s", [None, "soon", -1, 0, True, [3]])
async def test_a_life_nobody_can_read_is_an_hour(sources, endpoint, life_s):
    endpoint.life_s = life_s
    source = sources.source(endpoint.port)
    await source.line()
    sources.now_s += LIFE_DEFAULT_S - AHEAD_MAX_S - 1
    assert await source.line() == bearer(1)
    sources.now_s += AHEAD_MAX_S + 2
    assert await source.line() == bearer(2)


async def test_a_life_may_be_text(sources, endpoint):
    endpoint.life_s = "10"
    source = sources.source(endpoint.port)
    await source.line()
    sources.now_s += 11
    assert await source.line() == bearer(2)


async def test_an_old_token_outlives_trouble_ahead_of_its_end(sources, endpoint):
    endpoint.life_s = 100
    source = sources.source(endpoint.port)
    await source.line()
    endpoint.next_answer = lambda: web.Response(status=503)
    sources.now_s += 81
    assert await source.line() == bearer(1)
    await until(lambda: any("token_http_503" in each for each in sources.lines))
    assert await source.line() == bearer(1)
    assert len(endpoint.requests) == 2  # not again before RETRY_S


# ------------------------------------------------------------------------------------------------------------ 401


async def test_a_refused_token_is_replaced_once_for_all_who_used_it(sources, endpoint):
    source = sources.source(endpoint.port)
    line = await source.line()
    assert await asyncio.gather(*[source.renew(line) for _ in range(50)]) == [True] * 50
    assert len(endpoint.requests) == 2
    assert await source.line() == bearer(2)
    assert await source.renew(line)  # a late 401 of the old token: there is a newer one already
    assert len(endpoint.requests) == 2


async def test_an_endpoint_that_gives_the_same_token_again_has_none_to_offer(sources, endpoint):
    source = sources.source(endpoint.port)
    line = await source.line()
    same = {"access_token": endpoint.issued[0], "token_type": "bearer"}
    endpoint.next_answer = lambda: web.json_response(same)
    assert not await source.renew(line)


async def test_no_other_token_to_be_had(sources, endpoint):
    source = sources.source(endpoint.port)
    line = await source.line()
    endpoint.next_answer = lambda: web.Response(status=400)
    assert not await source.renew(line)
    assert not await source.renew(line)
    assert len(endpoint.requests) == 2  # and it is not asked at once again


# -------------------------------------------------------------------------------------------------------- trouble


def failed(cls: FailureClass, detail: str, *, holds: bool = False) -> Failure:
    return Failure(cls, sent=False, detail=detail, holds=holds)


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, failed(FailureClass.AUTH, "token_http_400", holds=True)),
        (401, failed(FailureClass.AUTH, "token_http_401", holds=True)),
        (403, failed(FailureClass.AUTH, "token_http_403", holds=True)),
        (408, failed(FailureClass.TIMEOUT, "token_http_408")),
        (429, failed(FailureClass.RATE_LIMITED, "token_http_429")),
        (500, failed(FailureClass.SERVER_ERROR, "token_http_500")),
        (503, failed(FailureClass.SERVER_ERROR, "token_http_503")),
        (204, failed(FailureClass.AUTH, "token_http_204")),
    ],
)
async def test_statuses(sources, endpoint, status, failure):
    endpoint.next_answer = lambda: web.Response(status=status, text="" if status == 204 else CANARY)
    source = sources.source(endpoint.port)
    assert await source.line() == failure
    assert await source.line() == failure
    assert len(endpoint.requests) == 1
    endpoint.next_answer = None
    sources.now_s += RETRY_S
    assert await source.line() == bearer(1)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "token_not_json"),
        (b"<html>log in</html>", "token_not_json"),
        (b"[1]", "token_not_json"),
        (b'{"access_token": "a"', "token_not_json"),
        (b"[" * 40_000, "token_not_json"),
        (b" " * 200_000 + b'{"access_token": "a", "token_type": "bearer"}', "token_not_json"),
        (b"{}", "token_missing"),
        (b'{"access_token": 5, "token_type": "bearer"}', "token_missing"),
        (b'{"access_token": "", "token_type": "bearer"}', "token_missing"),
        (b'{"access_token": "a\\r\\nEvil: 1", "token_type": "bearer"}', "token_missing"),
        (b'{"access_token": "a b", "token_type": "bearer"}', "token_missing"),
        ('{"access_token": "\u00e9", "token_type": "bearer"}'.encode(), "token_missing"),
        (b'{"access_token": "' + b"a" * 20_000 + b'", "token_type": "bearer"}', "token_missing"),
        (b'{"access_token": "a"}', "token_type"),
        (b'{"access_token": "a", "token_type": "mac"}', "token_type"),
    ],
)
async def test_garbage(sources, endpoint, body, detail):
    endpoint.next_answer = lambda: web.Response(body=body)
    assert await sources.source(endpoint.port).line() == failed(FailureClass.AUTH, detail)


@pytest.mark.parametrize(("said", "wait_s"), [("20", 20), ("1000000", RETRY_MAX_S), ("nonsense", RETRY_S)])
async def test_an_endpoint_may_say_how_long_it_wants_to_be_left_alone(sources, endpoint, said, wait_s):
    endpoint.next_answer = lambda: web.Response(status=429, headers={"Retry-After": said})
    source = sources.source(endpoint.port)
    await source.line()
    endpoint.next_answer = None
    sources.now_s += wait_s - 0.1
    assert isinstance(await source.line(), Failure)
    sources.now_s += 0.2
    assert await source.line() == bearer(1)


async def test_a_redirect_is_not_followed(sources, endpoint):
    headers = {"Location": "http://169.254.169.254/latest/meta-data"}
    endpoint.next_answer = lambda: web.Response(status=302, headers=headers)
    assert await sources.source(endpoint.port).line() == failed(FailureClass.AUTH, "token_http_302", holds=True)
    assert len(endpoint.requests) == 1


async def test_an_address_that_may_not_be_called(sources, endpoint):
    source = sources.source(endpoint.port, private_networks=())
    assert await source.line() == failed(FailureClass.BLOCKED_ADDRESS, "token_loopback")
    assert endpoint.requests == []


async def test_an_endpoint_that_is_down(sources, endpoint):
    await endpoint.__aexit__()
    failure = await sources.source(endpoint.port).line()
    assert failure == failed(FailureClass.CONNECTION, "token_connect_refused")


async def test_an_endpoint_that_is_slow(sources, endpoint):
    endpoint.open.clear()
    failure = await sources.source(endpoint.port, timeout_ms=100).line()
    endpoint.open.set()
    assert failure == failed(FailureClass.TIMEOUT, "token_aborted")


async def test_one_who_gives_up_waiting_leaves_the_request_to_the_others(sources, endpoint):
    source = sources.source(endpoint.port)
    endpoint.open.clear()
    first, second = (asyncio.ensure_future(source.line()) for _ in range(2))
    await until(lambda: endpoint.requests)
    first.cancel()
    endpoint.open.set()
    assert await second == bearer(1)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_closing_ends_a_request_under_way(sources, endpoint):
    source = sources.source(endpoint.port)
    endpoint.open.clear()
    waiting = asyncio.ensure_future(source.line())
    await until(lambda: endpoint.requests)
    await source.close()
    endpoint.open.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_new_credentials_are_tried_at_once_and_the_old_token_serves_meanwhile(sources, endpoint):
    source = sources.source(endpoint.port)
    await source.line()
    other = (REQUEST[0].replace(b"Host: x", b"Host: y"), REQUEST[1])
    sources.credentials.replace(Credentials(token_request=other))
    assert await source.line() == bearer(1)
    await until(lambda: len(endpoint.issued) == 2)
    assert [each.headers["Host"] for each in endpoint.requests] == ["x", "y"]
    async with asyncio.timeout(5):
        while await source.line() != bearer(2):
            await asyncio.sleep(0.001)


async def test_a_failure_is_logged_once_and_says_nothing_secret(sources, endpoint):
    endpoint.next_answer = lambda: web.json_response(
        {"error": "invalid_client", "error_description": CANARY}, status=401
    )
    source = sources.source(endpoint.port)
    for _ in range(3):
        await source.line()
        sources.now_s += RETRY_S
    assert [json.loads(each) for each in sources.lines] == [
        [["warning", "token_refused"], {"destination": "crm", "class": "auth", "detail": "token_http_401"}]
    ]
