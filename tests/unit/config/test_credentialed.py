"""What lets somebody in is known by its name; what only sounds like it passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config.credentialed import flaw

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

WELCOME, CRM = "journeys/welcome.yaml", "destinations/crm.yaml"
HEX, WORDS = "9f8e7d6c5b4a39281706f5e4d3c2b1a0", "hunter2hunter2"


@pytest.mark.parametrize("name", [
    "X-Api-Key", "api_key", "apiKey", "apikey", "APIKey", "X-Auth-Token", "token", "client_secret", "db.password",
    "Ocp-Apim-Subscription-Key", "signature_key", "signing-key", "api_key_2", "X-Authorization", "passphrase", "auth",
])  # fmt: skip
@pytest.mark.parametrize("given", [HEX, WORDS, "letmein", "env:KEY", 12345678])
def test_a_literal_with_the_name_of_a_credential_is_one(name: str, given: object) -> None:
    assert flaw(name, given).startswith("is a credential by its name")


@pytest.mark.parametrize(("name", "given"), [
    ("idempotency-key", HEX), ("tokens_used", HEX), ("X-Token-Type", "bearer"), ("token_type", "Bearer"),
    ("token_format", "jwt-rs256"), ("key", "plain"), ("X-Key", "plain"), ("partition_key", HEX), ("author", WORDS),
    ("secretary", WORDS), ("use_api_key", "${event.properties.x}"), ("api_key", "true"), ("api_key", False),
    ("api_key", ""), ("password", None), ("cache_key", HEX), ("api_version", "2024-10-01"), ("monkey", HEX),
    ("token_url", "https://id.example/oauth2/token"),
])  # fmt: skip
def test_no_false_alarm(name: str, given: object) -> None:
    assert flaw(name, given) == ""


@pytest.mark.parametrize(("name", "given"), [("token_prod", HEX), ("key", HEX), ("secret_of_shop", WORDS)])
def test_where_the_word_stands_elsewhere_the_literal_tells(name: str, given: str) -> None:
    assert flaw(name, given)


def test_a_payload_may_speak_of_tokens() -> None:
    assert flaw("token", "cart-incentive", in_payload=True) == ""
    assert flaw("token", "Welcome back", in_payload=True) == ""
    assert flaw("token", HEX, in_payload=True)
    assert flaw("password", "letmein", in_payload=True)


def test_beside_an_expression_the_rest_counts() -> None:
    assert flaw("api_key", "${event.properties.x}-hunter2hunter2")
    assert flaw("api_key", "${event.properties.x}") == ""


@pytest.mark.parametrize(("file", "before", "after", "problem"), [
    (CRM, "{path: /notes}", f"{{path: /notes, headers: {{X-Api-Key: {HEX}}}}}",
     "to read (write auth: {api_key: {header: X-Api-Key, value: env:NAME}} in the destination, or file:PATH)"),
    (CRM, "{path: /notes}", f"{{path: /notes, query: {{api_key: {WORDS}}}}}",
     "(write auth: {api_key: {query: api_key, value: env:NAME}} in the destination, or file:PATH)"),
    (CRM, "{path: /notes}", "{path: /notes, query: {'token?': 12345678}}", "operations.note.query.token?: is a cred"),
    (CRM, "idempotency: ", f"sign: {{plugin: {{name: kms, shared_secret: {WORDS}}}}}\nidempotency: ",
     "sign.plugin.shared_secret: is a credential by its name, and this file is for everyone to read (write env:N"),
    (WELCOME, "customer: ${event.customer.id}", f"deep: [{{client_secret: {WORDS}}}]",
     "steps[0].payload.deep[0].client_secret: is a credential by its name"),
])  # fmt: skip
def test_it_is_refused_where_it_stands_and_never_repeated(
    folder: Folder, file: str, before: str, after: str, problem: str
) -> None:
    found = folder.change(file, before, after).problem()
    assert found.startswith(f"{file}:")
    assert problem in found
    assert not [each for each in (HEX, WORDS) if each in found]


def test_references_and_public_words_pass(folder: Folder) -> None:
    folder.change(
        CRM, "{path: /notes}",
        "{path: /notes, headers: {X-Token-Type: bearer, Idempotency-Scope: shop}, query: {tokens_used: 3}}",
    )  # fmt: skip
    folder.add(CRM, "sign: {plugin: {name: kms, shared_secret: env:S, key_id: alias}}\n")
    folder.add(CRM, "auth: {headers: {X-Api-Key: env:KEY}}\n").load()
