"""Decides what a condition asks of one field at least, so that most conditions need not be computed by CEL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pipeline.core.expressions import cel
from pipeline.core.expressions.cel import Flaw, Variable
from pipeline.model import Only

if TYPE_CHECKING:
    from pipeline.core.expressions.cel import Scope, Test
    from pipeline.model import Datum, Getter

# A path, a constant without escapes, and nothing after it that would make the comparison optional: in a chain of `&&`
# a false part decides, whatever the others are, errors included (CEL: language definition, Logical Operators).
_EQUALITY: Final = re.compile(r'\s*(event(?:\.[A-Za-z_]\w*)+)\s*==\s*"([^"\\\n]*)"\s*(&&[^|?]*)?', re.ASCII)


def only(text: str, scope: Scope) -> Only | None:
    """Return the field and the text that a condition asks it to be, if it begins with that; None if it does not.

    An event whose field is another text is one the condition is false of. Of any other value it must be asked.
    """
    found = _asked(text, scope)
    return None if found is None else found[0]


def _asked(text: str, scope: Scope) -> tuple[Only, bool] | None:
    """Return the same, and whether it is all that the condition asks."""
    found = _EQUALITY.fullmatch(text)
    if found is None:
        return None
    path, constant, more = found.groups()
    variable = scope(tuple(path.split(".")))
    return (Only(path, variable.get_cel, constant), more is None) if isinstance(variable, Variable) else None


def condition(text: str, scope: Scope) -> tuple[Test, tuple[Variable, ...]] | tuple[Flaw, ...]:
    """Compile a condition, with the paths it reads, or say all that is wrong with it. Only a BOOL true is true.

    CEL is asked where comparing the field it begins with does not decide: a text that is another one makes it false
    whatever follows, and the same one makes it true if nothing does.
    """
    made = cel.condition(text, scope)
    found = _asked(text, scope)
    if found is None or isinstance(made[0], Flaw):
        return made
    test, variables = made
    asked, alone = found
    return _first(asked.get, asked.text, test, alone=alone), variables


def _first(get: Getter, text: str, test: Test, *, alone: bool) -> Test:
    def quick(datum: Datum, now_ms: int) -> bool | None:
        found = get(datum, now_ms)
        if type(found) is str:  # of anything else, and of what is absent, CEL says what it means
            if found != text:
                return False
            if alone:
                return True
        return test(datum, now_ms)

    return quick
