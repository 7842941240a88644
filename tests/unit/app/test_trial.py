"""app/trial: what a test delivery is made of. The trial itself: tests/integration/test_destination_test.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.app.trial import example, target
from pipeline.config.operation import Operation


def operation(**keys: object) -> Operation:
    return Operation.model_validate(keys)


def config(schema: object) -> SimpleNamespace:
    return SimpleNamespace(contracts={"contracts/order.json": SimpleNamespace(schema=schema)})


@pytest.mark.parametrize(
    ("keys", "schema", "body"),
    [
        ({}, {}, b"{}"),
        ({"request_schema": "contracts/order.json"}, {"examples": [{"a": 1}, {}]}, b'{"a":1}'),
        ({"request_schema": "contracts/order.json"}, {"examples": []}, b"{}"),
        ({"request_schema": "contracts/order.json"}, True, b"{}"),
        ({"body": "form", "request_schema": "contracts/order.json"}, {"examples": [{"a": "b c"}]}, b"a=b+c"),
        ({"body": "ndjson"}, {}, b"{}\n"),
        ({"body": "none"}, {}, b""),
    ],
)
def test_a_body_is_the_contracts_first_example(keys, schema, body) -> None:
    assert example(config(schema), operation(**keys)) == body


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ({"path": "/constant"}, b""),
        ({"path": "/contacts/{id}/notes"}, b"/contacts/hookline-test/notes"),
        ({"path": "/x", "query": {"who": "${event.customer.id}", "v": 2}}, b"/x?who=hookline-test&v=2"),
    ],
)
def test_what_comes_from_events_has_a_stand_in(keys, written) -> None:
    assert target(operation(**keys)) == written
