"""The reference page is up to date and complete."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.config import reference
from pipeline.config.jsonschema import FILES

if TYPE_CHECKING:
    from pipeline.config.section import Section


def test_the_page_is_what_the_models_say() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run python -m pipeline.config.reference"


@pytest.mark.parametrize("model", [model for _, model in FILES.values()])
def test_every_key_is_described(model: type[Section]) -> None:
    page = reference.page()
    for section in (model, *reference._sections(model)):
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, (section, name)
            assert name in ("settings", "options") or f"| `{field.alias or name}` |" in page
