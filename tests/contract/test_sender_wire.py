"""What the sender makes of every odd thing a receiver can put on the wire."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc

import pytest

from pipeline.adapters.http import HttpConnection
from pipeline.adapters.http.connection import INTERIM_MAX, LIFETIME_S
from pipeline.model import Answer, Failure, FailureClass
from tests.contract.endpoint import BODY_BYTES_MAX, NO_CONTENT, Act, WireEndpoint, ok, request
from tests.support.conditions import eventually

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def failed(detail: str) -> Failure:
    return Failure(FailureClass.CONNECTION, sent=True, detail=detail)


async def outcome(*replies, method="POST", **changes):
    """One exchange: what came of it, and whether the connection may be used again."""
    async with WireEndpoint(*replies) as endpoint:
        connection = await endpoint.connect(**changes)
        result = await asyncio.wait_for(connection.exchange(*request(method=method)), 5)
        usable = connection.usable()
        connection.close()
        return result, usable


@pytest.mark.parametrize(
    "reply",
    [
        [b"HTTP/1.1 204 No Content\r\n\r\n"],
        [ok(b'{"id": 1}')],
        [ok(b"x" * BODY_BYTES_MAX)],
        [ok(gzip.compress(b"y" * BODY_BYTES_MAX), "Content-Encoding: gzip")],
        [CHUNKED + b"5\r\nhello\r\n", Act.TURN, b"0\r\n\r\n"],
        [b"HTTP/1.1 204 No", Act.TURN, b" Content\r\n", Act.TURN, b"\r\n"],
        [EARLY_HINTS, Act.TURN, EARLY_HINTS + ok()],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"{}")],
        [EARLY_HINTS * INTERIM_MAX + ok()],
    ],
    ids=["204", "body", "largest", "gzip", "chunked", "in pieces", "103", "100", "most interim"],
)  # fmt: skip
async def test_complete_answers_leave_the_connection_usable(reply):
    result, usable = await outcome(reply)
    assert isinstance(result, Answer)
    assert result.status in (200, 204)
    assert usable


BODY = b"".join(b"%08d" % number for number in range(BODY_BYTES_MAX // 8))
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def in_chunks(body: bytes, size: int = 5_000):
    yield CHUNKED
    for start in range(0, len(body), size):
        part = body[start : start + size]
        yield b"%x\r\n%b\r\n" % (len(part), part)
        yield Act.TURN
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("keep_bytes", [1, 5_001, BODY_BYTES_MAX - 1, BODY_BYTES_MAX, BODY_BYTES_MAX + 1])
@pytest.mark.parametrize(
    "reply",
    [
        [ok(BODY)],
        [ok(b"", status=200).replace(b"Length: 0", b"Length: %d" % len(BODY)), Act.TURN, BODY[:7], Act.TURN, BODY[7:]],
        [ok(gzip.compress(BODY), "Content-Encoding: gzip")],
        list(in_chunks(BODY)),
        [UNTIL_CLOSE + BODY[:100], Act.TURN, BODY[100:], Act.CLOSE],
    ],
    ids=["content-length", "in pieces", "gzip", "chunked", "until close"],
)
async def test_the_beginning_of_a_body_is_kept_as_far_as_asked(reply, keep_bytes):
    async with WireEndpoint(reply) as endpoint:
        connection = await endpoint.connect()
        result = await asyncio.wait_for(connection.exchange(*request(), keep_bytes), 5)
    assert result == Answer(200, "", BODY[:keep_bytes], cut=keep_bytes < BODY_BYTES_MAX)


@pytest.mark.parametrize("keep_bytes", [10, BODY_BYTES_MAX, 10 * BODY_BYTES_MAX])
@pytest.mark.parametrize(
    "reply",
    [
        [ok(2 * BODY)],
        [CHUNKED + b"fffffff\r\n" + 2 * BODY, Act.SILENCE],
        [ok(gzip.compress(2 * BODY), "Content-Encoding: gzip")],
        [UNTIL_CLOSE + 2 * BODY, Act.SILENCE],
    ],
    ids=["content-length", "chunked", "gzip", "until close"],
)
async def test_beyond_its_bound_the_beginning_is_kept_and_said_to_be_cut(reply, keep_bytes):
    async with WireEndpoint(reply) as endpoint:
        connection = await endpoint.connect()
        result = await asyncio.wait_for(connection.exchange(*request(), keep_bytes), 5)
    assert isinstance(result, Answer)
    assert (result.status, result.cut) == (200, True)
    assert (2 * BODY).startswith(result.body)
    assert min(keep_bytes, BODY_BYTES_MAX) <= len(result.body) <= keep_bytes
    assert not connection.usable()


@pytest.mark.parametrize("keep_bytes", [0, 1_000_000])
async def test_large_bodies_leave_the_connection_reading(keep_bytes):
    body = BODY * 8
    async with WireEndpoint([ok(body)]) as endpoint:
        connection = await endpoint.connect(response_bytes_max=1_000_000)
        for _ in range(5):
            result = await asyncio.wait_for(connection.exchange(*request(), keep_bytes), 5)
            assert result == Answer(200, "", body[:keep_bytes])
            assert connection.usable()


async def test_a_kept_body_that_breaks_off_is_no_answer():
    async with WireEndpoint([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Act.TURN, Act.CLOSE]) as endpoint:
        connection = await endpoint.connect()
        result = await asyncio.wait_for(connection.exchange(*request(), 100), 5)
    assert result == failed("closed_in_body")


async def test_one_connection_serves_many_and_is_counted_once():
    async with WireEndpoint() as endpoint:
        connection = await endpoint.connect()
        for _ in range(20):
            assert connection.usable()
            assert await connection.exchange(*request()) == Answer(204)
        assert endpoint.connections == endpoint.stats.connections_opened == 1
        assert len(endpoint.requests) == 20


async def test_the_request_is_written_as_it_was_handed_over():
    async with WireEndpoint() as endpoint:
        connection = await endpoint.connect()
        body = b"\x00\xff" * 600_000
        assert await connection.exchange(*request(body)) == Answer(204)
        assert endpoint.requests == [b"".join(request(body))]


async def test_retry_after_is_handed_on_as_it_stands():
    result, _ = await outcome([ok(b"busy", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT", status=503)])
    assert result == Answer(503, "Wed, 21 Oct 2026 07:28:00 GMT")


async def test_an_answer_to_head_has_no_body():
    result, usable = await outcome([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], method="HEAD")
    assert result == Answer(200)
    assert usable


@pytest.mark.parametrize(
    "reply",
    [
        [ok(b"x", "Connection: close")],
        [b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"],
        [b"HTTP/1.1 200 OK\r\n\r\nuntil the end", Act.CLOSE],
    ],
)
async def test_answers_that_end_the_connection_are_answers(reply):
    result, usable = await outcome(reply)
    assert result == Answer(200)
    assert not usable


@pytest.mark.parametrize(
    "reply",
    [
        [ok(b"x" * (BODY_BYTES_MAX + 1))],
        [b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (BODY_BYTES_MAX + 1), Act.SILENCE],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * (BODY_BYTES_MAX + 1), Act.SILENCE],
        [CHUNKED + b"fffffff\r\n" + b"x" * (BODY_BYTES_MAX + 1), Act.SILENCE],
    ],
    ids=["content-length", "until close", "announced and never sent", "one endless chunk"],
)
async def test_beyond_its_bound_a_body_is_left_unread_and_the_status_counts(reply):
    result, usable = await outcome(reply)
    assert result == Answer(200)
    assert not usable


async def test_a_gzip_bomb_is_not_inflated():
    bomb = gzip.compress(b"\0" * 40_000_000)
    async with WireEndpoint([ok(bomb, "Content-Encoding: gzip", status=422)]) as endpoint:
        connection = await endpoint.connect()
        tracemalloc.start()
        try:
            result = await connection.exchange(*request())
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert result == Answer(422)
    assert not connection.usable()
    assert peak_bytes < 16 * BODY_BYTES_MAX + 2 * len(bomb)


@pytest.mark.parametrize(
    ("reply", "detail"),
    [
        ([Act.CLOSE], "closed_before_answer"),
        ([Act.RESET], "closed_before_answer"),
        ([EARLY_HINTS, Act.CLOSE], "closed_before_answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Le", Act.CLOSE], "closed_in_head"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Act.CLOSE], "closed_in_body"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", Act.TURN, Act.CLOSE], "closed_in_body"),
        ([CHUNKED + b"5\r\nhel", Act.TURN, Act.CLOSE], "closed_in_body"),
        ([b"garbage\r\n\r\n"], "bad_response"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nabcde"], "bad_response"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], "bad_response"),
        ([CHUNKED + b"zz\r\n"], "bad_response"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n"], "bad_response"),
        ([ok(b"no gzip at all", "Content-Encoding: gzip")], "bad_response"),
        ([b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], "bad_response"),
        ([EARLY_HINTS * (INTERIM_MAX + 1) + ok()], "bad_response"),
    ],
)
async def test_what_is_no_answer_is_an_ambiguous_failure(reply, detail):
    result, usable = await outcome(reply)
    assert result == failed(detail)
    assert not usable


async def test_a_malformed_chunk_in_a_later_packet_ends_the_exchange_at_once():
    result, usable = await outcome([CHUNKED + b"5\r\nhello\r\n", Act.TURN, b"zz\r\n", Act.SILENCE])
    assert isinstance(result, Failure)
    assert (result.cls, result.sent) == (FailureClass.CONNECTION, True)
    assert not usable


@pytest.mark.parametrize(
    "stuck",
    [
        [],
        [b"HTTP/1.1 200 OK\r\n"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"],
        [b"HTTP/1.1 200 OK\r\n\r\nab"],
        [CHUNKED + b"5\r\nhel"],
        [EARLY_HINTS],
    ],
    ids=["nothing", "half a head", "half a body", "body until close", "half a chunk", "interim only"],
)
async def test_an_abort_ends_whatever_is_stuck(stuck):
    async with WireEndpoint([*stuck, Act.TURN, Act.SILENCE]) as endpoint:
        connection = await endpoint.connect()
        exchange = asyncio.ensure_future(connection.exchange(*request()))
        await eventually(lambda: endpoint.requests)
        for _ in range(50):  # lets what was written arrive; the result is the same if it has not
            await asyncio.sleep(0)
        connection.abort(FailureClass.TIMEOUT)
        assert await asyncio.wait_for(exchange, 5) == Failure(FailureClass.TIMEOUT, sent=True, detail="aborted")
        assert not connection.usable()


@pytest.mark.parametrize("unasked", [NO_CONTENT[0], b"HTTP/1.1 204 No Con", b"hello", b"\n"])
async def test_unsolicited_bytes_end_the_connection_before_the_next_write(unasked):
    async with WireEndpoint() as endpoint:
        connection = await endpoint.connect()
        assert await connection.exchange(*request()) == Answer(204)
        assert connection.usable()
        endpoint.open[0].write(unasked)
        await eventually(lambda: not connection.usable())
        result = await connection.exchange(*request())
        assert result == Failure(FailureClass.CONNECTION, sent=False, detail="closed_before_write")
        assert len(endpoint.requests) == 1


async def test_bytes_before_the_first_request_end_the_connection():
    async with WireEndpoint(greeting=b"220 mail.example ESMTP\r\n") as endpoint:
        connection = await endpoint.connect()
        await eventually(lambda: not connection.usable())
        result = await connection.exchange(*request())
        assert result == Failure(FailureClass.CONNECTION, sent=False, detail="closed_before_write")


async def test_a_second_answer_behind_the_first_is_not_the_next_ones():
    result, usable = await outcome([NO_CONTENT[0] + ok(status=500)])
    assert result == Answer(204)
    assert not usable


async def test_an_idle_connection_the_receiver_closed_is_found_before_the_write():
    async with WireEndpoint() as endpoint:
        connection = await endpoint.connect()
        await connection.exchange(*request())
        endpoint.open[0].close()
        await eventually(lambda: not connection.usable())
        result = await connection.exchange(*request())
        assert result == Failure(FailureClass.CONNECTION, sent=False, detail="closed_before_write")


async def test_a_connection_closed_as_the_request_goes_out_is_ambiguous():
    async with WireEndpoint(NO_CONTENT, [Act.CLOSE]) as endpoint:
        connection = await endpoint.connect()
        await connection.exchange(*request())
        assert connection.usable()
        assert await connection.exchange(*request()) == failed("closed_before_answer")


async def test_a_connection_is_retired_after_its_lifetime():
    async with WireEndpoint() as endpoint:
        connection = await endpoint.connect()
        assert isinstance(connection, HttpConnection)
        assert connection.usable()
        connection._retire_at_s -= LIFETIME_S
        assert not connection.usable()


async def test_bodies_do_not_stay_in_memory_between_exchanges():
    async with WireEndpoint([ok(b"x" * BODY_BYTES_MAX)]) as endpoint:
        connection = await endpoint.connect()
        await connection.exchange(*request())
        assert connection._protocol._payload is None
        assert connection._protocol._parser is None
