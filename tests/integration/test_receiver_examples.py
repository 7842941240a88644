"""The example endpoints, started as their page says, called with requests that Hookline's signer made."""

from __future__ import annotations

import contextlib
import http.client
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import redis_server, requests
from tests.support.children import Child
from tests.support.parts import ROOT
from tests.support.ports import free_port

EXAMPLES = ROOT / "docs" / "examples" / "receivers"
START_TIMEOUT_S = 60.0
NEW, OLD, OTHER = (requests.secret(number) for number in (1, 2, 3))


class Endpoint:
    """One example in a process of its own, that has both keys of a rotation."""

    def __init__(self, example, folder, **environment):
        self.port = free_port()
        self.log = folder / f"{example}.{self.port}.log"
        environment |= {"PORT": str(self.port), "SIGNING_SECRETS": f"{NEW} {OLD}", "PYTHONPATH": str(ROOT)}
        self.child = Child([sys.executable, str(EXAMPLES / example)], self.log, **environment)
        self.child.wait_ready(self._healthy, START_TIMEOUT_S)

    def _healthy(self):
        with contextlib.suppress(OSError):
            return self.call("GET", "/health", b"", {}) == 200
        return False

    def call(self, method, path, body, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            self.said = answer.read()
            return answer.status
        finally:
            connection.close()

    def post(self, headers, body=requests.BODY):
        return self.call("POST", "/hooks/order", body, headers)

    def handled(self):
        """The lines the handler logged."""
        return [line for line in self.log.read_text().splitlines() if "order.placed worth" in line]


@pytest.fixture(params=["aiohttp_app.py", "fastapi_app.py"])
def endpoint(request, tmp_path):
    started = Endpoint(request.param, tmp_path)
    yield started
    started.child.stop()
    assert started.child.returncode in (0, -signal.SIGTERM), started.child.tail()


def test_an_example_does_what_its_page_says(endpoint):
    delivery = requests.delivery()
    assert endpoint.post(requests.signed(delivery_id=delivery)) == 204
    assert [endpoint.post(requests.signed(delivery_id=delivery)) for _ in range(2)] == [200, 200]
    [line] = endpoint.handled()
    assert line == (
        f"INFO order.placed worth 5 event={requests.EVENT_ID} delivery={delivery} trace={requests.TRACE_ID}"
    )
    for secrets in ([NEW], [OLD], [OTHER, OLD], [NEW, OTHER]):
        assert endpoint.post(requests.signed(requests.BODY, *secrets)) == 204
    refused = [
        (401, requests.signed(requests.BODY, OTHER), requests.BODY),
        (401, requests.signed(), requests.BODY.replace(b"5", b"6")),
        (401, requests.signed() | {"webhook-id": requests.delivery()}, requests.BODY),
        (401, requests.signed(now_s=time.time() - 301), requests.BODY),
        (401, requests.signed(now_s=time.time() + 320), requests.BODY),
        (401, {"content-type": "application/json"}, requests.BODY),
        (422, requests.signed(b'{"customer":"c-1"}'), b'{"customer":"c-1"}'),
        (413, requests.signed(b" " * (1 << 20) + b"{}"), b" " * (1 << 20) + b"{}"),
    ]
    assert [endpoint.post(headers, body) for _, headers, body in refused] == [status for status, _, _ in refused]
    assert len(endpoint.handled()) == 5


def test_of_many_attempts_at_once_one_is_handled(endpoint):
    headers = requests.signed()
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: endpoint.post(headers), range(24)))
    assert statuses.count(204) == 1
    assert set(statuses) <= {204, 200, 409}
    assert len(endpoint.handled()) == 1


def test_processes_share_a_redis_and_survive_their_restart(tmp_path):
    with redis_server.running(tmp_path) as server, contextlib.ExitStack() as started:

        def start():
            endpoint = Endpoint("fastapi_app.py", tmp_path, REDIS_URL=server.url)
            started.callback(endpoint.child.stop)
            return endpoint

        one, two, headers = start(), start(), requests.signed()
        assert (one.post(headers), two.post(headers)) == (204, 200)
        one.child.stop()
        assert start().post(headers) == 200
        server.stop()
        assert two.post(requests.signed()) == 503
        server.start()
        assert two.post(requests.signed()) == 204
