"""The contract of a destination is a valid OpenAPI document that says what is really sent."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from pipeline.config import openapi
from pipeline.config.compile import sent
from pipeline.core.payload import sample

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

READERS = {"hookline.LifecycleEvent": json.loads(pathlib.Path("schemas/lifecycle_event.avsc").read_text("utf-8"))}
CRM = "destinations/crm.yaml"


def document(folder: Folder) -> dict[str, Any]:
    config = folder.load()
    made = openapi.document(config, "crm", sent(config, READERS))
    OpenAPIV31SpecValidator(made).validate()
    return json.loads(json.dumps(made))


def resolved(made: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    """A validator of a schema of the document, its references followed."""
    return jsonschema.Draft202012Validator({**schema, "components": made["components"]})


def note(made: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = made["webhooks"]["note"]["post"]
    return operation


def test_a_contract_is_there_with_its_references(folder: Folder) -> None:
    contract = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["customer"],
        "properties": {"customer": {"$ref": "#/$defs/id"}, "kind": {"const": {"$ref": "#/$defs/id"}}},
        "$defs": {"id": {"type": "string", "minLength": 1}},
    }
    folder.write("contracts/crm.note.request.json", json.dumps(contract))
    folder.change(CRM, "/notes}", "/notes, request_schema: contracts/crm.note.request.json}")
    made = document(folder)
    schema = note(made)["requestBody"]["content"]["application/json"]["schema"]
    validator = resolved(made, schema)
    assert validator.is_valid({"customer": "c-1", "kind": {"$ref": "#/$defs/id"}}), "data is left as it is"
    assert not validator.is_valid({"customer": ""})
    assert not validator.is_valid({})


def test_without_a_contract_it_names_the_fields_that_are_sent(folder: Folder) -> None:
    folder.change(CRM, "/notes}", "/notes, metadata: headers_and_body}")
    made = document(folder)
    schema = made["components"]["schemas"]["note.request"]
    assert schema["properties"]["customer"] == {"description": "From event.customer.id (identifier)."}
    assert set(schema["properties"]["hookline"]["properties"]) == set(sample("j", "s"))
    assert note(made)["x-hookline-journeys"] == ["welcome"]


def test_headers_are_those_of_the_destination(folder: Folder) -> None:
    folder.change(CRM, "idempotency: delivery_id", "idempotency: header:Idempotency-Key")
    folder.add(CRM, "sign: {standard_webhooks: {secrets: [env:S]}}\nauth: {headers: {X-A: env:A, X-B: env:B}}\n")
    folder.change(
        CRM, "{path: /notes}", '{path: "/c/{customer}", headers: {Prefer: minimal}, query: {v: 1, "e?": "${event.id}"}}'
    )
    made = document(folder)
    named = {each["name"]: each for each in note(made)["parameters"]}
    assert {
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "Idempotency-Key",
        "hookline-event-id",
    } <= named.keys()
    assert named["Prefer"]["schema"] == {"const": "minimal"}
    assert (named["v"]["in"], named["v"]["schema"], named["e"]["required"]) == ("query", {"const": "1"}, False)
    assert note(made)["x-hookline-path"] == "/c/{customer}"
    assert made["security"] == [{"header_0": [], "header_1": []}], "all of them, not one of them"


@pytest.mark.parametrize(
    ("auth", "scheme"),
    [
        ("{bearer: {token: env:T}}", {"type": "http", "scheme": "bearer"}),
        ("{basic: {user: u, password: env:P}}", {"type": "http", "scheme": "basic"}),
        ("{api_key: {query: key, value: env:K}}", {"type": "apiKey", "in": "query", "name": "key"}),
        ("{api_key: {header: X-Key, value: env:K}}", {"type": "apiKey", "in": "header", "name": "X-Key"}),
        (
            "{oauth2_client_credentials: {token_url: 'https://id.example/t', client_id: i, client_secret: env:S}}",
            {"type": "http", "scheme": "bearer", "description": "Got with OAuth 2 client credentials."},
        ),
    ],
)
def test_ways_in(folder: Folder, auth: str, scheme: dict[str, str]) -> None:
    [made] = document(folder.add(CRM, f"auth: {auth}\n"))["components"]["securitySchemes"].values()
    assert made == scheme


@pytest.mark.parametrize(
    "sign", ["{github: {secret: env:S}}", "{stripe: {secret: env:S}}", "{ed25519: {keys: [env:S]}}"]
)
def test_signatures(folder: Folder, sign: str) -> None:
    names = [each["name"] for each in note(document(folder.add(CRM, f"sign: {sign}\n")))["parameters"]]
    assert {"X-Hub-Signature-256", "Stripe-Signature", "webhook-signature"} & set(names)


def test_a_batch_is_an_array_and_has_no_event_of_its_own(folder: Folder) -> None:
    folder.change(CRM, "/notes}", "/notes, metadata: headers_and_body, batch: {max_events: 50}}")
    made = note(document(folder))
    schema = made["requestBody"]["content"]["application/json"]["schema"]
    assert (schema["type"], schema["maxItems"]) == ("array", 50)
    assert [each["name"] for each in made["parameters"]] == ["webhook-id", "traceparent", "hookline-batch-size"]


def test_an_operation_without_body(folder: Folder) -> None:
    folder.change(CRM, "{path: /notes}", '{method: DELETE, path: "/c/{customer}", body: none}')
    made = document(folder)["webhooks"]["note"]
    assert "requestBody" not in made["delete"]


def test_what_is_read_of_an_answer(folder: Folder) -> None:
    folder.change(
        CRM,
        "{path: /notes}",
        "{path: /notes, response: {stage: {at: /data/stage, type: string, one_of: [a, b]}, "
        "n: {at: /data/n, type: int, optional: true}, at: {at: /at, type: timestamp}, all: {at: /data, type: map}}}",
    )
    made = document(folder)
    answer = note(made)["responses"]["2XX"]["content"]["application/json"]["schema"]
    validator = resolved(made, answer)
    assert validator.is_valid({"data": {"stage": "a"}, "at": "2026-01-01T00:00:00Z", "more": 1})
    assert not validator.is_valid({"data": {"stage": "c"}, "at": "2026-01-01T00:00:00Z"})
    assert not validator.is_valid({"data": {}, "at": "2026-01-01T00:00:00Z"})
    assert not validator.is_valid({"data": {"stage": "a", "n": "1"}, "at": "2026-01-01T00:00:00Z"})


def test_the_version_changes_with_what_is_sent_and_with_nothing_else(folder: Folder) -> None:
    before = document(folder)["info"]["version"]
    folder.change("journeys/welcome.yaml", "goal: Say hello", "goal: Greet")
    assert document(folder)["info"]["version"] == before
    folder.add("journeys/welcome.yaml", "      at: ${event.time}\n")
    assert document(folder)["info"]["version"] != before
