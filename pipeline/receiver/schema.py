"""Decides whether a body keeps its contract, and names what it breaks by path and rule, never by value.

Source: JSON Schema, draft 2020-12 unless `$schema` says otherwise. A schema is compiled once and fetches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeAlias

import jsonschema_rs
import orjson

from pipeline.receiver.values import NOT_JSON, Refused, Violation, invalid

VIOLATIONS_MAX: Final = 20
"""Violations that an answer names; the rest will show once these are repaired."""

EXPLAINED_BYTES_MAX: Final = 16_384
"""Of a larger body only the first violation is named: the validator collects all before it gives one (10 us each)."""

Validate: TypeAlias = Callable[[bytes], Refused | None]
"""Body to why not, or None if it is valid. Never raises."""


def compiled(schema: Mapping[str, Any] | bool) -> Validate:  # noqa: FBT001 - true and false are schemas
    """Compile a JSON Schema. Raises ValueError for an invalid one, or one that refers elsewhere.

    As in the contracts of destinations, `format` is asserted and patterns are those that match in linear time.
    """
    plain = schema if isinstance(schema, bool) else dict(schema)
    validator = jsonschema_rs.validator_for(
        plain, validate_formats=True, offline=True, pattern_options=jsonschema_rs.RegexOptions()
    )
    named = frozenset(_names(schema))

    def validate(body: bytes) -> Refused | None:
        try:
            content = orjson.loads(body)
        except orjson.JSONDecodeError:
            return NOT_JSON
        if validator.is_valid(content):
            return None
        errors = validator.iter_errors(content) if len(body) <= EXPLAINED_BYTES_MAX else first(content)
        return invalid(tuple(dict.fromkeys(_violation(error, named) for error in islice(errors, VIOLATIONS_MAX))))

    def first(content: Any) -> Iterator[jsonschema_rs.ValidationError]:
        try:
            validator.validate(content)
        except jsonschema_rs.ValidationError as error:
            yield error

    return validate


def _violation(error: jsonschema_rs.ValidationError, named: frozenset[str]) -> Violation:
    path = list(error.instance_path)
    missing = getattr(error.kind, "property", None)
    if isinstance(missing, str):  # of `required`: the name is the schema's
        path.append(missing)
    # A key that the schema does not name may be data itself (an address, a customer's name): it is shown as a star.
    shown = (str(part) if isinstance(part, int) or part in named else "*" for part in path)
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in shown)
    return Violation(pointer, error.kind.name)


def _names(schema: object) -> Iterator[str]:
    """Every text that a schema uses as a key or names as one; more than its properties, and none of it from a body."""
    if isinstance(schema, Mapping):
        for key, inner in schema.items():
            yield str(key)
            yield from _names(inner)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            if isinstance(inner, str):
                yield inner
            yield from _names(inner)
