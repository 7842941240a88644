"""The reference page is up to date and complete, and editors' schemas accept what Hookline accepts."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import jsonschema
import pytest

from pipeline.config import reference
from pipeline.config.jsonschema import FILES, schema
from pipeline.config.places import Places
from pipeline.config.yaml import parse

if TYPE_CHECKING:
    from pipeline.config.section import Section

CDNOW = pathlib.Path("tests/data/config/cdnow")
KINDS = {
    "hookline": "hookline.yaml",
    "journey": "journeys/purchase_thanks.yaml",
    "destination": "destinations/crm.yaml",
    "env": "env/test.yaml",
}


def test_the_page_is_what_the_models_say() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run python -m pipeline.config.reference"


@pytest.mark.parametrize("model", [model for _, model in FILES.values()])
def test_every_key_is_described(model: type[Section]) -> None:
    page = reference.page()
    for section in (model, *reference._sections(model)):
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, (section, name)
            assert name == "settings" or f"| `{field.alias or name}` |" in page
        for key, later in section.later.items():
            assert f"- `{key}`" in page
            assert later.why in page


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
        ("journey", "journeys/purchase_thanks.yaml", "status", "paused"),
        ("journey", "journeys/purchase_thanks.yaml", "purpose", None),
        ("hookline", "hookline.yaml", "retry_tiers", ["soon"]),
        ("env", "env/test.yaml", "mode", "dry"),
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
