"""Files to begin with are valid in the folder they are made for: tests/unit/cli/test_new.py. Here: what is written."""

from __future__ import annotations

import pytest

from pipeline.config import starter
from pipeline.config.operation import Operation
from pipeline.config.places import Places
from pipeline.config.yaml import parse


@pytest.mark.parametrize(
    "text", ["you@example.com", "Ann", "a: b", "# x", "'", '"', "true", "1", "é", "- a", "[x]", "x "]
)
def test_texts_are_written_so_that_they_are_read_back(text: str) -> None:
    made, problems = parse("a", starter.destination("a", text).encode(), Places())
    assert not problems
    assert isinstance(made, dict)
    assert made["owner"] == text


def test_a_contract_s_required_keys_are_there() -> None:
    contract = {"required": ["a", "b", "c"], "properties": {"a": {"const": 7}, "b": {"type": ["null", "string"]}}}
    operation = Operation.model_validate({"path": "/x/{a}"})
    made = starter.journey("j", "me", "why", "e", "d.o", operation, contract)
    assert made.endswith('      a: ${event.id}\n      b: null\n      c: "replace me"\n')
