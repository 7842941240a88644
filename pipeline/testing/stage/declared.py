"""Answers as contracts declare them: what a system that keeps its word might say, for whoever writes no script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from pipeline.core import contract
from pipeline.model import Answer
from pipeline.testing.stage.endpoints import Reply

if TYPE_CHECKING:
    from pipeline.config.models import Config, Operation
    from pipeline.model import Rows
    from pipeline.testing.stage.endpoints import Request, Script

_TYPICAL: Final[dict[str, Any]] = {
    "string": "example", "int": 1, "number": 1.0, "bool": True, "timestamp": "2100-01-01T00:00:00Z", "list": [],
    "map": {},
}  # fmt: skip


def script(config: Config) -> Script:
    """Return a script of good answers: the contract's first example, else one made of `response`, else 204."""
    answers = {
        (name, operation): answer(config, each)
        for name, destination in config.destinations.items()
        for operation, each in destination.operations.items()
    }
    calls = {
        (journey.name, step.name): (name, operation)
        for journey in config.journeys.values()
        for step in journey.steps
        if step.call
        for name, _, operation in [step.call.partition(".")]
    }

    def reply(request: Request) -> Reply:
        call = calls.get((request.journey, request.step))
        return Reply(answers[call] if call is not None else Answer(204))

    return reply


def rows(config: Config) -> Rows:
    """Return a row of each look-up, of values such as its fields are declared to have."""
    return {
        name: {field: each.one_of[0] if each.one_of else _TYPICAL[each.type] for field, each in lookup.fields.items()}
        for name, lookup in config.lookups.items()
    }


def answer(config: Config, operation: Operation) -> Answer:
    """Return an answer that keeps an operation's contract."""
    if operation.response_schema is not None:
        schema: Any = config.contracts[operation.response_schema].schema
        examples = schema.get("examples") if isinstance(schema, dict) else None
        if isinstance(examples, list) and examples:
            return Answer(200, "", orjson.dumps(examples[0]))
    if not operation.response:
        return Answer(204)
    document: dict[str, Any] = {}
    for each in operation.response.values():
        _put(document, contract.tokens(each.at) or (), each.one_of[0] if each.one_of else _TYPICAL[each.type])
    return Answer(200, "", orjson.dumps(document))


def _put(document: dict[str, Any], path: tuple[str, ...], content: object) -> None:
    """Put a value where a JSON pointer leads; a pointer into a list finds nothing here."""
    for name in path[:-1]:
        below = document.setdefault(name, {})
        if not isinstance(below, dict):
            return
        document = below
    if path:
        document[path[-1]] = content
