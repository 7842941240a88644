"""Decides what each kind of single value looks like in JSON and in CEL: numbers, text, times, decimals, bytes."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, TypeAlias

from pipeline.model import ABSENT, value

Form: TypeAlias = Callable[[Any], object] | None
"""How a non-null value is converted; None leaves it as it is. Gives ABSENT for what cannot be said. Never raises."""

DECIMAL_BYTES_MAX: Final = 1_024
"""Longer decimals are absent: Python writes no integer of more than 4,300 digits."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive on purpose: "Z" is appended as text
_EPOCH_UTC: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_ONE: Final = date(1970, 1, 1)
_SECONDS: Final = tuple(f"{second:02d}." for second in range(60))
_MILLIS: Final = tuple(f"{milli:03d}Z" for milli in range(1_000))


@value
class Scalar:
    """A value without parts. `cel` is its CEL type; `text` says whether it can hold words of a person."""

    kind: str
    cel: str
    json: Form = None
    to_cel: Form = None
    dyn: Form = None  # CEL form where the declared type is dyn
    text: bool = False
    symbols: tuple[str, ...] = ()
    per_s: int = 0  # of a timestamp: units a second
    python: type = str  # of the value in the datum


def rfc3339(ms: int) -> str:
    """Return Unix ms as RFC 3339 in UTC with milliseconds. Raises OverflowError outside the years 1 to 9999."""
    minute, rest = divmod(ms, 60_000)
    return _minute(minute) + _SECONDS[rest // 1_000] + _MILLIS[rest % 1_000]


# Events of one minute come together: remembering the minute is three times as fast as formatting each time.
@lru_cache(maxsize=4_096)
def _minute(minute: int) -> str:
    return (_EPOCH + timedelta(minutes=minute)).isoformat(timespec="minutes") + ":"


def _timestamp(kind: str, per_s: int) -> Scalar:
    per_ms = per_s // 1_000

    def json(units: int) -> object:
        try:
            return rfc3339(units // per_ms)
        except OverflowError:
            return ABSENT

    def to_cel(units: int) -> object:
        try:
            return _EPOCH_UTC + timedelta(microseconds=units * 1_000_000 // per_s)
        except OverflowError:
            return ABSENT

    return Scalar(kind, "timestamp", json, to_cel, json, per_s=per_s, python=int)


def _local(per_s: int) -> Scalar:
    def json(units: int) -> object:
        try:
            return (_EPOCH + timedelta(milliseconds=units * 1_000 // per_s)).isoformat(timespec="milliseconds")
        except OverflowError:
            return ABSENT

    return Scalar("local-timestamp", "string", json, json, json, python=int)


def _time(per_s: int) -> Scalar:
    def json(units: int) -> object:
        ms = units * 1_000 // per_s
        if not 0 <= ms < 86_400_000:  # noqa: PLR2004 - ms a day
            return ABSENT
        return (_EPOCH + timedelta(milliseconds=ms)).time().isoformat(timespec="milliseconds")

    return Scalar("time", "string", json, json, json, python=int)


def _date(days: int) -> object:
    try:
        return (_DAY_ONE + timedelta(days=days)).isoformat()
    except OverflowError:
        return ABSENT


def _decimal(scale: int) -> Scalar:
    power = 10**scale

    def json(content: bytes) -> object:
        if len(content) > DECIMAL_BYTES_MAX:
            return ABSENT
        unscaled = int.from_bytes(content, "big", signed=True)
        if scale == 0:
            return str(unscaled)
        digits = str(abs(unscaled)).zfill(scale + 1)
        text = digits[:-scale] + "." + digits[-scale:]
        return "-" + text if unscaled < 0 else text

    def to_cel(content: bytes) -> object:
        if len(content) > DECIMAL_BYTES_MAX:
            return ABSENT
        try:
            return int.from_bytes(content, "big", signed=True) / power
        except OverflowError:  # more than a double holds
            return ABSENT

    return Scalar("decimal", "double", json, to_cel, to_cel, python=bytes)


def _finite(number: float) -> object:
    return number if number - number == 0.0 else ABSENT  # JSON has neither NaN nor infinity


def _base64(content: bytes) -> str:
    return b64encode(content).decode("ascii")


def _uuid_text(content: bytes) -> str:
    digits = content.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_STRING: Final = Scalar("string", "string", text=True)
_UUID: Final = Scalar("uuid", "string")
BYTES: Final = Scalar("bytes", "bytes", _base64, text=True, python=bytes)
UUID_FIXED: Final = Scalar("uuid", "string", _uuid_text, _uuid_text, _uuid_text, python=bytes)
_INT: Final = Scalar("int", "int", python=int)
_DOUBLE: Final = Scalar("double", "double", _finite, python=float)
_BOOL: Final = Scalar("bool", "bool", python=bool)
NULL: Final = Scalar("null", "null_type", python=type(None))
PRIMITIVES: Final = {
    "null": NULL, "boolean": _BOOL, "int": _INT, "long": _INT, "float": _DOUBLE, "double": _DOUBLE,
    "string": _STRING, "bytes": BYTES,
}  # fmt: skip
LOGICAL: Final = {
    ("long", "timestamp-millis"): _timestamp("timestamp-millis", 1_000),
    ("long", "timestamp-micros"): _timestamp("timestamp-micros", 1_000_000),
    ("long", "timestamp-nanos"): _timestamp("timestamp-nanos", 1_000_000_000),
    ("long", "local-timestamp-millis"): _local(1_000),
    ("long", "local-timestamp-micros"): _local(1_000_000),
    ("long", "local-timestamp-nanos"): _local(1_000_000_000),
    ("int", "date"): Scalar("date", "string", _date, _date, _date, python=int),
    ("int", "time-millis"): _time(1_000),
    ("long", "time-micros"): _time(1_000_000),
    ("string", "uuid"): _UUID,
}


def logical(kind: str, schema: Mapping[str, Any]) -> Scalar | None:
    """Return the logical type a primitive or fixed is annotated with; None if there is none or it does not fit."""
    name = schema.get("logicalType")
    if name == "decimal" and kind in ("bytes", "fixed"):
        scale, precision = schema.get("scale", 0), schema.get("precision")
        if isinstance(scale, int) and isinstance(precision, int) and 0 <= scale <= precision:
            return _decimal(scale)
        return None
    return LOGICAL.get((kind, str(name)))
