"""Files with secrets change at run time: the next attempt uses what is in them; what is of no use changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import TYPE_CHECKING

import pytest

from pipeline.app.endpoints import Endpoint, Rotation
from pipeline.config.load import load
from pipeline.config.request import Requests
from pipeline.config.secrets import Secrets
from pipeline.errors import ConfigError
from pipeline.model import Answer, Failure, FailureClass
from pipeline.ports import LaneStats
from tests.support.folder import write_folder
from tests.support.signer import install
from tests.support.tls import self_signed
from tests.support.tokens import CANARY, Guarded, Server, TokenEndpoint

if TYPE_CHECKING:
    from pathlib import Path

POLL_S = 0.01
HEAD = (b"", "00-1-2-00", 5, b"{}")


class Running:
    """One destination of a configuration folder, with its files looked at all the time."""

    def __init__(self, folder: Path, url: str, lines: str, files: dict[str, str]) -> None:
        self.folder = write_folder(folder, "g", "in", "nowhere:9")
        crm = self.folder / "destinations/crm.yaml"
        text = crm.read_text().replace("base_url: https://crm.example", f"base_url: {url}")
        crm.write_text(f"{text}private_networks: [127.0.0.0/8]\n{lines}\n")
        for name, content in files.items():
            self.put(name, content)
        secrets = Secrets(self.folder, {})
        self.requests = Requests(load(self.folder, None), secrets)
        self.logged: list[tuple[str, str, dict[str, object]]] = []
        self.access = self.requests.access["crm"]
        self.endpoint = Endpoint(self.requests.destinations["crm"], self.access, LaneStats(), self.log)
        self.request = self.requests.request("crm.note", "welcome", "hello")
        rotation = Rotation({"crm": self.endpoint}, self.requests.renewed, secrets.version, self.log, POLL_S)
        self.rotating = asyncio.ensure_future(rotation.run())
        self.rotation = rotation

    def log(self, level: str, event: str, **fields: object) -> None:
        self.logged.append((level, event, fields))

    def put(self, name: str, content: str) -> None:
        """Replace a file as one should: whole."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        draft = path.with_name(path.name + ".part")
        draft.write_text(content)
        draft.replace(path)

    async def said(self, event: str, times: int = 1) -> dict[str, object]:
        """Wait until that was logged so often; return the last one's fields."""
        async with asyncio.timeout(10):
            while len(found := [fields for _, each, fields in self.logged if each == event]) < times:
                await asyncio.sleep(POLL_S)
        return found[-1]

    def head(self) -> str:
        return self.request.head("id-1", *HEAD).decode()

    async def send(self) -> Answer | Failure:
        connection = await self.endpoint.sender.connect()
        if isinstance(connection, Failure):
            return connection
        try:
            return await connection.exchange(self.request.head("id-1", *HEAD), b"{}")
        finally:
            connection.close()

    async def close(self) -> None:
        self.rotating.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.rotating
        await self.endpoint.close()
        shown = [self.endpoint, self.endpoint.sender, self.endpoint.authentication, self.access, self.requests]
        shown += [self.requests.destinations, self.request, self.access.credentials, self.rotation]
        assert CANARY not in repr(shown) + json.dumps(self.logged)


@pytest.fixture
async def running(tmp_path):
    made: list[Running] = []

    def run(url: str, lines: str, files: dict[str, str]) -> Running:
        made.append(Running(tmp_path, url, lines, files))
        return made[-1]

    yield run
    for each in made:
        await each.close()


async def test_a_new_token_is_used_by_the_next_attempt(running):
    async with Guarded(lambda token: token == f"{CANARY}-2") as receiver:
        made = running(
            receiver.url, "auth: {bearer: {token: file:secrets/t}}", {"secrets/t": f"{CANARY}-1\n"}
        )  # fmt: skip
        assert await made.send() == Answer(401)
        made.put("secrets/t", f"{CANARY}-2\n")
        assert await made.said("secrets_reloaded") == {"destination": "crm", "references": "file:secrets/t"}
        assert await made.send() == Answer(204)


async def test_a_new_value_of_no_use_is_named_and_the_old_one_goes_on(running):
    made = running("https://crm.example", "auth: {bearer: {token: file:secrets/t}}", {"secrets/t": f"{CANARY}-1"})
    before = made.head()
    made.put("secrets/t", f"{CANARY}-2\n{CANARY}\n")
    refused = await made.said("secrets_refused")
    assert refused["destination"] == "crm"
    assert refused["references"] == "file:secrets/t"
    assert "auth.bearer.token: the secret behind file:secrets/t must be printable ASCII" in str(refused["reason"])
    assert made.head() == before
    (made.folder / "secrets/t").unlink()
    assert "is not there" in str((await made.said("secrets_refused", 2))["reason"])
    assert made.head() == before
    made.put("secrets/t", f"{CANARY}-3")
    await made.said("secrets_reloaded")
    assert f"Bearer {CANARY}-3\r\n" in made.head()
    assert len([each for each in made.logged if each[1] == "secrets_refused"]) == 2  # once each, not at every look


async def test_a_mounted_secret_that_is_swapped_by_its_link(running, tmp_path):
    """Kubernetes: the file is a link to ..data/t, and ..data a link that is renamed."""
    for number in (1, 2):
        (tmp_path / f"secrets/..{number}").mkdir(parents=True)
        (tmp_path / f"secrets/..{number}/t").write_text(f"{CANARY}-{number}")
    (tmp_path / "secrets/..data").symlink_to("..1")
    (tmp_path / "secrets/t").symlink_to("..data/t")
    made = running("https://crm.example", "auth: {bearer: {token: file:secrets/t}}", {})
    assert f"Bearer {CANARY}-1\r\n" in made.head()
    (tmp_path / "secrets/..new").symlink_to("..2")
    (tmp_path / "secrets/..new").replace(tmp_path / "secrets/..data")
    await made.said("secrets_reloaded")
    assert f"Bearer {CANARY}-2\r\n" in made.head()


async def test_a_secret_url_moves_on(running):
    async with Server() as receiver:
        lines = {"secrets/u": f"{receiver.url}/{CANARY}-1"}
        made = running("{secret: file:secrets/u, host: 127.0.0.1}", "", lines)
        assert await made.send() == Answer(204)
        made.put("secrets/u", f"{receiver.url}/{CANARY}-2/")
        await made.said("secrets_reloaded")
        assert await made.send() == Answer(204)
        assert [each.path for each in receiver.requests] == [f"/{CANARY}-1/notes", f"/{CANARY}-2/notes"]
        made.put("secrets/u", f"http://elsewhere.example/{CANARY}")
        await made.said("secrets_refused")


def oauth(url, more):
    inside = f"token_url: '{url}', client_id: a, client_secret: file:secrets/s, {more}"
    return f"auth: {{oauth2_client_credentials: {{{inside}}}}}"


async def test_a_new_client_secret_gets_the_next_token(running):
    async with TokenEndpoint() as tokens:
        lines = oauth(f"{tokens.url}/t", "client_auth: body")
        made = running("https://crm.example", lines, {"secrets/s": f"{CANARY}-1"})
        authentication = made.endpoint.authentication
        assert authentication is not None
        first = await authentication.lines("id", b"")
        made.put("secrets/s", f"{CANARY}-2")
        await made.said("secrets_reloaded")
        async with asyncio.timeout(5):
            while await authentication.lines("id", b"") == first:
                await asyncio.sleep(POLL_S)
        assert [each.rpartition(b"=")[2].decode() for each in tokens.bodies] == [f"{CANARY}-1", f"{CANARY}-2"]


async def test_a_signer_is_made_anew_with_its_new_option(running, tmp_path_factory, monkeypatch):
    install(tmp_path_factory.mktemp("signer"), monkeypatch)
    made = running(
        "https://crm.example", "sign: {plugin: {name: kms, mark: file:secrets/m}}", {"secrets/m": "one"}
    )  # fmt: skip
    authentication = made.endpoint.authentication
    assert authentication is not None
    assert str(await authentication.lines("id", b""), "ascii").endswith("webhook-signature: v1a,one\r\n")
    made.put("secrets/m", "two")
    await made.said("secrets_reloaded")
    assert str(await authentication.lines("id", b""), "ascii").endswith("webhook-signature: v1a,two\r\n")


# ------------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return {name: self_signed(tmp_path_factory.mktemp(name)) for name in ("server", "ours", "other")}


@pytest.fixture
def mutual(certificates):
    """A server's context that takes our client certificate only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["server"].certificate, certificates["server"].key)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates["ours"].certificate)
    return context


def tls(certificates, name):
    return {
        "certs/ca.pem": certificates["server"].certificate.read_text(),
        "certs/c.pem": certificates[name].certificate.read_text(),
        "certs/k.pem": certificates[name].key.read_text(),
    }


TLS = "tls: {ca: file:certs/ca.pem, client_cert: file:certs/c.pem, client_key: file:certs/k.pem}"


def kept_out(result):
    # TLS 1.3: the server's refusal comes after the client's handshake
    return isinstance(result, Failure) and result.cls in (FailureClass.TLS, FailureClass.CONNECTION)


async def test_mutual_tls_and_a_certificate_that_is_replaced(running, certificates, mutual):
    async with Server(mutual) as receiver:
        made = running(receiver.url, TLS, tls(certificates, "other"))
        assert kept_out(await made.send())
        assert receiver.requests == []
        made.put("certs/c.pem", certificates["ours"].certificate.read_text())
        made.put("certs/k.pem", certificates["ours"].key.read_text())
        async with asyncio.timeout(10):
            while await made.send() != Answer(204):
                await asyncio.sleep(POLL_S)


async def test_an_authority_that_is_replaced(running, certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["server"].certificate, certificates["server"].key)
    async with Server(context) as receiver:
        made = running(
            receiver.url, "tls: {ca: file:certs/ca.pem}",
            {"certs/ca.pem": certificates["other"].certificate.read_text()},
        )  # fmt: skip
        assert await made.send() == Failure(FailureClass.TLS, sent=False, detail="certificate_self_signed")
        made.put("certs/ca.pem", "no certificate")
        assert "tls.ca: cannot be read as PEM certificates" in str((await made.said("secrets_refused"))["reason"])
        made.put("certs/ca.pem", certificates["server"].certificate.read_text())
        await made.said("secrets_reloaded")
        assert await made.send() == Answer(204)


async def test_the_token_endpoint_is_entered_with_the_same_certificates(running, certificates, mutual):
    async with TokenEndpoint(mutual) as tokens:
        made = running(
            "https://127.0.0.1:9",
            f"{oauth(tokens.url, 'scope: a')}\n{TLS}",
            {"secrets/s": CANARY} | tls(certificates, "ours"),
        )
        assert made.endpoint.authentication is not None
        assert await made.endpoint.authentication.lines("id", b"") == (
            f"Authorization: Bearer {tokens.issued[0]}\r\n".encode()
        )


@pytest.mark.parametrize("changed", [{"certs/c.pem": "x"}, {"certs/k.pem": "x"}, {"certs/k.pem": "other"}])
async def test_a_client_certificate_of_no_use_is_refused_at_start(tmp_path, certificates, changed):
    files = tls(certificates, "ours") | changed
    if changed == {"certs/k.pem": "other"}:
        files["certs/k.pem"] = certificates["other"].key.read_text()
    with pytest.raises(ConfigError, match=r"destinations/crm\.yaml: tls\.client_cert: is no PEM certificate with its"):
        Running(tmp_path, "https://crm.example", TLS, files)
