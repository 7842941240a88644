"""`hookline destination test` against real servers on loopback: what it finds, what it says, what it never says."""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager

import pytest

from pipeline.cli import main
from pipeline.testing.receiver import Behaviour, Receiver, in_thread
from tests.support.folder import write_folder
from tests.support.tls import self_signed

TOKEN = "canary-token-7f3a"


@pytest.fixture
def tried(tmp_path, monkeypatch, capsys):
    """Run the command on a destination; returns exit code, findings by step, and all that was printed."""
    monkeypatch.setenv("CRM_TOKEN", TOKEN)

    def run(url: str, *args: str, operation: str = "{path: /upsert}", **over: str):
        folder = write_folder(tmp_path / "config", "g", "events", "nowhere:9")
        lines = {
            "destination": "crm", "owner": "o@example.org", "base_url": url, "receives": "[identifier]",
            "private_networks": "[127.0.0.0/8]", "auth": "{bearer: {token: 'env:CRM_TOKEN'}}",
            "idempotency": "delivery_id", "timeout": "2s", "operations": f"{{note: {operation}}}",
        } | over  # fmt: skip
        text = "".join(f"{key}: {content}\n" for key, content in lines.items() if content)
        (folder / "destinations" / "crm.yaml").write_text(text)
        code = main(["destination", "test", "crm", "--config", str(folder), "--json", *(args or ("--yes",))])
        out, err = capsys.readouterr()
        assert TOKEN not in out + err
        assert err == ""
        document = json.loads(out)
        return code, {each["step"]: each for each in document["findings"]}, document

    return run


@contextmanager
def serving(behaviour: Behaviour | None = None, tls: ssl.SSLContext | None = None):
    receiver = Receiver(behaviour or Behaviour(), keep=10, tls=tls)
    with in_thread(receiver) as url:
        yield receiver, url


def test_a_marked_delivery_is_sent_signed_and_judged(tried):
    with serving() as (receiver, url):
        code, findings, document = tried(url)
    assert (code, document["ok"]) == (0, True)
    assert list(findings) == ["resolve", "connect", "tls", "send"]
    assert findings["resolve"]["said"] == "127.0.0.1 is 127.0.0.1 (may be called)"
    assert "HTTP 204, delivered" in findings["send"]["said"]
    (seen,) = receiver.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/upsert", b"{}")
    assert seen.headers["hookline-test"] == "true"
    assert seen.headers["Authorization"] == f"Bearer {TOKEN}"


def test_requests_without_a_body_and_with_path_parameters(tried):
    with serving() as (receiver, url):
        code, _, _ = tried(url, operation="{method: GET, body: none, path: '/contacts/{customer}'}")
    assert code == 0
    (seen,) = receiver.seen
    assert (seen.method, seen.path, seen.body) == ("GET", "/contacts/hookline-test", b"")


@pytest.mark.parametrize(
    ("behaviour", "means", "remedy"),
    [
        (Behaviour(unauthorised=True), "HTTP 401, refused as such", "check `auth`"),
        (Behaviour(status=404), "HTTP 404, rejected for good", "check base_url and the operation's path"),
        (Behaviour(status=410), "HTTP 410, rejected for good", "workers would disable it"),
        (Behaviour(status=422), "HTTP 422, rejected for good", "does not want this body"),
        (Behaviour(unavailable=1.0), "HTTP 503, to be tried again", "tell its owner"),
        (Behaviour(reset=1.0), "no usable answer (connection", "tell its owner"),
        (Behaviour(latency_ms=3_000), "no usable answer (timeout", "tell its owner"),
    ],
)
def test_what_an_answer_means_comes_with_its_remedy(tried, behaviour, means, remedy):
    with serving(behaviour) as (_, url):
        code, findings, _ = tried(url)
    assert code == 1
    assert means in findings["send"]["said"]
    assert remedy in findings["send"]["remedy"]


def test_an_address_that_may_not_be_called_is_not(tried):
    with serving() as (receiver, url):
        code, findings, _ = tried(url.replace("http:", "https:"), private_networks="[10.9.0.0/16]")
    assert (code, list(findings), len(receiver.seen)) == (1, ["resolve"], 0)
    assert findings["resolve"]["said"] == "127.0.0.1 is 127.0.0.1 (loopback)"
    assert "private_networks" in findings["resolve"]["remedy"]


def test_nobody_listens(tried, free_port):
    code, findings, _ = tried(f"http://127.0.0.1:{free_port}")
    assert (code, findings["connect"]["ok"]) == (1, False)
    assert "nothing listens on that port" in findings["connect"]["remedy"]


@pytest.fixture
def free_port():
    from tests.support.ports import free_port as find  # noqa: PLC0415

    return find()


@pytest.mark.parametrize(
    ("host", "expired", "trusted", "remedy"),
    [
        ("localhost", False, True, ""),
        ("localhost", False, False, "tls.ca"),
        ("localhost", True, True, "must renew the certificate"),
        ("other.example", False, True, "for another name"),
    ],
)
def test_tls_is_explained(tried, tmp_path, host, expired, trusted, remedy):
    made = self_signed(tmp_path, host=host, expired=expired)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    with serving(tls=context) as (_, url):
        secure = url.replace("http:", "https:").replace("127.0.0.1", "localhost")
        code, findings, _ = tried(secure, tls=f"{{ca: 'file:{made.certificate}'}}" if trusted else "")
    assert remedy in findings["tls"]["remedy"]
    if not remedy:
        assert code == 0
        assert "certificate of localhost by localhost" in findings["tls"]["said"]
        assert "0 days left" in findings["tls"]["said"] or "renew" in findings["tls"]["remedy"]
    else:
        assert (code, findings["tls"]["ok"], "send" in findings) == (1, False, False)


def test_nothing_is_sent_unasked(tried):
    with serving() as (receiver, url):
        code, findings, document = tried(url, "--operation", "note")
        assert (code, document["sent"], len(receiver.seen)) == (
            1,
            False,
            0,
        )  # a job that forgot --yes must not be green
        assert "send" not in findings
        assert tried(url, "--operation", "note", "--yes")[2]["sent"]
    assert len(receiver.seen) == 1
