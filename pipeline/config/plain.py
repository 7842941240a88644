"""Turns plain values, as JSON and YAML have them, into the datum of an Avro schema.

What does not fit is named by its field; what it holds is never quoted.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

_INT: Final = {"int": 31, "long": 63}


class NoEventError(ValueError):
    """Values that make no event. `place` is the field, "" for the whole."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place = place
        self.message = message


def unscaled(text: str, scale: int, precision: int, place: str) -> bytes:
    """Return a decimal as Avro has it: the unscaled integer, two's complement, big endian, no byte too many.

    Raises NoEventError for text that is no decimal of that scale and precision; `place` is the field.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise NoEventError(place, "must be a decimal number")
    # Asked before anything is computed: 1e999999999 is a short text.
    if abs(number.adjusted()) > precision or number != round(number, scale) or number.adjusted() >= precision - scale:
        raise NoEventError(place, f"must have at most {scale} decimal places and {precision} digits")
    whole = int(number.scaleb(scale))
    return whole.to_bytes((whole + (whole < 0)).bit_length() // 8 + 1, "big", signed=True)


def record(given: dict[str, Any], schema: Any, path: str = "") -> dict[str, Any]:
    """Return the datum of a record schema (parsed JSON, named types written out where they are used).

    Timestamps are RFC 3339 text or integers, decimals `{"decimal": "11.77"}` (or text where only a decimal fits).
    Raises NoEventError for what does not fit; `path` is put before the field it names.
    """
    fields = {field["name"]: field for field in schema["fields"]}
    for name in given:
        if name not in fields:
            from pipeline.config.section import suggestion  # noqa: PLC0415 - pydantic, which `--help` does without

            hint = suggestion(name, fields) or "there are: " + ", ".join(fields)
            raise NoEventError(path, f"has a field that the schema lacks ({hint})")
    made: dict[str, Any] = {}
    for name, field in fields.items():
        place = f"{path}.{name}" if path else name
        if name in given:
            made[name] = _datum(given[name], field["type"], place)
        elif "default" in field:
            made[name] = field["default"]
        else:
            raise NoEventError(place, "is missing")
    return made


def _datum(given: Any, schema: Any, place: str) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line a type
    """Turn JSON into the datum of a schema, or raise NoEventError with the place."""
    if isinstance(schema, list):
        return _branch(given, schema, place)
    kind, logical = (schema, "") if isinstance(schema, str) else (schema["type"], schema.get("logicalType", ""))
    match kind:
        case "record" if isinstance(given, dict):
            return record(given, schema, place)
        case "map" if isinstance(given, dict):
            return {key: _datum(item, schema["values"], f"{place}.{key}") for key, item in given.items()}
        case "array" if isinstance(given, list):
            return [_datum(item, schema["items"], f"{place}[{index}]") for index, item in enumerate(given)]
        case "enum" if isinstance(given, str):
            if given in schema["symbols"]:
                return given
            raise NoEventError(place, "must be one of: " + ", ".join(schema["symbols"]))
        case "string" if isinstance(given, str):
            return text(given, logical, place)
        case "long" | "int" if logical.startswith("timestamp-") and isinstance(given, str):
            return _time(given, place)
        case "long" | "int" if isinstance(given, int) and not isinstance(given, bool):
            if -(1 << _INT[kind]) <= given < 1 << _INT[kind]:
                return given
            raise NoEventError(place, f"does not fit {kind}")
        case "double" | "float" if isinstance(given, (int, float)) and not isinstance(given, bool):
            return float(given)
        case "boolean" if isinstance(given, bool):
            return given
        case "null" if given is None:
            return None
        case "bytes" if logical == "decimal":
            digits = given.get("decimal") if isinstance(given, dict) and len(given) == 1 else given
            if isinstance(digits, str):
                return unscaled(digits, schema.get("scale", 0), schema["precision"], place)
    raise NoEventError(place, f"must be {_shown(schema)}")


def _branch(given: Any, union: list[Any], place: str) -> Any:
    """Take the branch that JSON's own type names; a decimal only where it is asked for, or nothing else is text."""
    if isinstance(given, dict) and given.keys() == {"decimal"}:
        wanted = [branch for branch in union if isinstance(branch, dict) and branch.get("logicalType") == "decimal"]
    else:
        words = _BRANCHES.get(type(given), ())
        wanted = sorted((each for each in union if _kind(each) in words), key=lambda each: words.index(_kind(each)))
    if not wanted:
        raise NoEventError(place, "must be " + " or ".join(_shown(branch) for branch in union))
    return _datum(given, wanted[0], place)


_BRANCHES: Final[dict[type, tuple[str, ...]]] = {
    type(None): ("null",),
    bool: ("boolean",),
    int: ("int", "long", "double", "float"),
    float: ("double", "float"),
    str: ("string", "enum", "bytes"),
    list: ("array",),
    dict: ("record", "map"),
}


def _kind(schema: Any) -> str:
    return schema if isinstance(schema, str) else str(schema["type"])


def _shown(schema: Any) -> str:
    if isinstance(schema, dict) and schema.get("logicalType") == "decimal":
        return '{"decimal": "…"}'
    if isinstance(schema, dict) and schema.get("logicalType", "").startswith("timestamp-"):
        return "an RFC 3339 time with zone, or a number"
    return _kind(schema)


def text(given: str, logical: str, place: str) -> str:
    """Return text as it is written, a `uuid` in its one form. Raises NoEventError for what is none."""
    try:
        given.encode()
    except UnicodeEncodeError:  # a lone surrogate, as JSON's \ud800
        raise NoEventError(place, "is no valid text") from None
    if logical == "uuid" and given:
        try:
            return str(uuid.UUID(given))
        except ValueError:
            raise NoEventError(place, "must be a UUID") from None
    return given


def _time(given: str, place: str) -> int:
    try:
        found = datetime.fromisoformat(given)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise NoEventError(place, "must be an RFC 3339 time with zone, such as 2026-11-23T10:00:00Z")
    whole = found.astimezone(UTC).replace(microsecond=0)
    return int(whole.timestamp()) * 1_000 + found.microsecond // 1_000
