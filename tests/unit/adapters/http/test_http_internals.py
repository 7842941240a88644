"""Pins what pipeline/adapters/http uses of aiohttp beyond its public API: an upgrade that changes it fails here."""

from __future__ import annotations

import asyncio
import inspect

import aiohttp
import pytest
from aiohttp import client_reqrep, connector, http, resolver, streams
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from pipeline.adapters.http import connection as connection_module
from pipeline.adapters.http import proxy as proxy_module
from pipeline.adapters.http import sender as sender_module
from pipeline.adapters.http.connection import AnswerProtocol

CONNECTION = connection_module.__file__
SENDER = sender_module.__file__
PROXY = proxy_module.__file__


def mend(file: str) -> str:
    return f"aiohttp {aiohttp.__version__} changed what {file} relies on: mend that file, then this test"


def parameters(function) -> set[str]:
    return set(inspect.signature(function).parameters)


class Wire(asyncio.Transport):
    """A transport that keeps what is written and has nothing behind it."""

    def __init__(self):
        super().__init__()
        self.closing = False

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    abort = close

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


@pytest.fixture
async def protocol():
    made = AnswerProtocol(asyncio.get_running_loop())
    made.connection_made(Wire())
    return made


def begin(protocol):
    protocol.set_response_params(skip_payload=False, read_until_eof=True, read_bufsize=65_536)


@pytest.mark.parametrize(
    ("function", "used", "file"),
    [
        (ResponseHandler.set_response_params, {"skip_payload", "read_until_eof", "read_bufsize"}, CONNECTION),
        (ResponseHandler.set_exception, {"exc", "exc_cause"}, CONNECTION),
        (connector.TCPConnector.__init__, {"resolver", "ttl_dns_cache", "limit", "ssl"}, SENDER),
        (connector.TCPConnector.connect, {"req", "traces", "timeout"}, SENDER),
        (client_reqrep.ClientRequest.__init__, {"method", "url", "loop", "server_hostname"}, SENDER),
        (connector.TCPConnector._create_connection, {"req", "traces", "timeout"}, PROXY),
        (connector.TCPConnector._resolve_host, {"host", "port", "traces"}, PROXY),
        (connector.TCPConnector._wrap_create_connection, {"addr_infos", "req", "timeout", "client_error"}, PROXY),
        (connector.TCPConnector._convert_hosts_to_addr_infos, {"hosts"}, PROXY),
        (connector.TCPConnector._start_tls_connection, {"underlying_transport", "req", "timeout"}, PROXY),
        (aiohttp.ClientTimeout.__init__, {"connect", "sock_connect", "ceil_threshold"}, SENDER),
        (resolver.DefaultResolver.resolve, {"host", "port", "family"}, SENDER),
    ],
)  # fmt: skip
def test_signatures(function, used, file):
    assert used <= parameters(function), mend(file)


@pytest.mark.parametrize(
    ("owner", "names", "file"),
    [
        (ResponseHandler, {"should_close", "upgraded", "is_connected", "read"}, CONNECTION),
        (
            streams.StreamReader,
            {"total_bytes", "is_eof", "readany", "read_nowait", "exception", "set_exception"},
            CONNECTION,
        ),
        (http.RawResponseMessage, {"code", "headers"}, CONNECTION),
        (connector.Connection, {"protocol", "transport", "close"}, CONNECTION),
    ],
)
def test_attributes(owner, names, file):
    assert names <= set(dir(owner)) | set(getattr(owner, "_fields", ())), mend(file)


def test_the_bounds_of_a_head_are_those_documented():
    defaults = inspect.signature(ResponseHandler.set_response_params).parameters
    assert defaults["max_line_size"].default == defaults["max_field_size"].default == 8_190, mend(CONNECTION)
    assert defaults["max_headers"].default == 128, mend(CONNECTION)


async def test_reading_is_awaited_and_should_close_is_not_called(protocol):
    assert inspect.iscoroutinefunction(protocol.read), mend(CONNECTION)
    assert protocol.should_close is False, mend(CONNECTION)
    assert protocol.upgraded is False, mend(CONNECTION)


async def test_a_message_and_its_payload_come_out_of_read(protocol):
    begin(protocol)
    protocol.data_received(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno")
    message, payload = await protocol.read()
    assert (message.code, message.headers.get("Retry-After")) == (503, "7"), mend(CONNECTION)
    assert (payload.total_bytes, payload.is_eof(), payload.exception()) == (2, True, None), mend(CONNECTION)


async def test_an_answer_without_a_body_has_the_one_empty_payload(protocol):
    begin(protocol)
    protocol.data_received(b"HTTP/1.1 204 No Content\r\n\r\n")
    _, payload = await protocol.read()
    assert payload is streams.EMPTY_PAYLOAD, mend(CONNECTION)


async def test_the_parser_and_payload_can_be_put_away_and_bytes_without_a_parser_are_noticed(protocol):
    begin(protocol)
    protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await protocol.read()
    assert protocol._parser is not None, mend(CONNECTION)
    assert protocol._payload is not None, mend(CONNECTION)
    protocol._parser = protocol._payload = None
    assert not protocol.should_close, mend(CONNECTION)
    protocol.data_received(b"H")
    assert protocol.should_close, mend(CONNECTION)


async def test_a_body_reader_learns_of_a_malformed_chunk(protocol):
    """What AnswerProtocol is for: with aiohttp's own protocol this reader waits for ever."""
    begin(protocol)
    protocol.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    _, payload = await protocol.read()
    assert await payload.readany() == b"hello"
    reading = asyncio.ensure_future(payload.readany())
    await asyncio.sleep(0)
    protocol.data_received(b"zz\r\n")
    with pytest.raises(aiohttp.http_exceptions.HttpProcessingError):
        await asyncio.wait_for(reading, 5)


async def test_a_body_that_broke_off_keeps_its_own_exception(protocol):
    begin(protocol)
    protocol.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
    _, payload = await protocol.read()
    protocol.connection_lost(None)
    assert isinstance(payload.exception(), aiohttp.ClientPayloadError), mend(CONNECTION)


async def test_a_body_until_the_end_of_the_connection_ends_there(protocol):
    begin(protocol)
    protocol.data_received(b"HTTP/1.1 200 OK\r\n\r\nhello")
    _, payload = await protocol.read()
    protocol.connection_lost(None)
    assert payload.is_eof(), mend(CONNECTION)
    assert payload.exception() is None, mend(CONNECTION)


@pytest.mark.parametrize(("received", "text"), [(b"", True), (b"HTTP/1.1 200 OK\r\nCont", False)])
async def test_a_disconnect_tells_whether_there_was_a_head(protocol, received, text):
    begin(protocol)
    if received:
        protocol.data_received(received)
    protocol.connection_lost(None)
    with pytest.raises(aiohttp.ServerDisconnectedError) as raised:
        await protocol.read()
    assert isinstance(raised.value.message, str) is text, mend(CONNECTION)


async def test_the_connector_makes_protocols_with_its_factory_and_keeps_its_resolver():
    chosen = resolver.ThreadedResolver()
    tcp = aiohttp.TCPConnector(resolver=chosen)
    assert tcp._factory.func is ResponseHandler, mend(SENDER)
    assert tcp._resolver is chosen, mend(SENDER)
    await tcp.close()


async def test_connect_makes_connections_with_one_method_and_bounds_it():
    class Own(connector.TCPConnector):
        async def _create_connection(self, *_):
            await asyncio.get_running_loop().create_future()

    tcp = Own()
    wanted = client_reqrep.ClientRequest("POST", URL("http://hooks.example"), loop=asyncio.get_running_loop())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tcp.connect(wanted, [], aiohttp.ClientTimeout(connect=0.01)), 5)
    assert tcp._loop is asyncio.get_running_loop(), mend(PROXY)
    await tcp.close()


def test_a_certificate_error_keeps_what_openssl_said():
    assert issubclass(aiohttp.ClientConnectorCertificateError, Exception)
    assert "certificate_error" in dir(aiohttp.ClientConnectorCertificateError), mend(SENDER)
    assert issubclass(aiohttp.ClientProxyConnectionError, OSError), mend(SENDER)


async def test_a_request_only_carries_the_address():
    request = client_reqrep.ClientRequest("POST", URL("https://hooks.example:8443/"), loop=asyncio.get_running_loop())
    assert (request.url.raw_host, request.port, request.is_ssl()) == ("hooks.example", 8443, True), mend(SENDER)
