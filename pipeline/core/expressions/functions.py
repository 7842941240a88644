"""Decides what Hookline's own CEL functions give: days, sha256, epoch_ms, minor_units."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from hashlib import sha256 as _sha256
from typing import Any, Final

from cel_expr_python import cel  # type: ignore[import-untyped]  # its stubs are not marked as typed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_DIGITS_MAX: Final = 18

_HASHED: Final = re.compile(r"[0-9a-fA-F]{64}|[A-Za-z0-9+/_-]{43}=", re.ASCII)
HASHED: Final = "hookline: hashed already"
"""How the error of a hash that was to be hashed is told from others: CEL hands on no more than its message."""


def days(n: int) -> timedelta:
    """Return n times 24 hours."""
    return timedelta(days=n)


def sha256(text: str) -> str:
    """Return the SHA-256 of the text's UTF-8 bytes, lower-case hex.

    Raises ValueError for what looks like a SHA-256 already, in hex or padded base64: hashed twice, it would match
    nobody anywhere, and no receiver could tell.
    """
    if _HASHED.fullmatch(text.strip()) is not None:
        raise ValueError(HASHED)
    return _sha256(text.encode()).hexdigest()


def epoch_ms(moment: datetime) -> int:
    """Return a timestamp as Unix ms, rounded down."""
    return (moment - _EPOCH) // _MS


def minor_units(amount: float | str, digits: int) -> int:
    """Return an amount of money in minor units: 12.5 with 2 digits is 1250. Half of a unit goes to the even one.

    Text takes any number of digits exactly; a double has about 15. Raises ValueError for more than 18 digits.
    """
    if not 0 <= digits <= _DIGITS_MAX:
        raise ValueError("digits")
    shifted = Decimal(amount if isinstance(amount, (int, str)) else repr(amount)).scaleb(digits)
    return int(shifted.to_integral_value(ROUND_HALF_EVEN))


def _declare() -> list[cel.FunctionDecl]:
    type_ = cel.Type

    def one(name: str, result: cel.Type, impl: object, *parameters: tuple[cel.Type, ...]) -> cel.FunctionDecl:
        return cel.FunctionDecl(
            name,
            [
                cel.Overload(f"{name}_{index}", return_type=result, parameters=list(types), impl=impl)
                for index, types in enumerate(parameters)
            ],
        )

    amounts = ((type_.DOUBLE, type_.INT), (type_.INT, type_.INT), (type_.STRING, type_.INT))
    return [
        one("days", type_.DURATION, days, (type_.INT,)),
        one("sha256", type_.STRING, sha256, (type_.STRING,)),
        one("epoch_ms", type_.INT, epoch_ms, (type_.TIMESTAMP,)),
        one("minor_units", type_.INT, minor_units, *amounts),
    ]


DECLARED: Final = _declare()


def extensions() -> list[Any]:
    """Return CEL's own libraries of functions on texts and numbers."""
    from cel_expr_python.ext import ext_math, ext_strings  # type: ignore[import-untyped]  # noqa: PLC0415 - 6 MB

    return [ext_strings.ExtStrings(), ext_math.ExtMath()]
