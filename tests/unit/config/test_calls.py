"""A step's payload must fit the operation it calls; what does not is named in the journey."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.config.conftest import Folder

CRM = "destinations/crm.yaml"
WELCOME = "journeys/welcome.yaml"


def called(folder: Folder, operation: str, payload: str) -> Folder:
    """`payload` is the block below `payload:`, or "" for none."""
    folder.change(CRM, "note: {path: /notes}", f"note: {operation}")
    before = "    payload:\n      customer: ${event.customer.id}\n"
    return folder.change(WELCOME, before, f"    payload:\n      {payload}\n" if payload else "")


ACCOUNT = '{path: "/accounts/{account}", method: PUT'


@pytest.mark.parametrize(
    ("operation", "payload", "problem"),
    [
        ("{path: /notes}", "", "11:5: steps[0]: needs a `payload`: crm.note sends a body"),
        ("{body: none}", "a: 1", "15:7: steps[0].payload: crm.note sends no body"),
        (ACCOUNT + ", body: none}", "", "11:5: steps[0]: needs a `payload`: crm.note has parameters in its path"),
        (ACCOUNT + "}", "a: 1", "15:7: steps[0].payload: needs `account`, a parameter of crm.note's path"),
        (ACCOUNT + "}", "account?: 1", "15:7: steps[0].payload.account?: cannot be left out: it is a parameter of"),
        (ACCOUNT + "}", "account: [1]", "15:16: steps[0].payload.account: must be one value: it is a parameter of"),
        (ACCOUNT + "}", "account: {a: 1}", "15:16: steps[0].payload.account: must be one value"),
        (ACCOUNT + "}", "account: null", "15:16: steps[0].payload.account: must be one value"),
        (ACCOUNT + "}", "account: ''", "15:16: steps[0].payload.account: must not be empty, . or .."),
        (ACCOUNT + "}", "account: '..'", "15:16: steps[0].payload.account: must not be empty, . or .."),
        (ACCOUNT + ", body: none}", "account: 1\n      x: 2", "16:7: steps[0].payload.x: is sent nowhere: crm.not"),
        ("{body: form}", "a: [1]", "15:10: steps[0].payload.a: is nested, which a form cannot say: crm.note sends one"),
        ("{body: form}", "a: {b: 1}", "15:10: steps[0].payload.a: is nested"),
        ("{body: form}", "a: null", "15:10: steps[0].payload.a: is null, which a form cannot say"),
        ("{metadata: headers_and_body}", "hookline: 1", "15:7: steps[0].payload.hookline: is the key of crm.note's "),
    ],
)  # fmt: skip
def test_what_does_not_fit(folder: Folder, operation: str, payload: str, problem: str) -> None:
    assert called(folder, operation, payload).problem().startswith(f"{WELCOME}:{problem}")


@pytest.mark.parametrize(
    ("operation", "payload"),
    [
        ("{body: none}", ""),
        (ACCOUNT + ", body: none}", "account: ${event.customer.id}"),
        (ACCOUNT + "}", "account: 7"),
        ("{body: form}", "a: 1\n      b?: ${event.customer.id}"),
        ("{body: ndjson, metadata: headers_and_body}", "a: {b: [1]}"),
    ],
)
def test_what_fits(folder: Folder, operation: str, payload: str) -> None:
    called(folder, operation, payload).load()


def test_the_contract_is_asked_about_the_body_without_parameters_and_with_metadata(folder: Folder) -> None:
    folder.write("contracts/a.json", json.dumps({"properties": {"a": {}}, "additionalProperties": False}))
    called(folder, ACCOUNT + ", request_schema: contracts/a.json}", "account: 7\n      a: ${event.customer.id}").load()
    folder.change(CRM, "method: PUT", "method: PUT, metadata: headers_and_body")
    assert "lacks room in its contract for `hookline`" in folder.problem()
    facts = ("event_id", "event_type", "event_time", "journey", "step", "delivery_id")
    hookline = {"properties": {name: {"type": "string"} for name in facts}, "additionalProperties": False}
    properties = {"a": {}, "hookline": hookline}
    folder.write("contracts/a.json", json.dumps({"properties": properties, "additionalProperties": False}))
    folder.load()
