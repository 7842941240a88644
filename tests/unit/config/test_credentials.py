"""What lets requests in is made of the references, every unusable one is named with its place, and nothing is shown."""

from __future__ import annotations

import base64
import os

import pytest

from pipeline.config.credentials import resolve
from pipeline.config.request import Requests
from pipeline.config.secrets import Secrets
from pipeline.errors import ConfigError

CRM = "destinations/crm.yaml"


def access(folder, **environ):
    return resolve(folder.load(), Secrets(folder.root, environ), "crm")


def head(folder, **environ):
    """The request line, and the headers by name, of a request with the body {}."""
    made = Requests(folder.load(), Secrets(folder.root, environ)).request("crm.note", "welcome", "hello")
    first, *lines = made.head("id-1", b"", "00-1-2-00", 5, b"{}").decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines if line)


def refused(folder, **environ):
    with pytest.raises(ConfigError) as caught:
        access(folder, **environ)
    assert all(each.file == CRM and each.line and each.column for each in caught.value.problems)
    assert "hunter2" not in str(caught.value)
    return {each.field: each.message for each in caught.value.problems}


# ----------------------------------------------------------------------------------------------- authentication


def test_basic(folder):
    folder.add(CRM, "auth: {basic: {user: Aladdin, password: env:P}}\n")
    assert head(folder, P="open sesame")[1]["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617


def test_several_headers(folder):
    folder.add(CRM, "auth: {headers: {X-Key: env:K, X-App: env:A}}\n")
    headers = head(folder, K="k1\n", A="a1")[1]
    assert (headers["X-Key"], headers["X-App"]) == ("k1", "a1")


def test_a_key_in_the_query(folder):
    folder.add(CRM, "auth: {api_key: {query: key, value: env:K}}\n")
    assert head(folder, K="a key&")[0] == "POST /notes?key=a%20key%26 HTTP/1.1"


def oauth(folder, extra=""):
    return folder.add(
        CRM, f"auth: {{oauth2_client_credentials: {{token_url: 'https://id.example:8443/token', client_id: 'a b', "
        f"client_secret: env:S{extra}}}}}\n",
    )  # fmt: skip


def test_the_token_request(folder):
    made = access(oauth(folder, ", scope: read write, audience: 'https://crm.example'"), S="p:?&")
    assert made.token_endpoint is not None
    assert (made.token_endpoint.host, made.token_endpoint.port, made.token_endpoint.tls) == ("id.example", 8443, True)
    request, body = made.credentials.token_request
    first, *lines = request.decode().strip().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /token HTTP/1.1"
    assert headers["Host"] == "id.example:8443"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"a+b:p%3A%3F%26"  # RFC 6749, 2.3.1
    assert body == b"grant_type=client_credentials&scope=read+write&audience=https%3A%2F%2Fcrm.example"
    assert headers["Content-Length"] == str(len(body))


def test_the_client_may_authenticate_in_the_body(folder):
    request, body = access(oauth(folder, ", client_auth: body"), S="p:?&").credentials.token_request
    assert b"Authorization" not in request
    assert body == b"grant_type=client_credentials&client_id=a+b&client_secret=p%3A%3F%26"


# --------------------------------------------------------------------------------------------------- secret URLs


def test_of_a_secret_url_only_the_host_is_known(folder):
    folder.change(CRM, "https://crm.example", "{secret: env:URL, host: hooks.example}")
    made = Requests(folder.load(), Secrets(folder.root, {"URL": "https://hooks.example/T0/B0/hunter2"}))
    request = made.request("crm.note", "welcome", "hello")
    assert request.url_template == "/notes"
    assert request.head("id-1", b"", "00-1-2-00", 5, b"").startswith(b"POST /T0/B0/hunter2/notes HTTP/1.1\r\n")
    assert made.destinations["crm"].host == "hooks.example"
    for part in (made, made.access, made.destinations, request, made.access["crm"].credentials):
        assert "hunter2" not in repr(part)


@pytest.mark.parametrize(
    ("url", "field", "message"),
    [
        ("https://other.example/hunter2", "base_url.host", "the URL behind env:URL has another host"),
        ("hunter2", "base_url.secret", "must start with https:// (or http:// for private networks) and name a host"),
        ("https://hooks.example/hunter2?a=b", "base_url.secret", "must have no query and no fragment"),
        ("", "base_url.secret", "env:URL is empty"),
        ("HTTP://hooks.example/hunter2", "base_url.secret", "the URL sends in the clear"),
    ],
)
def test_a_secret_url_of_no_use(folder, url, field, message):
    folder.change(CRM, "https://crm.example", "{secret: env:URL, host: hooks.example}")
    assert refused(folder, URL=url) == {field: message}


# ------------------------------------------------------------------------------------------------------ signing


def test_all_keys_of_both_versions_sign(folder):
    folder.add(CRM, "sign: {standard_webhooks: {secrets: [env:A]}, ed25519: {keys: [env:B, env:B]}}\n")
    secret = base64.b64encode(b"k" * 32).decode()
    headers = head(folder, A=f"whsec_{secret}", B=f"whsk_{secret}")[1]
    assert [each.partition(",")[0] for each in headers["webhook-signature"].split(" ")] == ["v1", "v1a", "v1a"]


@pytest.mark.parametrize(("kind", "header"), [("github", "X-Hub-Signature-256"), ("stripe", "Stripe-Signature")])
def test_receivers_that_verify_their_own_way(folder, kind, header):
    folder.add(CRM, f"sign: {{{kind}: {{secret: env:A}}}}\n")
    headers = head(folder, A="hush")[1]
    assert header in headers
    assert "webhook-signature" not in headers


def test_the_options_of_a_signer_are_resolved_and_not_shown(folder):
    folder.add(CRM, "sign: {plugin: {name: kms, key: 'arn:1', token: env:T}}\n")
    made = access(folder, T="hunter2")
    assert made.plugin == ("kms", {"key": "arn:1", "token": "hunter2"})
    assert "hunter2" not in repr(made)


# ---------------------------------------------------------------------------------------------------- references


def test_everything_missing_is_named_at_once(folder):
    folder.write(
        CRM,
        (folder.root / CRM).read_text().replace("https://crm.example", "{secret: env:URL, host: a.example}")
        + "auth: {oauth2_client_credentials: {token_url: env:TOKEN_URL, client_id: env:ID, client_secret: file:s}}\n"
        "sign: {standard_webhooks: {secrets: [env:A, env:B]}, ed25519: {keys: [env:C]}}\n"
        "tls: {ca: file:ca.pem, client_cert: file:c.pem, client_key: file:k.pem}\n",
    )
    assert folder.load().destinations  # without a single value
    found = refused(folder, B="hunter2", C="hunter2")
    way = "auth.oauth2_client_credentials"
    assert found == {
        "base_url.secret": "env:URL is not set",
        f"{way}.token_url": "env:TOKEN_URL is not set",
        f"{way}.client_id": "env:ID is not set",
        f"{way}.client_secret": "file:s is not there",
        "sign.standard_webhooks.secrets[0]": "env:A is not set",
        "sign.standard_webhooks.secrets[1]": "the secret behind env:B must be whsec_ and the base64 of 24 to 64 bytes",
        "sign.ed25519.keys[0]": "the secret behind env:C must be whsk_ and the base64 of an ed25519 key, 32 or 64 "
        "bytes",
        "tls.ca": "file:ca.pem is not there",
        "tls.client_cert": "file:c.pem is not there",
        "tls.client_key": "file:k.pem is not there",
    }


def test_files_are_listed_with_the_version_that_was_read(folder):
    folder.add(CRM, "auth: {bearer: {token: file:secrets/token}}\n").write("secrets/token", "t1")
    before = access(folder).files
    assert list(before) == ["file:secrets/token"]
    (folder.root / "secrets/token.new").write_text("t2")
    (folder.root / "secrets/token.new").rename(folder.root / "secrets/token")
    assert access(folder).files != before


def test_what_is_resolved_again_leaves_what_is_in_use_alone(folder):
    folder.add(CRM, "auth: {bearer: {token: file:secrets/token}}\n").write("secrets/token", "t1")
    made = Requests(folder.load(), Secrets(folder.root, {}))
    folder.write("secrets/token", "t2")
    renewed = made.renewed("crm")
    assert made.access["crm"].credentials.lines == b"Authorization: Bearer t1\r\n"
    assert renewed.credentials.lines == b"Authorization: Bearer t2\r\n"
    folder.write("secrets/token", "hunter2\nhunter2")
    with pytest.raises(ConfigError, match="the secret behind file:secrets/token must be printable ASCII on one line"):
        made.renewed("crm")


def test_a_url_may_not_move_elsewhere_while_running(folder):
    folder.change(CRM, "https://crm.example", "{secret: file:secrets/url, host: hooks.example}")
    folder.write("secrets/url", "https://hooks.example/hunter2")
    made = Requests(folder.load(), Secrets(folder.root, os.environ))
    folder.write("secrets/url", "https://hooks.example/other")
    assert made.renewed("crm").credentials.path == "/other"
    folder.write("secrets/url", "https://hooks.example:8443/other")
    with pytest.raises(ConfigError, match=r"another scheme, host or port \(that takes a restart\)"):
        made.renewed("crm")
