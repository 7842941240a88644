"""How values are made, and the value of what is not there. `pipeline.model` has both for the rest of the code."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar, dataclass_transform

_T = TypeVar("_T")
_REALLY_FROZEN: Final = "pytest" in sys.modules


@dataclass_transform(frozen_default=True)
def value(cls: type[_T]) -> type[_T]:
    """Make `cls` a slotted value: immutable to mypy always, at run time under pytest."""
    return dataclass(slots=True, frozen=_REALLY_FROZEN)(cls)


class Absent(Enum):
    """The one value of a field that is missing or null: CEL's `has()` is false for it."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
