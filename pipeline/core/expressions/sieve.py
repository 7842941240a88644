"""Decides what a condition asks of one field at least, so that most conditions of many need not be computed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipeline.core.expressions.cel import Variable
from pipeline.model import Only

if TYPE_CHECKING:
    from pipeline.core.expressions.cel import Scope

# A path, a constant without escapes, and nothing after it that would make the comparison optional: in a chain of `&&`
# a false part decides, whatever the others are, errors included (CEL: language definition, Logical Operators).
_EQUALITY: Final = re.compile(r'\s*(event(?:\.[A-Za-z_]\w*)+)\s*==\s*"([^"\\\n]*)"\s*(?:&&[^|?]*)?', re.ASCII)


def only(text: str, scope: Scope) -> Only | None:
    """Return the field and the text that a condition asks it to be, if it begins with that; None if it does not.

    An event whose field is another text is one the condition is false of. Of any other value it must be asked.
    """
    found = _EQUALITY.fullmatch(text)
    if found is None:
        return None
    path, constant = found.groups()
    variable = scope(tuple(path.split(".")))
    return Only(path, variable.get_cel, constant) if isinstance(variable, Variable) else None
