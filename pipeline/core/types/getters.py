"""Decides how a path is read from a datum: compiled accessors that give the JSON form or the CEL form, or ABSENT."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipeline.core.types.scalars import Form, Scalar
from pipeline.core.types.tree import (
    Anything,
    Found,
    ListOf,
    MapOf,
    RecordOf,
    Type,
    UnionOf,
    ambiguous,
    may_hold_objects,
    solid,
)
from pipeline.model import ABSENT, Datum, FailureClass, Getter, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

JSON: Final = "json"
CEL: Final = "cel"
DYN: Final = "dyn"
RAW: Final = "raw"
SENT: Final = "sent"
"""JSON, but for objects and lists that hold any: those are WHOLE."""

WHOLE: Final = Refused(FailureClass.SCHEMA, "")
"""What is there instead of a whole object, where a payload names one value."""

_Forms: TypeAlias = dict[tuple[int, str], Form]


def getter(found: Found, form: str = JSON) -> Getter:
    """Compile the accessor of a path. `form` is JSON, SENT, CEL (as `cel_type` has it), DYN or RAW (as in the datum).

    The accessor never raises on a datum of the schema the path was found in; null anywhere on the way is ABSENT.
    """
    convert = None if form == RAW else conversion(found.type, form)
    steps = found.steps
    if not steps:
        return _whole(convert)
    if found.direct == len(steps) <= 3:  # noqa: PLR2004 - one function for each length below
        return _short(steps, convert) if convert is None else _short_converted(steps, convert)
    return _long(steps, convert)


def _whole(convert: Form) -> Getter:
    def whole(datum: Datum, _now_ms: int) -> object:
        return ABSENT if datum is None else datum if convert is None else convert(datum)

    return whole


def _short(steps: tuple[str, ...], _convert: None) -> Getter:
    """One to three names of which only the last may be missing or null."""
    last = steps[-1]
    if len(steps) == 1:

        def get1(datum: Datum, _now_ms: int) -> object:
            found = datum.get(last)
            return ABSENT if found is None else found

        return get1
    first = steps[0]
    if len(steps) == 2:  # noqa: PLR2004

        def get2(datum: Datum, _now_ms: int) -> object:
            found = datum[first].get(last)
            return ABSENT if found is None else found

        return get2
    second = steps[1]

    def get3(datum: Datum, _now_ms: int) -> object:
        found = datum[first][second].get(last)
        return ABSENT if found is None else found

    return get3


def _short_converted(steps: tuple[str, ...], convert: Callable[[Any], object]) -> Getter:
    """As `_short`, with a conversion."""
    last = steps[-1]
    if len(steps) == 1:

        def get1(datum: Datum, _now_ms: int) -> object:
            found = datum.get(last)
            return ABSENT if found is None else convert(found)

        return get1
    first = steps[0]
    if len(steps) == 2:  # noqa: PLR2004

        def get2(datum: Datum, _now_ms: int) -> object:
            found = datum[first].get(last)
            return ABSENT if found is None else convert(found)

        return get2
    second = steps[1]

    def get3(datum: Datum, _now_ms: int) -> object:
        found = datum[first][second].get(last)
        return ABSENT if found is None else convert(found)

    return get3


def _long(steps: tuple[str, ...], convert: Form) -> Getter:
    def get(datum: Datum, _now_ms: int) -> object:
        here = datum
        for name in steps:
            if type(here) is not dict:  # null, or another branch of a union
                return ABSENT
            here = here.get(name)
        if here is None:
            return ABSENT
        return here if convert is None else convert(here)

    return get


# -------------------------------------------------------------------------------------------------------- conversions


def conversion(type_: Type, form: str) -> Form:
    """Return how a non-null value of the type becomes its JSON, CEL or DYN form; None when it stays as it is."""
    return _conversion(solid(type_), form, {})


def _conversion(type_: Type, form: str, under_way: _Forms) -> Form:  # noqa: PLR0911 - one for each kind of type
    if isinstance(type_, Scalar):
        return type_.json if form in (JSON, SENT) else type_.to_cel if form == CEL else type_.dyn
    if isinstance(type_, Anything):
        return _PLAIN[form]
    if form == SENT and isinstance(type_, (RecordOf, MapOf)):
        return _whole_object
    if isinstance(type_, ListOf):
        to_list = _list(_conversion(solid(type_.items), form, under_way))
        return _unless_whole(to_list) if form == SENT and may_hold_objects(type_.items) else to_list
    if isinstance(type_, MapOf):
        return _map(_conversion(solid(type_.values), form, under_way))
    inner = DYN if form == CEL else form
    if isinstance(type_, UnionOf):
        return _union(type_, inner, under_way)
    if (id(type_), inner) not in under_way:  # else a record inside itself: its fields are being filled in
        fields: dict[str, Form] = {}
        under_way[id(type_), inner] = _record(fields)
        fields |= {name: _conversion(solid(field.type), inner, under_way) for name, field in type_.fields.items()}
    return under_way[id(type_), inner]


def _list(convert: Form) -> Form:
    if convert is None:
        return None

    def to_list(items: list[Any]) -> object:
        converted = [None if item is None else convert(item) for item in items]
        return [None if item is ABSENT else item for item in converted]

    return to_list


def _unless_whole(convert: Form) -> Form:
    """Convert a list in which only values tell whether there is an object."""
    return lambda items: WHOLE if holds_object(items) else items if convert is None else convert(items)


def _map(convert: Form) -> Form:
    def to_map(entries: dict[str, Any]) -> object:
        if convert is None:
            return {name: found for name, found in entries.items() if found is not None}
        made = ((name, convert(found)) for name, found in entries.items() if found is not None)
        return {name: found for name, found in made if found is not ABSENT}

    return to_map


def _record(fields: dict[str, Form]) -> Form:
    def to_record(entries: dict[str, Any]) -> object:
        made: dict[str, object] = {}
        for name, convert in fields.items():
            found = entries.get(name)
            if found is not None:
                form = found if convert is None else convert(found)
                if form is not ABSENT:
                    made[name] = form
        return made

    return to_record


def _union(type_: UnionOf, form: str, under_way: _Forms) -> Form:
    """Dispatch on the Python type of the value; what cannot be told apart is ABSENT rather than guessed."""
    if ambiguous(type_):
        return lambda _found: ABSENT
    by_python: dict[type, Form] = {}
    for branch in type_.branches:
        convert = _conversion(solid(branch), form, under_way)
        if isinstance(branch, Scalar):
            by_python[branch.python] = convert
        elif isinstance(branch, ListOf):
            by_python[list] = convert
        elif isinstance(branch, Anything):
            return convert
        else:
            # Two branches that are both dicts: names decide, so the forms are made by what each value is.
            by_python[dict] = _PLAIN[form] if dict in by_python else convert
    if not any(by_python.values()):
        return None

    def dispatch(found: Any) -> object:
        convert = by_python.get(type(found))
        return found if convert is None else convert(found)

    return dispatch


def plain_json(found: Any) -> object:
    """Return the JSON form of a value of unknown schema, by its Python type: bytes as base64, NaN as ABSENT."""
    if isinstance(found, float):
        return found if found - found == 0.0 else ABSENT
    if isinstance(found, (bytes, bytearray)):
        return b64encode(found).decode("ascii")
    if isinstance(found, list):
        return [None if (form := plain_json(item)) is ABSENT else form for item in found]
    if isinstance(found, dict):
        made = ((name, plain_json(item)) for name, item in found.items() if item is not None)
        return {name: form for name, form in made if form is not ABSENT}
    return found


def plain_sent(found: Any) -> object:
    """Return the JSON form of a value of unknown schema, or WHOLE if it is an object or a list that holds one."""
    return WHOLE if holds_object(found) else plain_json(found)


def holds_object(found: object) -> bool:
    """Whether a value is an object, or a list with one in it."""
    return isinstance(found, dict) or (isinstance(found, list) and any(map(holds_object, found)))


def _whole_object(_found: Any) -> object:
    return WHOLE


def plain_cel(found: Any) -> object:
    """Return the CEL form of a value of unknown schema: null entries of maps left out."""
    if isinstance(found, list):
        return [plain_cel(item) for item in found]
    if isinstance(found, dict):
        return {name: plain_cel(item) for name, item in found.items() if item is not None}
    return found


_PLAIN: Final = {JSON: plain_json, SENT: plain_sent, CEL: plain_cel, DYN: plain_cel}
