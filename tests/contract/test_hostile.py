"""Receivers that misbehave, over real sockets and through a real lane.

After each: the exact result, an attempt that ended in time, a connection that is not used again, and a next delivery
that works. `LaneTo` checks on leaving that no task and no connection is left.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import ssl
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.model import Answer, Failure, FailureClass
from tests.contract.endpoint import BODY_BYTES_MAX, NO_CONTENT, Act, Names, WireEndpoint, ok, request
from tests.contract.lane import LaneTo
from tests.support.conditions import eventually
from tests.support.tls import self_signed

if TYPE_CHECKING:
    from asyncio import StreamWriter

ROOT = Path(__file__).parents[2]
TIMEOUT_MS = 300
LATE_S = 1.5
"""An attempt ends with the sweep after its deadline; the rest is for a busy machine."""
TEN_GIGABYTES = 10 * 1024**3
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(b"\0" * 20_000_000)

CAREFUL = {"retry_ambiguous": False}
TIMED_OUT = Failure(FailureClass.TIMEOUT, sent=True, detail="aborted")
BAD = Failure(FailureClass.CONNECTION, sent=True, detail="bad_response")


def broken(detail: str) -> Failure:
    return Failure(FailureClass.CONNECTION, sent=True, detail=detail)


def drip(start: bytes, each: bytes = b"x"):
    """Says `start`, then `each` again and again, each in time to keep any timeout per read from firing."""

    async def act(writer: StreamWriter) -> None:
        writer.write(start)
        while True:
            writer.write(each)
            await writer.drain()
            await asyncio.sleep(0.02)

    return act


class Flood:
    """Says `start`, then `each` as fast as it is taken. Counts what was."""

    def __init__(self, start: bytes, each: bytes = b"x" * 65_536):
        self.start, self.each, self.taken = start, each, 0

    async def __call__(self, writer: StreamWriter) -> None:
        writer.write(self.start)
        while True:
            writer.write(self.each)
            await writer.drain()
            self.taken += len(self.each)


def headers(number: int) -> bytes:
    return b"".join(b"X-%d: y\r\n" % index for index in range(number))


NO_END = {
    "never answers": [Act.SILENCE],
    "a byte at a time, in the head": [drip(HEAD + b"X: ")],
    "a byte at a time, in a body": [drip(HEAD + b"Content-Length: 50000\r\n\r\n")],
    "a byte at a time, in a body until close": [drip(HEAD + b"\r\n")],
    "a byte at a time, in chunks": [drip(CHUNKED, b"1\r\nx\r\n")],
    "a byte at a time, in the size of a chunk": [drip(CHUNKED, b"0")],
    "a byte at a time, in a chunk's extension": [drip(CHUNKED + b"5;")],
    "empty lines without end": [Flood(b"", b"\r\n" * 5_000)],
    "a longer Content-Length than body": [HEAD + b"Content-Length: 10\r\n\r\nhello", Act.SILENCE],
    "a status no final answer has": [b"HTTP/1.1 099 Soon\r\n\r\n", Act.SILENCE],
}
NO_ANSWER = {
    "closes": ([Act.CLOSE], broken("closed_before_answer")),
    "resets": ([Act.RESET], broken("closed_before_answer")),
    "closes in the head": ([HEAD + b"X-Half", Act.CLOSE], broken("closed_in_head")),
    "closes after the headers": ([HEAD + b"Content-Length: 5\r\n\r\n", Act.CLOSE], broken("closed_in_body")),
    "closes before the last chunk": ([CHUNKED + b"5\r\nhello\r\n", Act.TURN, Act.CLOSE], broken("closed_in_body")),
    "garbage": ([b"\x15\x03\x01\x00\x02\x02\x28\r\n\r\n"], BAD),
    "another protocol": ([b"SSH-2.0-OpenSSH_9.6\r\n"], BAD),
    "another version": ([b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n"], BAD),
    "a status of four digits": ([b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"], BAD),
    "two different Content-Lengths": ([HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"], BAD),
    "a negative Content-Length": ([HEAD + b"Content-Length: -5\r\n\r\nhello"], BAD),
    "a Content-Length beyond counting": ([HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\nhello"], BAD),
    "Content-Length and chunks": ([HEAD + b"Content-Length: 5\r\n" + CHUNKED[len(HEAD) :] + b"0\r\n\r\n"], BAD),
    "a chunk size that is none": ([CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"], BAD),
    "a negative chunk": ([CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"], BAD),
    "a chunk size beyond counting": ([CHUNKED + b"f" * 20 + b"\r\nhello\r\n0\r\n\r\n"], BAD),
    "a chunk without its end": ([CHUNKED + b"5\r\nhelloXX0\r\n\r\n"], BAD),
    "1,000 headers": ([HEAD + headers(1_000) + b"Content-Length: 0\r\n\r\n"], BAD),
    "1,000 trailers": ([CHUNKED + b"0\r\n" + headers(1_000) + b"\r\n"], BAD),
    "a header of a megabyte": ([HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n"], BAD),
    "a header's name of a megabyte": ([HEAD + b"x" * 1_000_000, Act.SILENCE], BAD),
    "a reason of a megabyte": ([b"HTTP/1.1 200 " + b"x" * 1_000_000, Act.SILENCE], BAD),
    "a trailer of a megabyte": ([CHUNKED + b"0\r\nX: " + b"x" * 1_000_000, Act.SILENCE], BAD),
    "a zero byte in a header": ([HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"], BAD),
    "interim answers without end": ([b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000, Act.SILENCE], BAD),
    "switches protocols": ([b"HTTP/1.1 101 Now\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], BAD),
    "no gzip at all": ([ok(b"no gzip at all", "Content-Encoding: gzip")], BAD),
}
ENDED = {
    "10 GB with Content-Length": [Flood(HEAD + b"Content-Length: %d\r\n\r\n" % TEN_GIGABYTES)],
    "10 GB until close": [Flood(HEAD + b"\r\n")],
    "10 GB in one chunk": [Flood(CHUNKED + b"%x\r\n" % TEN_GIGABYTES)],
    "10 GB in small chunks": [Flood(CHUNKED, b"400\r\n" + b"x" * 1_024 + b"\r\n")],
    "a gzip bomb": [ok(BOMB, "Content-Encoding: gzip")],
    "a deflate bomb": [ok(zlib.compress(b"\0" * 20_000_000), "Content-Encoding: deflate")],
    "a gzip bomb in chunks": [
        HEAD + b"Content-Encoding: gzip\r\n" + CHUNKED[len(HEAD) :] + b"%x\r\n" % len(BOMB) + BOMB + b"\r\n0\r\n\r\n"
    ],
    "a shorter Content-Length than body": [HEAD + b"Content-Length: 2\r\n\r\nhe", Act.TURN, b"llo"],
    "a second answer nobody asked for": [ok(b"{}") + ok(status=500)],
    "says to close": [ok(b"{}", "Connection: close")],
}


async def hostile_then_good(reply, result: Answer | Failure, **limits) -> tuple[tuple[object, ...], WireEndpoint]:
    """Deliver to a receiver that misbehaves once; check the result, the next delivery, and what is left behind."""
    async with WireEndpoint(reply, NO_CONTENT) as endpoint, LaneTo(endpoint, timeout_ms=TIMEOUT_MS, **limits) as lane:
        started_s = time.monotonic()
        first = await lane.deliver("first")
        assert time.monotonic() - started_s < TIMEOUT_MS / 1000 + LATE_S
        assert lane.results == [result]
        assert await lane.deliver("second") == ("delivered", "", "")
        assert endpoint.connections == 2, "the connection of a broken exchange was used again"
        await eventually(lambda: len(endpoint.open) == 1, what="the first connection closed")
        return first, endpoint


@pytest.mark.parametrize("reply", NO_END.values(), ids=NO_END)
async def test_what_does_not_end_ends_at_the_deadline(reply):
    first, _ = await hostile_then_good(reply, TIMED_OUT)
    assert first[:2] == ("later", "timeout")


@pytest.mark.parametrize(("reply", "failure"), NO_ANSWER.values(), ids=NO_ANSWER)
async def test_what_is_no_answer_is_ambiguous(reply, failure):
    first, _ = await hostile_then_good(reply, failure)
    assert first[:2] == ("later", "connection")


@pytest.mark.parametrize("reply", ENDED.values(), ids=ENDED)
async def test_beyond_its_bounds_nothing_is_read_and_the_status_counts(reply):
    first, _ = await hostile_then_good(reply, Answer(200))
    assert first == ("delivered", "", "")
    for act in reply:
        if isinstance(act, Flood):
            assert act.taken < 32 * 1024**2, "more than socket buffers hold was taken"


@pytest.mark.parametrize("reply", [NO_END["never answers"], NO_ANSWER["closes after the headers"][0]])
async def test_where_repeats_are_not_dropped_no_answer_is_dead_and_not_repeated(reply):
    async with WireEndpoint(reply) as endpoint, LaneTo(endpoint, policy=CAREFUL, drops_repeats=False) as lane:
        assert (await lane.deliver("first"))[0] == "dead"
        assert len(endpoint.requests) == 1


async def test_a_receiver_that_answers_early_and_stops_reading_is_not_asked_on_that_connection_again():
    async def early(reader, writer):
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(status=413) if len(connections) == 1 else NO_CONTENT[0])
        await writer.drain()
        if len(connections) == 1:
            await done.wait()
        writer.close()

    connections: list[StreamWriter] = []
    done = asyncio.Event()
    server = await asyncio.start_server(early, "127.0.0.1", 0, limit=2**16)
    endpoint = WireEndpoint()
    endpoint.port = server.sockets[0].getsockname()[1]
    async with LaneTo(endpoint, timeout_ms=2_000) as lane:
        assert await lane.deliver("large", b"x" * 40_000_000) == ("rejected", "client_error", "http_413")
        assert await lane.deliver("next") == ("delivered", "", "")
        assert len(connections) == 2
        done.set()
    server.close()
    await server.wait_closed()


GLUTTONS = {
    "gzip bombs of 200 MB": lambda: [ok(gzip.compress(b"\0" * 200_000_000, 9), "Content-Encoding: gzip")],
    "10 GB": lambda: ENDED["10 GB until close"],
    "10 GB in small chunks": lambda: ENDED["10 GB in small chunks"],
    "headers of a megabyte": lambda: NO_ANSWER["a header of a megabyte"][0],
    "trailers of a megabyte": lambda: NO_ANSWER["a trailer of a megabyte"][0],
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measured by Linux's own figures")
@pytest.mark.parametrize("reply", GLUTTONS.values(), ids=GLUTTONS)
async def test_memory_stays_flat_whatever_is_sent(reply):
    """Measured by the operating system, in a process that does nothing else."""
    async with WireEndpoint([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"], reply()) as endpoint:
        argv = [sys.executable, "-m", "tests.contract.appetite", str(endpoint.port), "30"]
        child = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        try:
            told, _ = await asyncio.wait_for(child.communicate(), 60)
        finally:
            if child.returncode is None:
                child.kill()
        assert child.returncode == 0
        assert endpoint.connections == 31
        assert int(told) < 8 * 1024, "KiB"


# --------------------------------------------------------------------------------------------- what is answered


async def test_a_redirect_to_a_metadata_address_makes_no_second_connection():
    async with WireEndpoint(host="127.0.0.254") as metadata:
        target = f"http://{metadata.host}:{metadata.port}/latest/meta-data/"
        for status in (301, 302, 303, 307, 308):
            reply = [ok(b"", f"Location: {target}", f"Refresh: 0; url={target}", status=status)]
            async with WireEndpoint(reply) as endpoint, LaneTo(endpoint) as lane:
                assert await lane.deliver("first") == ("rejected", "client_error", f"http_{status}")
                assert lane.results == [Answer(status)]
                assert len(endpoint.requests) == endpoint.connections == lane.stats.connections_opened == 1
        assert metadata.connections == 0


@pytest.mark.parametrize(
    ("header", "floor_ms"),
    [
        ("120", 120_000), ("1000000000", 21_600_000), ("-120", 10_000), ("soon", 10_000), ("0", 10_000),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 10_000), ("Wed, 21 Oct 99999999999 07:28:00 GMT", 10_000), ("", 10_000),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 21_600_000), ("\xe9\xff", 10_000), ("9" * 8_000, 21_600_000),
    ],
)  # fmt: skip
async def test_429_with_any_retry_after_waits_as_long_and_the_connection_lives(header, floor_ms):
    reply = HEAD.replace(b"200 OK", b"429 Busy") + b"Content-Length: 4\r\nRetry-After: %b\r\n\r\nbusy" % (
        header.encode("latin-1")
    )
    async with WireEndpoint([reply], NO_CONTENT) as endpoint, LaneTo(endpoint) as lane:
        what, cls, wait_ms = await lane.deliver("first")
        assert (what, cls) == ("later", "rate_limited")
        assert floor_ms - 50 <= wait_ms <= floor_ms * 1.2
        assert await lane.deliver("second") == ("delivered", "", "")
        assert endpoint.connections == 1


async def test_429_with_a_date_waits_until_then():
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 90))
    async with WireEndpoint([ok(b"", f"Retry-After: {at}", status=429)]) as endpoint, LaneTo(endpoint) as lane:
        what, _, wait_ms = await lane.deliver("first")
        assert what == "later"
        assert 85_000 <= wait_ms <= 90_000 * 1.2


async def test_a_login_page_is_read_bounded_and_the_connection_lives():
    page = b"<!doctype html><title>Sign in</title><form action=/login>" + b"<p>hello</p>" * 1_000
    reply = [ok(page, "Content-Type: text/html; charset=utf-8")]
    async with WireEndpoint(reply) as endpoint, LaneTo(endpoint) as lane:
        for number in range(3):
            assert await lane.deliver(str(number)) == ("delivered", "", "")
        assert lane.results == [Answer(200)] * 3
        assert endpoint.connections == 1
        kept = await (await endpoint.connect()).exchange(*request(), keep_bytes=100)
        assert (kept.body, kept.cut) == (page[:100], True)
        whole = await (await endpoint.connect()).exchange(*request(), keep_bytes=BODY_BYTES_MAX)
        assert (whole.body, whole.cut) == (page, False)


# ----------------------------------------------------------------------------------------------- keep-alive


async def test_at_steady_state_connections_are_kept():
    """Under one new connection per 1,000 deliveries, as the receiver counts them."""
    async with WireEndpoint() as endpoint, LaneTo(endpoint, concurrency=8, timeout_ms=10_000) as lane:
        for number in range(200):
            lane.offer(f"warm-{number}")
        await eventually(lambda: len(lane.settled) == 200)
        warm = endpoint.connections
        assert warm <= 8
        for number in range(6_000):
            lane.offer(str(number))
        await eventually(lambda: len(lane.settled) == 6_200, timeout_s=60)
        assert endpoint.connections == lane.stats.connections_opened == warm
        assert set(lane.settled.values()) == {("delivered", "", "")}
        assert len(endpoint.requests) == 6_200


async def test_an_idle_connection_closed_as_the_request_goes_out_is_replaced_at_once():
    async with WireEndpoint() as endpoint, LaneTo(endpoint) as lane:
        assert await lane.deliver("first") == ("delivered", "", "")
        _close_now(endpoint)
        assert await lane.deliver("second") == ("delivered", "", "")
        assert endpoint.connections == 2
        assert lane.stats.failures == {}
        assert lane.stats.attempts == 2
        assert lane.results == [Answer(204)] * 2


async def test_closed_as_the_request_goes_out_where_repeats_are_not_dropped():
    replies = NO_CONTENT, [Act.CLOSE], NO_CONTENT
    async with WireEndpoint(*replies) as endpoint, LaneTo(endpoint, policy=CAREFUL, drops_repeats=False) as lane:
        assert await lane.deliver("first") == ("delivered", "", "")
        assert await lane.deliver("second") == ("dead", "connection", "closed_before_answer")
        assert lane.results[1:] == [broken("closed_before_answer")]
        assert len(endpoint.requests) == 2
        assert await lane.deliver("third") == ("delivered", "", "")


async def test_a_receiver_that_closes_every_time_is_tried_once_more_and_no_more():
    async with WireEndpoint(NO_CONTENT, [Act.CLOSE]) as endpoint, LaneTo(endpoint) as lane:
        assert await lane.deliver("first") == ("delivered", "", "")
        assert (await lane.deliver("second"))[:2] == ("later", "connection")
        assert len(endpoint.requests) == 3
        assert lane.stats.attempts == 2


def _close_now(endpoint: WireEndpoint) -> None:
    """Close on the receiver's side, before the loop turns: the lane cannot know yet."""
    [writer] = endpoint.open
    with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


# ----------------------------------------------------------------------------------------------------- TLS


@pytest.mark.parametrize(
    ("made", "trusted", "detail"),
    [
        ({}, False, "certificate_self_signed"),
        ({"expired": True}, True, "certificate_expired"),
        ({"host": "other.example"}, True, "certificate_wrong_host"),
    ],
    ids=["self-signed", "expired", "another host's"],
)
async def test_a_certificate_that_is_wrong_gets_no_request(tmp_path, made, trusted, detail):
    certificate = self_signed(tmp_path, **made)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    trust = {"ca_file": str(certificate.certificate)} if trusted else {}
    async with WireEndpoint(tls=tls) as endpoint:
        async with LaneTo(endpoint, resolver=Names(["127.0.0.1"]), tls=True, host="localhost", **trust) as lane:
            assert (await lane.deliver("first"))[:2] == ("later", "tls")
            assert lane.results == [Failure(FailureClass.TLS, sent=False, detail=detail)]
            assert endpoint.requests == []
        await eventually(lambda: not endpoint.open)


async def test_a_handshake_without_end_ends_at_the_deadline():
    async def mute(_reader, writer):
        open_.append(writer)
        await _reader.read()
        open_.remove(writer)
        writer.close()

    open_: list[StreamWriter] = []
    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    endpoint = WireEndpoint()
    endpoint.port = server.sockets[0].getsockname()[1]
    async with LaneTo(endpoint, tls=True, timeout_ms=TIMEOUT_MS) as lane:
        started_s = time.monotonic()
        assert (await lane.deliver("first"))[:2] == ("later", "timeout")
        assert time.monotonic() - started_s < TIMEOUT_MS / 1000 + LATE_S
        [failure] = lane.results
        assert isinstance(failure, Failure)
        assert not failure.sent
    await eventually(lambda: not open_)
    server.close()
    await server.wait_closed()
