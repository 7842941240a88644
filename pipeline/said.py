"""Takes values out of the control topic's JSON, which anybody may have written who may write there.

A record that stopped its reader would stop every worker of the group, at every start. So a reader counts as damaged
what raises one of DAMAGED, and takes numbers and times from here: they are such that whoever reckons with them, or
shows them, need not look again.
"""

from __future__ import annotations

from datetime import datetime
from math import inf
from typing import Any, Final

DAMAGED: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What is raised over values that are not what they should be; RecursionError by asking a deeply nested one's text."""
WHOLE_MAX: Final = 1 << 53
"""Beyond it JSON's numbers are not exact, and a sum of a few would leave 64 bits."""
END_MS: Final = 253_402_300_800_000
"""Unix ms of the year 10000: no clock says that."""


def whole(given: Any) -> int:
    """Return a whole number; a text of one counts, too."""
    number = int(given)
    if not -WHOLE_MAX <= number <= WHOLE_MAX:
        raise ValueError
    return number


def rate(given: Any) -> float:
    """Return a number that is not negative, nor infinite."""
    number = float(given)
    if not 0.0 <= number < inf:
        raise ValueError
    return number


def at_ms(text: Any) -> int:
    """Return ISO 8601 text as Unix ms."""
    moment = int(datetime.fromisoformat(text).timestamp() * 1_000)
    if not 0 <= moment < END_MS:
        raise ValueError
    return moment
