"""Answers that nobody scripted keep the operation's contract."""

from __future__ import annotations

import pytest

from pipeline.config.operation import Operation
from pipeline.core import contract
from pipeline.model import Answer
from pipeline.testing.stage import declared

FIELDS = {
    "code": {"at": "/data/code", "type": "string"},
    "stage": {"at": "/data/stage", "type": "string", "one_of": ["activated", "integrated"]},
    "until": {"at": "/until", "type": "timestamp"},
    "count": {"at": "/count", "type": "int"},
    "tags": {"at": "/tags", "type": "list"},
}


@pytest.mark.parametrize("response", [FIELDS, dict(list(FIELDS.items())[:1])])
def test_an_answer_made_of_the_response_is_read(response):
    operation = Operation.model_validate({"path": "/x", "response": response})
    read = contract.reader(
        None,
        [contract.Field(name, contract.tokens(each.at) or (), each.type, each.one_of, each.optional)
         for name, each in operation.response.items()],
    )  # fmt: skip
    kept = read(declared.answer(None, operation))
    assert set(kept) == set(response)


def test_an_operation_that_keeps_nothing_answers_nothing():
    assert declared.answer(None, Operation.model_validate({"path": "/x"})) == Answer(204)
