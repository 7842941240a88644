"""Tries one destination end to end with a worker's own parts: resolve, connect, TLS, authenticate, sign, send."""

from __future__ import annotations

import asyncio
import re
import secrets as chance
import time
import uuid
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import orjson

from pipeline.adapters.http.probe import addresses, peer
from pipeline.app.endpoints import Endpoint
from pipeline.config.request import Requests
from pipeline.core import tracecontext, urltext, verdict
from pipeline.model import Answer, Failure, FailureClass, value
from pipeline.ports import LaneStats

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.adapters.http.authentication import Waited
    from pipeline.adapters.http.connection import HttpConnection
    from pipeline.config.models import Config, Operation
    from pipeline.config.secrets import Secrets
    from pipeline.model import Destination

MARK: Final = b"hookline-test: true\r\n"
"""The header line of a test delivery, for receivers that want to tell."""
STAND_IN: Final = "hookline-test"
"""Stands for every value of an event in path and query."""
EXPIRES_SOON_MS: Final = 14 * 86_400_000
"""A certificate that expires within this is warned of."""
DAY_MS: Final = 86_400_000
LINGER_S: Final = 0.05
"""A connection whose handshake failed is closed on later turns of the loop (aiohttp: graceful shutdown)."""
UNAUTHORISED: Final = 401


@value
class Finding:
    """What one step came to. `said` explains, `remedy` says what to do; neither holds a secret."""

    step: str  # resolve | connect | tls | authenticate | send
    ok: bool
    ms: int
    said: str
    remedy: str = ""


_REMEDIES: Final = {
    "dns": "check the host of base_url, and this machine's DNS",
    "connect_refused": "nothing listens on that port: check base_url, or tell its owner",
    "connect_reset": "it hangs up: check the port of base_url, or tell its owner",
    "unreachable": "there is no route from here: check network and firewall",
    "connect": "nobody answered within `timeout`: check firewall and base_url, or tell its owner",
    "certificate_expired": "its owner must renew the certificate",
    "certificate_not_yet_valid": "its owner must replace the certificate, or this machine's clock is wrong",
    "certificate_wrong_host": "the certificate is for another name: check the host of base_url",
    "certificate_self_signed": "if that authority is to be trusted: tls.ca: file:PATH of its certificate",
    "certificate_untrusted": "if that authority is to be trusted: tls.ca: file:PATH of its certificate",
    "handshake": "check that base_url means a TLS port, and tls.client_cert if it wants one",
}
_ALLOW: Final = "if it is meant to be called: private_networks, with the network it is in"
_STATUS_REMEDIES: Final = {
    401: "it refuses our credentials: check `auth` and the secret behind it",
    403: "it knows us and forbids this, or hides a bad key: check `auth`, and what the key may do",
    404: "no such path: check base_url and the operation's path",
    405: "not with this method: check the operation's method",
    407: "the proxy refuses our credentials: check `proxy`",
    410: "it says that this is gone for good: check the operation's path; workers would disable it",
    415: "not in this format: check the operation's body",
    429: "it is called too often: check limits.rate",
}


async def trial(
    config: Config, secrets: Secrets, call: str, agreed: Callable[[], bool], tell: Callable[[Finding], None]
) -> bool:
    """Try `destination.operation`; return whether all went well. `tell` gets each finding as it is made.

    `agreed` is asked before anything is sent. Bounded by the destination's timeout for each step. Raises ConfigError
    for a secret that is missing.
    """
    name, _, operation_name = call.partition(".")
    requests = Requests(config.model_copy(update={"destinations": {name: config.destinations[name]}}), secrets)
    destination = requests.destinations[name]
    endpoint = Endpoint(destination, requests.access[name], LaneStats(), lambda *_, **__: None)
    try:
        if destination.proxy is None and not await _resolve(destination, tell):
            return False
        connection = await _connect(destination, endpoint, tell)
        if connection is None or not agreed():
            return connection is not None
        return await _send(config, requests, endpoint, connection, call, config.destinations[name].operations[
            operation_name], tell)  # fmt: skip
    finally:
        await endpoint.close()
        await asyncio.sleep(LINGER_S)


async def _resolve(destination: Destination, tell: Callable[[Finding], None]) -> bool:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(destination.timeout_ms / 1000):
            found = await addresses(destination)
    except (OSError, TimeoutError):
        tell(Finding("resolve", ok=False, ms=_ms(began_s), said=f"{destination.host} does not resolve",
                     remedy=_REMEDIES["dns"]))  # fmt: skip
        return False
    refused = [reason for _, reason in found if reason]
    said = ", ".join(f"{address} ({reason or 'may be called'})" for address, reason in found)
    tell(Finding("resolve", ok=not refused, ms=_ms(began_s), said=f"{destination.host} is {said}",
                 remedy=f"an address that is {refused[0]} may not be called; {_ALLOW}" if refused else ""))  # fmt: skip
    return not refused


async def _connect(
    destination: Destination, endpoint: Endpoint, tell: Callable[[Finding], None]
) -> HttpConnection | None:
    began_s = time.monotonic()
    opened = await endpoint.sender.connect()
    took_ms = _ms(began_s)
    where = f"port {destination.port}"
    if destination.proxy is not None:
        where += f" by the proxy {destination.proxy.host}:{destination.proxy.port}"
    if isinstance(opened, Failure):
        if opened.cls is FailureClass.TLS:
            tell(Finding("connect", ok=True, ms=took_ms, said=where))
        step = "tls" if opened.cls is FailureClass.TLS else "connect"
        remedy = _ALLOW if opened.cls is FailureClass.BLOCKED_ADDRESS else _REMEDIES.get(opened.detail, "")
        tell(Finding(step, ok=False, ms=took_ms, said=f"{where}: {_words(opened)}", remedy=remedy))
        return None
    there = peer(opened)
    tell(Finding("connect", ok=True, ms=took_ms, said=f"{where}, {there.address}"))
    if there.tls:
        left_ms = there.expires_ms - time.time_ns() // 1_000_000
        said = f"{there.tls}, certificate of {there.subject} by {there.issuer}, {left_ms // DAY_MS} days left"
        soon = left_ms < EXPIRES_SOON_MS
        tell(Finding("tls", ok=True, ms=0, said=said, remedy="its owner should renew it now" if soon else ""))
    elif not destination.tls:
        tell(Finding("tls", ok=True, ms=0, said="none: base_url is plain http"))
    return opened


async def _send(
    config: Config,
    requests: Requests,
    endpoint: Endpoint,
    connection: HttpConnection,
    call: str,
    operation: Operation,
    tell: Callable[[Finding], None],
) -> bool:
    delivery_id = str(uuid.uuid4())
    body = example(config, operation)
    head = requests.request(call, STAND_IN, STAND_IN).head
    traceparent = tracecontext.format(delivery_id.replace("-", ""), chance.token_hex(8), sampled=True)
    event = MARK + b"hookline-event-id: %b\r\nhookline-event-type: %b\r\n" % (delivery_id.encode(), STAND_IN.encode())
    timeout_s = endpoint.destination.timeout_ms / 1000
    authentication = endpoint.authentication
    for again in (True, False):
        lines = b""
        if authentication is not None:
            began_s = time.monotonic()
            had = await _lines(authentication, delivery_id, body, timeout_s)
            if isinstance(had, Failure):
                tell(Finding("authenticate", ok=False, ms=_ms(began_s), said=_words(had),
                             remedy="check `auth` and `sign`, and the secrets behind them"))  # fmt: skip
                return False
            lines = had
            tell(Finding("authenticate", ok=True, ms=_ms(began_s), said="access token or signature was had"))
        now_s = time.time_ns() // 1_000_000_000
        written = head(delivery_id, event + lines, traceparent, now_s, body, target(operation))
        began_s = time.monotonic()
        timer = asyncio.get_running_loop().call_later(timeout_s, connection.abort, FailureClass.TIMEOUT)
        answer = await connection.exchange(written, body)
        timer.cancel()
        refused = isinstance(answer, Answer) and answer.status == UNAUTHORISED
        if not (again and refused and authentication is not None and await authentication.refused(lines)):
            break
    ruling = verdict.judge(answer, 1, requests.retry(call), 0, DAY_MS, 0.0)
    tell(_judged(answer, ruling, _ms(began_s), delivery_id))
    return isinstance(ruling, verdict.Delivered)


async def _lines(authentication: Waited, delivery_id: str, body: bytes, timeout_s: float) -> bytes | Failure:
    try:
        return await asyncio.wait_for(authentication.lines(delivery_id, body), timeout_s)
    except TimeoutError:
        return Failure(FailureClass.TIMEOUT, sent=False)


def _judged(answer: Answer | Failure, ruling: verdict.Verdict, ms: int, delivery_id: str) -> Finding:
    """Explain what the answer means to a worker."""
    means = {
        verdict.Delivered: "delivered", verdict.Rejected: "rejected for good", verdict.RetryAt: "to be tried again",
        verdict.Hold: "refused as such: the breaker would open and runs wait", verdict.Dead: "dead",
    }[type(ruling)]  # fmt: skip
    ok = isinstance(ruling, verdict.Delivered)
    if isinstance(answer, Failure):
        return Finding("send", ok, ms, f"no usable answer ({_words(answer)}): {means}", "tell its owner")
    remedy = "" if ok else _STATUS_REMEDIES.get(answer.status, "")
    if not ok and not remedy:
        remedy = "tell its owner"
        if answer.status < 500:  # noqa: PLR2004 - client errors
            remedy = (
                "it was reached and knows us, and does not want this body: a contract with `examples` gives another"
            )
    return Finding("send", ok, ms, f"delivery {delivery_id}: HTTP {answer.status}, {means}", remedy)


def example(config: Config, operation: Operation) -> bytes:
    """Return a body: the first of its contract's `examples`, else `{}`; none where the operation has none."""
    if operation.body == "none":
        return b""
    schema: Any = config.contracts[operation.request_schema].schema if operation.request_schema else {}
    given = schema.get("examples") if isinstance(schema, dict) else None
    content = given[0] if isinstance(given, list) and given else {}
    if operation.body == "form":
        return urlencode(content if isinstance(content, dict) else {}).encode("ascii")
    written = orjson.dumps(content)
    return written + b"\n" if operation.body == "ndjson" else written


def target(operation: Operation) -> bytes:
    """Return path and query with a stand-in for what comes from events; b"" if nothing does."""
    if not operation.changes_target:
        return b""
    path = re.sub(r"\{[^{}]*\}", STAND_IN, operation.path)
    pairs = [
        (key.removesuffix("?"), STAND_IN if isinstance(each, str) and "${" in each else urltext.scalar_text(each) or "")
        for key, each in operation.query.items()
    ]
    return (path + (f"?{urltext.constant_query(pairs)}" if pairs else "")).encode("ascii")


def _words(failure: Failure) -> str:
    return f"{failure.cls.value}, {failure.detail.replace('_', ' ')}" if failure.detail else failure.cls.value


def _ms(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1_000)
