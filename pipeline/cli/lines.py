"""Turns lines of text into lifecycle events or entries of a table: CDNOW purchases, JSON lines in a schema's shape.

A line that is no event is named by number and field; what it holds is never quoted.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LINE_BYTES_MAX: Final = 1_048_576
"""Longest line read."""
NOON_MS: Final = 43_200_000
"""Purchases have a date only; noon UTC is the same date in nearly every time zone."""

ID_FROM: Final = ("line", "content", "random")
"""What makes an event's ID when the line has none: number and text, text alone, or chance."""

_NAMESPACE: Final = uuid.UUID("5b0d1f8e-9c53-5c0a-8a5e-3f1d6f0b7c21")
_DATE: Final = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_INT: Final = {"int": 31, "long": 63}


class NoEventError(ValueError):
    """A line that is no event. `place` is the field, "" for the whole line."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)


@value
class Wrong:
    """A line that was refused. Lines count from 1."""

    line: int
    message: str


@value
class Made:
    """A line that became an event."""

    line: int
    event: dict[str, Any]


Convert = "Callable[[str], dict[str, Any] | None]"


def read(
    lines: Iterable[bytes], convert: Callable[[str], dict[str, Any] | None], id_from: str
) -> Iterator[Made | Wrong]:
    """Convert each line; empty ones and headers are passed over. IDs that are missing are made as `id_from` says."""
    for number, raw in enumerate(lines, 1):
        if len(raw) > LINE_BYTES_MAX:
            yield Wrong(number, f"is longer than {LINE_BYTES_MAX} bytes")
            continue
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            event = convert(text) if text else None
        except UnicodeDecodeError:
            yield Wrong(number, "is not UTF-8")
        except NoEventError as error:
            yield Wrong(number, str(error))
        else:
            if event is not None:
                event["id"] = event.get("id") or _id(id_from, number, text)
                yield Made(number, event)


def _id(id_from: str, number: int, text: str) -> str:
    match id_from:
        case "random":
            return str(uuid.uuid4())
        case "content":
            return str(uuid.uuid5(_NAMESPACE, " ".join(text.split())))
        case _:
            return str(uuid.uuid5(_NAMESPACE, f"{number} " + " ".join(text.split())))


# ------------------------------------------------------------------------------------------------------------- CDNOW


def cdnow(consent: Mapping[str, str]) -> Callable[[str], dict[str, Any] | None]:
    """Return the conversion of `customer date cds dollars` lines; every event carries these consent flags."""

    def convert(text: str) -> dict[str, Any] | None:
        columns = text.split()
        if columns[0] == "customer_id":
            return None
        if len(columns) != 4:  # noqa: PLR2004 - the four columns of the format
            raise NoEventError("", "needs four columns: customer, date, number of CDs, dollars")
        customer, date, quantity, dollars = columns
        if not (quantity.isascii() and quantity.isdecimal()):
            raise NoEventError("number of CDs", "must be a whole number")
        return {
            "type": "purchase.completed",
            "time": _date_ms(date) + NOON_MS,
            "customer": {"id": customer, "email": None, "phone": None, "timezone": None, "ids": {}},
            "consent": dict(consent),
            "source": {"system": "cdnow"},
            "properties": {"quantity": int(quantity), "order_value": _unscaled(dollars, 2, 18, "dollars")},
        }

    return convert


def _date_ms(text: str) -> int:
    found = _DATE.fullmatch(text)
    try:
        if found:
            year, month, day = map(int, found.groups())
            return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1_000
    except ValueError:
        pass
    raise NoEventError("date", "must be YYYYMMDD")


def _unscaled(text: str, scale: int, precision: int, place: str) -> bytes:
    """Return a decimal as Avro has it: the unscaled integer, two's complement, big endian, no byte too many."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise NoEventError(place, "must be a decimal number")
    # Asked before anything is computed: 1e999999999 is a short text.
    if abs(number.adjusted()) > precision or number != round(number, scale) or number.adjusted() >= precision - scale:
        raise NoEventError(place, f"must have at most {scale} decimal places and {precision} digits")
    unscaled = int(number.scaleb(scale))
    return unscaled.to_bytes((unscaled + (unscaled < 0)).bit_length() // 8 + 1, "big", signed=True)


# --------------------------------------------------------------------------------------------------------- JSON lines


def json_lines(schema: Any) -> Callable[[str], dict[str, Any] | None]:
    """Return the conversion of JSON objects by the schema of the lifecycle event.

    Timestamps are RFC 3339 text or integers, decimals `{"decimal": "11.77"}` (or text where only a decimal fits), `id`
    may be left out. Unknown fields are refused.
    """

    def convert(text: str) -> dict[str, Any] | None:
        given = _object(text)
        if "id" not in given:
            given["id"] = ""
        event = _record(given, schema, "")
        for place, content in (("type", event["type"]), ("customer.id", event["customer"]["id"])):
            if not content:
                raise NoEventError(place, "must not be empty")
        return event

    return convert


def entry_lines(schema: Any) -> Callable[[str], dict[str, Any] | None]:
    """Return the conversion of JSON objects to entries of a table: `key` (bytes) and `value` (a datum, or None).

    Each names the `customer` and, where a writer has several or is not alone, the `entry`; the rest is by the schema,
    or `"gone": true` alone takes the entry away.
    """

    def convert(text: str) -> dict[str, Any] | None:
        given = _object(text)
        names = {}
        for place, default in (("customer", None), ("entry", "")):
            name = given.pop(place, default)
            if not isinstance(name, str) or "\0" in name or (default is None and not name):
                raise NoEventError(place, "must be text without NUL" + (", and not empty" if default is None else ""))
            names[place] = _text(name, "", place)
        key = "\0".join(names.values()) if names["entry"] else names["customer"]
        if given == {"gone": True}:
            return {"key": key.encode(), "value": None}
        return {"key": key.encode(), "value": _record(given, schema, "")}

    return convert


def _object(text: str) -> dict[str, Any]:
    try:
        given = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise NoEventError("", f"is not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise NoEventError("", "is nested too deep") from None
    if not isinstance(given, dict):
        raise NoEventError("", "must be a JSON object")
    return given


def _refuse_constant(_name: str) -> float:
    raise NoEventError("", "is not JSON: NaN and Infinity are no numbers there")


def _record(given: dict[str, Any], schema: Any, path: str) -> dict[str, Any]:
    fields = {field["name"]: field for field in schema["fields"]}
    for name in given:
        if name not in fields:
            close = get_close_matches(name, fields, 1)
            hint = f"did you mean {close[0]}" if close else "there are: " + ", ".join(fields)
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
            return _record(given, schema, place)
        case "map" if isinstance(given, dict):
            return {key: _datum(item, schema["values"], f"{place}.{key}") for key, item in given.items()}
        case "array" if isinstance(given, list):
            return [_datum(item, schema["items"], f"{place}[{index}]") for index, item in enumerate(given)]
        case "enum" if isinstance(given, str):
            if given in schema["symbols"]:
                return given
            raise NoEventError(place, "must be one of: " + ", ".join(schema["symbols"]))
        case "string" if isinstance(given, str):
            return _text(given, logical, place)
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
            text = given.get("decimal") if isinstance(given, dict) and len(given) == 1 else given
            if isinstance(text, str):
                return _unscaled(text, schema.get("scale", 0), schema["precision"], place)
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


def _text(given: str, logical: str, place: str) -> str:
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
