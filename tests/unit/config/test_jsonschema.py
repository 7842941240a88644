"""The schemas for editors accept what Hookline accepts, and refuse the mistakes an editor should show."""

from __future__ import annotations

import pathlib

import jsonschema
import pytest

from pipeline.config.jsonschema import schema
from pipeline.config.places import Places
from pipeline.config.yaml import parse

CDNOW = pathlib.Path("tests/data/config/cdnow")
KINDS = {
    "hookline": "hookline.yaml",
    "journey": "journeys/purchase_thanks.yaml",
    "destination": "destinations/crm.yaml",
    "env": "env/test.yaml",
}


@pytest.mark.parametrize(("kind", "file"), KINDS.items())
def test_schemas_for_editors(kind: str, file: str) -> None:
    made = schema(kind)
    jsonschema.Draft202012Validator.check_schema(made)
    validator = jsonschema.Draft202012Validator(made)
    tree, _ = parse(file, (CDNOW / file).read_bytes(), Places())
    assert isinstance(tree, dict)
    validator.validate(tree)
    assert not validator.is_valid(tree | {"unknown": 1})
    assert not validator.is_valid([tree])


@pytest.mark.parametrize(
    ("kind", "file", "key", "wrong"),
    [
        ("destination", "destinations/crm.yaml", "timeout", 10),
        ("destination", "destinations/crm.yaml", "timeout", "10 s"),
        ("destination", "destinations/crm.yaml", "auth", {"bearer": {"token": "hunter2"}}),
        ("destination", "destinations/crm.yaml", "receives", ["everything"]),
        ("journey", "journeys/purchase_thanks.yaml", "status", "retired"),
        ("journey", "journeys/purchase_thanks.yaml", "purpose", None),
        ("hookline", "hookline.yaml", "retry_tiers", ["soon"]),
        ("env", "env/test.yaml", "mode", "test"),
    ],
)
def test_schemas_refuse(kind: str, file: str, key: str, wrong: object) -> None:
    tree, _ = parse(file, (CDNOW / file).read_bytes(), Places())
    assert isinstance(tree, dict)
    assert not jsonschema.Draft202012Validator(schema(kind)).is_valid(tree | {key: wrong})


def test_auth_may_be_the_word_none() -> None:
    tree, _ = parse("crm", (CDNOW / "destinations/crm.yaml").read_bytes(), Places())
    assert isinstance(tree, dict)
    jsonschema.Draft202012Validator(schema("destination")).validate(tree | {"auth": "none", "sign": "none"})
