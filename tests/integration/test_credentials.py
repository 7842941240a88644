"""OAuth 2, ed25519 and a secret URL through a real worker on a real Kafka; their files change while deliveries run."""

from __future__ import annotations

import asyncio
import base64
import gzip
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.support.conditions import eventually
from tests.support.system import event
from tests.support.tokens import CANARY, Guarded, Server, TokenEndpoint

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = 150


class Partner(Guarded):
    """Wants a token and a signature; notes the key and the path of each request it took."""

    def __init__(self, good) -> None:
        super().__init__(good)
        self.keys: dict[int, Ed25519PrivateKey] = {}
        self.signed: list[tuple[int, str]] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        said = await super().answer(request)
        if said.status != 204:
            return said
        signature = base64.b64decode(request.headers["webhook-signature"].removeprefix("v1a,"))
        content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode()
        for number, key in self.keys.items():
            try:
                key.public_key().verify(signature, content + await request.read())
            except InvalidSignature:
                continue
            self.signed.append((number, request.path))
            return said
        return web.Response(status=400)


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.write_text(content)
    draft.replace(path)


def whsk(key: Ed25519PrivateKey) -> str:
    return "whsk_" + base64.b64encode(key.private_bytes_raw()).decode()


@pytest.fixture
async def tokens():
    async with TokenEndpoint() as made:
        yield made


@pytest.fixture
async def partner(tokens):
    async with Partner(lambda token: token in tokens.issued) as made:
        made.keys = {number: Ed25519PrivateKey.generate() for number in (1, 2)}
        yield made


def configure(system, partner, tokens, traces) -> None:
    oauth = {"token_url": f"{tokens.url}/token", "client_id": "hookline", "client_secret": "file:secrets/client"}
    system.destination(
        "crm", "", base_url={"secret": "file:secrets/url", "host": "127.0.0.1"},
        auth={"oauth2_client_credentials": oauth | {"client_auth": "body"}},
        sign={"ed25519": {"keys": ["file:secrets/key"]}},
    )  # fmt: skip
    system.hookline = {"telemetry": {"sample": "100%", "endpoint": traces.url}}
    put(system.folder / "secrets/url", f"{partner.url}/{CANARY}-path-1")
    put(system.folder / "secrets/client", f"{CANARY}-client-1")
    put(system.folder / "secrets/key", whsk(partner.keys[1]))


async def test_secrets_are_replaced_while_deliveries_run_and_shown_nowhere(system, partner, tokens) -> None:
    async with Server() as traces:
        configure(system, partner, tokens, traces)
        await asyncio.to_thread(system.prepare)
        worker = system.worker()
        await asyncio.to_thread(system.feed, [event(n) for n in range(EVENTS)])
        await eventually(lambda: len(set(partner.taken)) == EVENTS, timeout_s=60)
        assert len(tokens.requests) == 1
        assert set(partner.signed) == {(1, f"/{CANARY}-path-1/upsert")}

        feeding = asyncio.ensure_future(_feed_on(system, partner))
        put(system.folder / "secrets/client", f"{CANARY}-client-2")
        put(system.folder / "secrets/key", whsk(partner.keys[2]))
        put(system.folder / "secrets/url", f"{partner.url}/{CANARY}-path-2")
        await eventually(lambda: partner.signed[-1] == (2, f"/{CANARY}-path-2/upsert"), timeout_s=60)
        fed = await feeding
        await eventually(lambda: len(set(partner.taken)) == EVENTS + fed, timeout_s=60)
        assert [body.rpartition(b"client_secret=")[2].decode() for body in tokens.bodies] == [
            f"{CANARY}-client-1", f"{CANARY}-client-2",
        ]  # fmt: skip
        assert "secrets_reloaded" in worker.log.read_text()

        put(system.folder / "secrets/key", f"{CANARY}-no-key")
        await eventually(lambda: "secrets_refused" in worker.log.read_text(), timeout_s=30)
        tokens.issued.clear()  # revoked: the next delivery is answered 401 once
        await asyncio.to_thread(system.feed, [event(n) for n in range(5)])
        await eventually(lambda: len(set(partner.taken)) == EVENTS + fed + 5, timeout_s=60)
        assert partner.refused
        assert partner.signed[-1][0] == 2

        await eventually(lambda: asyncio.to_thread(system.settled), timeout_s=60)
        assert {row.outcome for row in system.final().values()} == {"delivered"}
        assert {row.attempts for row in system.final().values()} == {1}
        account = await asyncio.to_thread(system.account)
        assert account["balanced"] is True
        status = await asyncio.to_thread(system.run, "status")
        await asyncio.to_thread(system.stop)
        _nothing_secret(system, partner, [worker.log.read_text(), status.stdout, status.stderr], traces)


async def _feed_on(system, partner) -> int:
    """Produce a few events at a time until one is signed with the second key; return how many."""
    fed = 0
    while partner.signed[-1][0] == 1:
        await asyncio.to_thread(system.feed, [event(n) for n in range(5)])
        fed += 5
        await eventually(lambda: len(set(partner.taken)) == EVENTS + fed, timeout_s=60)  # noqa: B023 - awaited here
    return fed


def _nothing_secret(system, partner, texts: list[str], traces: Server) -> None:
    assert "secrets_reloaded" in texts[0]
    assert "crm" in texts[1]
    spans = b"".join(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for body in traces.bodies)
    assert b"deliver" in spans
    records = [
        part
        for topic in ("outcomes", "dead", "control", *(f"retry.{tier}" for tier in system.tiers))
        for record in system.broker.records(f"{system.group}.{topic}")
        for part in (record.key, record.value, *(content for _, content in record.headers))
    ]
    seen = "".join(texts).encode() + spans + b"".join(part or b"" for part in records)
    assert CANARY.encode() not in seen
    for key in partner.keys.values():
        assert base64.b64encode(key.private_bytes_raw()) not in seen


async def test_every_missing_secret_is_named_at_once_with_its_place(system, partner, tokens) -> None:
    async with Server() as traces:
        configure(system, partner, tokens, traces)
        await asyncio.to_thread(system.prepare)
    for name in ("url", "client", "key"):
        (system.folder / f"secrets/{name}").unlink()
    checked = await asyncio.to_thread(system.run, "validate")
    assert checked.returncode == 0, checked.stdout
    started = await asyncio.to_thread(system.run, "run")
    assert started.returncode == 2
    assert "Traceback" not in started.stderr
    for name in ("url", "client", "key"):
        [line] = [each for each in started.stderr.splitlines() if f"file:secrets/{name} is not there" in each]
        assert line.startswith("destinations/crm.yaml:")
        assert line.split(":")[1].isdigit()
        assert line.split(":")[2].isdigit()
