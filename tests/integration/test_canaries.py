"""What must not leak does not: strings of one test alone, looked for in everything a worker says to anyone.

They are put into the event, the credentials, the secret parts of URLs, and into all that hostile receivers can say:
bodies, header fields, reasons, malformed answers, certificates and a proxy's refusal.
"""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import ssl

from tests.contract.endpoint import Act, WireEndpoint, ok
from tests.contract.tunnel import TunnelProxy
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.otlp import OtlpReceiver
from tests.support.system import encode, event, step
from tests.support.tls import self_signed

CANARIES = {
    "payload": "canary-payload-7b1d", "email": "canary-email-7b1d@example.org", "customer": "canary-customer-7b1d",
    "token": "canary-token-7b1d", "query": "canary-query-7b1d", "url": "canary-url-7b1d",
    "sign": "canary-sign-canary-sign-7b1d", "proxy": "canary-proxy-7b1d", "body": "canary-body-7b1d",
    "header": "canary-header-7b1d", "reason": "canary-reason-7b1d", "broken": "canary-broken-7b1d",
    "certificate": "canary-certificate-7b1d", "producer": "canary-producer-7b1d",
}  # fmt: skip
SAYS = (
    f"X-Said: {CANARIES['header']}",
    f"Set-Cookie: sid={CANARIES['header']}",
    f"WWW-Authenticate: Basic realm={CANARIES['header']}",
    f"Location: https://{CANARIES['header']}.example/",
    f"Retry-After: {CANARIES['header']}",
)


def says(status: int) -> bytes:
    """An answer that has canaries wherever a receiver can put them."""
    answer = ok(json.dumps({"error": CANARIES["body"]}).encode(), *SAYS, status=status)
    return answer.replace(b" Whatever\r\n", f" {CANARIES['reason']}\r\n".encode())


REPLIES = {
    "takes": [says(200)],
    "rejects": [says(422)],
    "redirects": [says(302)],
    "fails": [says(503)],
    "limits": [says(429)],
    "refuses": [says(401)],
    "breaks": [b"HTTP/1.1 200 OK\r\nContent-Length: " + CANARIES["broken"].encode() + b"\r\n\r\n"],
    "babbles": [CANARIES["broken"].encode() + b"\r\n\r\n"],
    "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CANARIES["broken"].encode() + b"\r\n"],
    "cuts": [f"HTTP/1.1 200 OK\r\nX: {CANARIES['broken']}".encode(), Act.CLOSE],
    "hangs": [Act.SILENCE],
    "tls": [says(200)],
    "proxied": [says(200)],
}
ENDS = {
    "takes": ("delivered", ""),
    "rejects": ("rejected", "client_error"),
    "redirects": ("rejected", "client_error"),
    "fails": ("dead", "server_error"),
    "limits": ("dead", "rate_limited"),
    "refuses": ("retrying", "auth"),
    "breaks": ("dead", "connection"),
    "babbles": ("dead", "connection"),
    "chunks": ("dead", "connection"),
    "cuts": ("dead", "connection"),
    "hangs": ("dead", "timeout"),
    "tls": ("dead", "tls"),
    "proxied": ("dead", "connection"),
}
POISON = encode(event())[:12] + CANARIES["producer"].encode() * 3


async def test_no_secret_and_no_personal_data_in_anything_that_is_said(system, tmp_path):
    certificate = self_signed(tmp_path, host=f"{CANARIES['certificate']}.example")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    async with contextlib.AsyncExitStack() as stack:
        collector = stack.enter_context(OtlpReceiver())
        proxy = await stack.enter_async_context(TunnelProxy(says(502)))
        endpoints = {}
        for name, reply in REPLIES.items():
            endpoint = WireEndpoint(reply, tls=tls if name == "tls" else None)
            endpoints[name] = await stack.enter_async_context(endpoint)
        _configure(system, endpoints, proxy, collector.url)
        system.prepare()
        worker = system.worker()
        sent = [event(number, customer=_customer(), properties=_properties()) for number in range(3)]
        headers = [("x-from", CANARIES["producer"].encode())]
        system.feed([Outgoing(encode(each), CANARIES["customer"].encode(), headers=headers) for each in sent])
        system.feed([Outgoing(POISON, b"k", headers=headers)])
        wanted = len(sent) * (len(REPLIES) + 2)
        await eventually(lambda: len(system.final()) == wanted and _ends(system) >= _expected(), timeout_s=90)
        await eventually(lambda: len(system.dead()) >= len(sent) * len([e for e in ENDS.values() if e[0] == "dead"]))
        told = [system.run(*command).stdout for command in (["status"], ["account", "--json"], ["dead", "list"])]
        worker.send(signal.SIGTERM)
        await eventually(lambda: worker.returncode is not None, timeout_s=40)

        received = b"".join(b"".join(each.requests) for each in endpoints.values())
        for name in ("payload", "token", "query", "url"):
            assert CANARIES[name].encode() in received, f"{name} never went out: this test shows nothing"
        assert proxy.heads
        assert endpoints["proxied"].requests == []
    said = {
        "logs": worker.log.read_bytes(),
        "spans and metrics": collector.raw(),
        "commands": "".join(told).encode(),
    }
    for suffix, records in _topics(system).items():
        said[suffix] = b"\n".join(_written(record, whole=suffix in ("outcomes", "control")) for record in records)
    assert said["outcomes"]
    assert any(said[f"retry.{tier}"] for tier in system.tiers)
    assert {path for path, _ in collector.bodies} == {"/v1/traces", "/v1/metrics"}
    assert all(word in said["logs"] for word in (b"worker_started", b"breaker_open"))
    assert b"http_422" in said["dead"]
    for what, text in said.items():
        for name, canary in CANARIES.items():
            for form in _forms(canary):
                assert form not in text, f"the {name} is in {what}"


def _configure(system, endpoints, proxy, otlp) -> None:
    system.tiers = ["1s", "2s"]
    system.hookline = {
        "telemetry": {"sample": "100%", "endpoint": otlp, "interval": "1s"},
        "classes": {"properties.note": "public", "properties.absent": "public"},
    }
    system.environ |= {
        "CRM_TOKEN": CANARIES["token"], "CRM_KEY": CANARIES["query"],
        "CRM_SECRET": "whsec_" + base64.b64encode(CANARIES["sign"].encode()).decode(),
        "PROXY": f"http://{CANARIES['proxy']}:{CANARIES['proxy']}@127.0.0.1:{proxy.proxy().port}",
    }  # fmt: skip
    system.journeys = {}
    for name, endpoint in endpoints.items():
        scheme, host = ("https", "localhost") if name == "tls" else ("http", "127.0.0.1")
        system.environ[f"{name.upper()}_URL"] = f"{scheme}://{host}:{endpoint.port}/{CANARIES['url']}"
        auth = {"api_key": {"query": "key", "value": "env:CRM_KEY"}} if name == "takes" else None
        retry = {"max_attempts": 2}
        system.destination(
            name, f"env:{name.upper()}_URL", receives=["identifier", "contact"], timeout="500ms", retry=retry,
            breaker={"failures": "100%", "of": 1_000}, **({"auth": auth} if auth else {}),
            **({"proxy": "env:PROXY"} if name == "proxied" else {}),
            private_networks=["127.0.0.0/8", "::1/128"],
        )  # fmt: skip
        payload = {"note": "${event.properties.note}", "to": "${event.customer.email}", "id": "${event.customer.id}"}
        system.journey(name, step(name, f"{name}.upsert", payload=payload))
    missing = {"note": "${event.properties.note}", "absent": "${event.properties.absent}"}
    system.journey("odd", step("missing", "takes.upsert", payload=missing),
                   step("erring", "takes.upsert", when="int(event.properties.note) > 3"))  # fmt: skip


def _customer():
    return {"id": CANARIES["customer"], "email": CANARIES["email"], "phone": None, "timezone": None, "ids": {}}


def _properties():
    return {"note": CANARIES["payload"]}


def _expected() -> set[tuple[str, str, str]]:
    own = {(name, outcome, cls) for name, (outcome, cls) in ENDS.items()}
    return own | {("missing", "dead", "missing_field"), ("erring", "skipped", "condition_error")}


def _ends(system) -> set[tuple[str, str, str]]:
    return {(row.step, str(row.outcome), str(row.reason)) for row in system.final().values()}


def _topics(system):
    suffixes = ["outcomes", "dead", "control", *(f"retry.{tier}" for tier in system.tiers)]
    return {suffix: system.broker.records(f"{system.group}.{suffix}") for suffix in suffixes}


def _written(record, *, whole: bool) -> bytes:
    """What Hookline itself wrote in a record. Dead letters and retry records keep the original's bytes and headers."""
    own = b"\n".join(name.encode() + b"=" + (text or b"") for name, text in record.headers if name != "x-from")
    return own + (b"\n" + (record.key or b"") + b"\n" + (record.value or b"") if whole else b"")


def _forms(canary: str) -> list[bytes]:
    """The canary as it is, and in base64 at each of its three alignments, without the ends that hang on neighbours."""
    raw = canary.encode()
    coded = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, *coded]
