"""How a destination lets us in is read, and what may not be said is refused at its place, unquoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.auth import secret_flaw

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CRM = "destinations/crm.yaml"
OAUTH = "oauth2_client_credentials"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("auth: hunter2", "auth: must be a mapping (key: value)"),
        ("auth: {}", "auth: needs exactly one of `api_key`, `basic`, `bearer`, `oauth2_client_credentials`, `headers`"),
        ("auth: {bearer: {token: env:K}, basic: {user: a, password: env:P}}", "auth: needs exactly one of"),
        ("auth: {headers: {}}", "auth: needs exactly one of"),
        ("auth: {headers: {X-Key: env:K, x-key: env:K}}", "auth: names a header twice"),
        ("auth: {headers: {Host: env:K}}", "auth.headers.Host: is a header Hookline writes itself"),
        ("auth: {headers: {X-Key: hunter2}}", "auth.headers.X-Key: must be a reference to a secret, never the secret "),
        ("auth: {basic: {user: a, password: hunter2}}", "auth.basic.password: must be a reference to a secret, never "),
        (
            "auth: {basic: {user: 'Basic aHVudGVyMg==', password: env:P}}",
            "auth.basic.user: looks like a secret, and this file is for everyone to read (write env:NAME or file:PATH)",
        ),
        (
            f"auth: {{{OAUTH}: {{token_url: 'https://id.example/?a=b', client_id: a, client_secret: env:S}}}}",
            f"auth.{OAUTH}.token_url: must have no query and no fragment",
        ),
        (
            f"auth: {{{OAUTH}: {{token_url: 'http://id.example', client_id: a, client_secret: env:S}}}}",
            f"auth.{OAUTH}.token_url: sends in the clear (use https://, or name the private_networks it is in)",
        ),
        (
            f"auth: {{{OAUTH}: {{token_url: 'https://id.example', client_id: a, client_secret: hunter2}}}}",
            f"auth.{OAUTH}.client_secret: must be a reference to a secret",
        ),
        ("sign: {}", "sign: needs exactly one of `standard_webhooks` and `ed25519` (or one of them), `github`, "),
        ("sign: {github: {secret: env:A}, stripe: {secret: env:A}}", "sign: needs exactly one of"),
        ("sign: {github: {secret: env:A}, ed25519: {keys: [env:A]}}", "sign: needs exactly one of"),
        ("sign: {ed25519: {keys: [whsk_hunter2]}}", "sign.ed25519.keys[0]: must be a reference to a secret"),
        ("sign: {plugin: {key: a}}", "sign.plugin.name: is required"),
        ("sign: {plugin: {name: kms, Key: a}}", "sign.plugin.Key: is no name of an option"),
        ("sign: {plugin: {name: kms, key: 5}}", "sign.plugin.key: must be text (put it in quotes)"),
        ("sign: {plugin: {name: kms, key: whsk_hunter2}}", "sign.plugin.key: looks like a secret"),
        ("tls: {client_cert: file:a}", "tls: needs `client_cert` and `client_key`, or neither"),
        ("auth: {bearer: {token: hunter2}}", "auth.bearer.token: must be a reference to a secret, never the secret "),
        ("auth: {bearer: {token: 'env:not a name'}}", "auth.bearer.token: must be a reference to a secret"),
        ("auth: {bearer: {}}", "auth.bearer.token: is required"),
        ("auth: {api_key: {value: env:K}}", "auth.api_key: needs exactly one of `header` and `query`"),
        ("auth: {api_key: {header: 'X Y', value: env:K}}", "auth.api_key.header: must be an HTTP header name"),
        ("auth: {berer: {token: env:K}}", "auth.berer: there is no such key (did you mean bearer)"),
        ("sign: {standard_webhooks: {secrets: []}}", "sign.standard_webhooks.secrets: must not be empty"),
        ("sign: {standard_webhooks: {secrets: [hunter2]}}", "sign.standard_webhooks.secrets[0]: must be a reference"),
        ("tls: {ca: env:CA}", "tls.ca: must be file:PATH (relative to the configuration folder)"),
    ],
)
def test_refused(folder: Folder, line: str, expected: str) -> None:
    problem = folder.add(CRM, f"{line}\n").problem()
    _, place, rest = problem.partition(f"{CRM}:")
    assert place
    assert rest.partition(": ")[2].startswith(expected)
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("{secret: https://hunter2.example/hunter2, host: a.example}", "base_url.secret: must be a reference to a "),
        ("{secret: env:URL}", "base_url.host: is required"),
        ("{secret: env:URL, host: 'https://a.example'}", "base_url.host: must be the name of a host, without port"),
        ("{secret: env:URL, host: a.example, port: 3}", "base_url.port: there is no such key"),
        ("[hunter2]", "base_url: must be a URL or env:NAME"),
    ],
)
def test_a_secret_url_is_refused(folder: Folder, url: str, expected: str) -> None:
    problem = folder.change(CRM, "https://crm.example", url).problem()
    assert problem.partition(": ")[2].startswith(expected)
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "value",
    [
        "Bearer hunter2hunter2", "whsec_hunter2", "whsk_hunter2", "-----BEGIN PRIVATE KEY-----", "sk_live_hunter2",
        "ghp_hunter2", "xoxb-hunter2", "eyJodW50ZXIyMTIz.eyJodW50ZXIy.aHVudGVyMg",
        "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg==",
    ],
)  # fmt: skip
def test_a_secret_typed_into_a_header_is_refused_with_the_remedy(folder: Folder, value: str) -> None:
    problem = folder.change(CRM, "{path: /notes}", f"{{path: /notes, headers: {{X-Key: '{value}'}}}}").problem()
    assert "operations.note.headers.X-Key: looks like a secret" in problem
    assert "secrets go through auth, as env:NAME or file:PATH" in problem
    assert value not in problem


@pytest.mark.parametrize(
    "value",
    [
        "return=minimal", "application/vnd.example.api+json", "arn:aws:kms:eu-central-1:123456789012:key/0197b6d2-1c5e",
        "2026-11-26", "crm-hookline-production-eu-central", "https://api.example/v3/AccountsAndContacts2",
    ],
)  # fmt: skip
def test_what_is_no_secret_passes(value: str) -> None:
    assert secret_flaw(value) == ""


@pytest.mark.parametrize(
    "auth",
    [
        "basic: {user: hookline, password: file:p}",
        "headers: {X-Key: env:K, X-App: env:A}",
        f"{OAUTH}: {{token_url: 'https://id.example/t', client_id: env:ID, client_secret: env:S, client_auth: body}}",
        f"{OAUTH}: {{token_url: env:URL, client_id: hookline, client_secret: file:s, scope: a b, audience: crm}}",
    ],
)
def test_ways_to_authenticate(folder: Folder, auth: str) -> None:
    assert folder.add(CRM, f"auth: {{{auth}}}\n").load().destinations["crm"].auth is not None


@pytest.mark.parametrize(
    "auth", ["headers: {X-Key: env:K}", "api_key: {header: x-key, value: env:K}", "bearer: {token: env:K}"]
)
def test_an_operation_has_no_header_that_is_written_already(folder: Folder, auth: str) -> None:
    folder.change(CRM, "{path: /notes}", "{path: /notes, headers: {X-Key: plain}}").add(CRM, f"auth: {{{auth}}}\n")
    if "bearer" in auth:
        folder.change(CRM, "idempotency: delivery_id", "idempotency: header:x-key")
    assert "operations.note.headers.X-Key: is written by `auth` or `idempotency` already" in folder.problem()


def test_signers(folder: Folder) -> None:
    folder.add(CRM, "sign: {plugin: {name: kms, key: 'arn:aws:kms:eu', token: file:t}}\n")
    sign = folder.load().destinations["crm"].sign
    assert sign is not None
    assert sign.plugin is not None
    assert (sign.plugin.name, sign.plugin.options) == ("kms", {"key": "arn:aws:kms:eu", "token": "file:t"})


def test_both_standard_versions_may_sign_at_once(folder: Folder) -> None:
    folder.add(CRM, "sign: {standard_webhooks: {secrets: [env:A]}, ed25519: {keys: [env:B, file:c]}}\n")
    sign = folder.load().destinations["crm"].sign
    assert sign is not None
    assert sign.ed25519 is not None
    assert sign.ed25519.keys == ("env:B", "file:c")


def test_an_api_key_may_be_the_authorization_header(folder: Folder) -> None:
    auth = "auth: {api_key: {header: Authorization, value: env:K}}"
    assert folder.add(CRM, f"{auth}\n").load().destinations["crm"].auth is not None
