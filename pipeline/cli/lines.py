"""Turns lines of text into lifecycle events or entries of a table: CDNOW purchases, JSON lines in a schema's shape.

A line that is no event is named by number and field; what it holds is never quoted.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import plain
from pipeline.config.plain import NoEventError, unscaled
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
            "properties": {"quantity": int(quantity), "order_value": unscaled(dollars, 2, 18, "dollars")},
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
        event = plain.record(given, schema)
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
            names[place] = plain.text(name, "", place)
        key = "\0".join(names.values()) if names["entry"] else names["customer"]
        if given == {"gone": True}:
            return {"key": key.encode(), "value": None}
        return {"key": key.encode(), "value": plain.record(given, schema)}

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
