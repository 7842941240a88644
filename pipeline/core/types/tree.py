"""Decides which fields a record has: the type tree of an Avro schema, and where a dotted path leads in it."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from pipeline.core.types.scalars import BYTES, NULL, PRIMITIVES, UUID_FIXED, Scalar, logical
from pipeline.model import value

CLASS_ATTRIBUTE: Final = "hookline.class"
"""Avro field attribute that names the personal-data class of a field and of all below it."""


@value
class Field:
    """One field of a record; `cls` is its personal-data class, or "" if the schema names none."""

    type: Type
    cls: str = ""


@value
class RecordOf:
    """A record. `fields` is filled after construction, so that a record may contain itself."""

    name: str
    fields: dict[str, Field]


@value
class MapOf:
    """A map from text to one type."""

    values: Type


@value
class ListOf:
    """An Avro array."""

    items: Type


@value
class UnionOf:
    """What a value may be, null left out; `nullable` says whether null was among the branches."""

    branches: tuple[Type, ...]
    nullable: bool


@value
class Anything:
    """A value whose schema is not known; it is handled by its Python type."""


Type: TypeAlias = Scalar | RecordOf | MapOf | ListOf | UnionOf | Anything

ANYTHING: Final = Anything()


@value
class Found:
    """Where a path leads. `steps` are its names, `direct` how many first ones certainly stand in a record or map."""

    type: Type
    steps: tuple[str, ...]
    direct: int
    cls: str


@value
class Missing:
    """A path that leads nowhere: `known` are the names there are at its `at`-th name."""

    at: int
    known: tuple[str, ...]


def tree(schema: Any) -> Type:
    """Return the type of an Avro schema (parsed JSON). Unknown constructs become Anything; never raises for valid Avro.

    An unknown or misplaced logical type is ignored, as the Avro specification demands.
    """
    return _parse(schema, "", {})


def _parse(schema: Any, namespace: str, named: dict[str, Type]) -> Type:  # noqa: PLR0911 - one for each form
    if isinstance(schema, str):
        return named.get(_full(schema, namespace)) or named.get(schema) or PRIMITIVES.get(schema) or ANYTHING
    if isinstance(schema, list):
        branches = tuple(_parse(branch, namespace, named) for branch in schema)
        kept = tuple(branch for branch in branches if branch is not NULL)
        return UnionOf(kept, len(kept) < len(branches)) if kept else NULL
    if not isinstance(schema, dict):
        return ANYTHING
    kind = schema.get("type")
    if kind == "array":
        return ListOf(_parse(schema.get("items"), namespace, named))
    if kind == "map":
        return MapOf(_parse(schema.get("values"), namespace, named))
    if kind in ("record", "error", "enum", "fixed"):
        return _named(schema, namespace, named)
    if isinstance(kind, str) and (known := logical(kind, schema)) is not None:
        return known
    return _parse(kind, namespace, named)


def _named(schema: dict[str, Any], namespace: str, named: dict[str, Type]) -> Type:
    own = str(schema.get("namespace", namespace))
    name = _full(str(schema.get("name", "")), own)
    inner = name.rpartition(".")[0]
    if schema["type"] == "enum":
        named[name] = Scalar("enum", "string", symbols=tuple(schema.get("symbols", ())))
    elif schema["type"] == "fixed":
        size = schema.get("size")
        is_uuid = schema.get("logicalType") == "uuid" and size == 16  # noqa: PLR2004 - bytes of a UUID
        named[name] = UUID_FIXED if is_uuid else logical("fixed", schema) or BYTES
    else:
        record = RecordOf(name, {})
        named[name] = record
        for field in schema.get("fields", ()):
            cls = str(field.get(CLASS_ATTRIBUTE, ""))
            record.fields[field["name"]] = Field(_parse(field["type"], inner, named), cls)
    return named[name]


def _full(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


# ----------------------------------------------------------------------------------------------------------- the walk


def find(root: Type, names: tuple[str, ...], cls: str = "") -> Found | Missing:
    """Walk `names` from a type as far as they go; a class given to a field holds for all below it.

    The names of a union are those of all its branches together.
    """
    here, direct, safe = root, 0, True
    for index, name in enumerate(names):
        found, known = _children(here, name)
        if not found:
            return Missing(index, known)
        direct += safe and isinstance(here, (RecordOf, MapOf))
        safe = safe and isinstance(here, RecordOf)  # a map's key may be missing, a union's record null
        cls = next((field.cls for field in found if field.cls), cls)
        here = _merged(tuple(field.type for field in found))
    return Found(here, names, direct, cls)


def _children(here: Type, name: str) -> tuple[list[Field], tuple[str, ...]]:
    if isinstance(here, RecordOf):
        field = here.fields.get(name)
        return ([field] if field else []), tuple(here.fields)
    if isinstance(here, MapOf):
        return [Field(here.values)], ()
    if isinstance(here, Anything):
        return [Field(ANYTHING)], ()
    if isinstance(here, UnionOf):
        both = [_children(branch, name) for branch in here.branches]
        return [field for found, _ in both for field in found], tuple(known for _, names in both for known in names)
    return [], ()


def _merged(types: tuple[Type, ...]) -> Type:
    return types[0] if len(types) == 1 else UnionOf(types, nullable=True)


def solid(type_: Type) -> Type:
    """Return a type without its null: `["null", X]` is X."""
    if isinstance(type_, UnionOf):
        flat = tuple(branch for each in type_.branches for branch in _branches(each))
        return flat[0] if len(flat) == 1 else UnionOf(flat, type_.nullable)
    return type_


def _branches(type_: Type) -> tuple[Type, ...]:
    if isinstance(type_, UnionOf):
        return tuple(branch for each in type_.branches for branch in _branches(each))
    return (type_,)


def ambiguous(type_: Type) -> bool:
    """Whether branches of a union look alike once decoded but mean different things, as a long and a date do."""
    seen: dict[type, Scalar] = {}
    for branch in _branches(type_):
        if isinstance(branch, Scalar) and branch is not NULL:
            other = seen.setdefault(branch.python, branch)
            if other.json is not branch.json or other.to_cel is not branch.to_cel:
                return True
    return False


def is_text(type_: Type) -> bool:
    """Whether a value may hold words of a person, so that its class must be known before it is sent."""
    type_ = solid(type_)
    if isinstance(type_, Scalar):
        return type_.text
    if isinstance(type_, UnionOf):
        return any(is_text(branch) for branch in type_.branches)
    if isinstance(type_, ListOf):
        return is_text(type_.items)
    return True


def may_hold_objects(type_: Type) -> bool:
    """Whether a value may be an object, or a list with one in it."""
    type_ = solid(type_)
    if isinstance(type_, ListOf):
        return may_hold_objects(type_.items)
    if isinstance(type_, UnionOf):
        return any(may_hold_objects(branch) for branch in type_.branches)
    return not isinstance(type_, Scalar)


def is_whole(type_: Type) -> bool:
    """Whether every value is an object, or a list that may hold one. Of Anything only the value tells."""
    type_ = solid(type_)
    if isinstance(type_, ListOf):
        return may_hold_objects(type_.items)
    if isinstance(type_, UnionOf):
        return all(is_whole(branch) for branch in type_.branches)
    return isinstance(type_, (RecordOf, MapOf))


def named(root: Type, names: tuple[str, ...]) -> tuple[tuple[str, ...], Type]:
    """Return the class that the schema gives each name of a path, "" for none, and what is at its end.

    The names of a list are those of its items. Where the path leads nowhere it goes on as Anything.
    """
    here, classes = root, []
    for name in names:
        found, _ = _children(_item(here), name)
        classes.append(next((field.cls for field in found if field.cls), ""))
        here = _merged(tuple(field.type for field in found)) if found else ANYTHING
    return tuple(classes), here


def within(type_: Type) -> frozenset[str]:
    """Return every class that the schema names below a type."""
    found: set[str] = set()
    seen: set[int] = set()
    waiting = [type_]
    while waiting:
        here = waiting.pop()
        if isinstance(here, RecordOf) and id(here) not in seen:  # a record may stand inside itself
            seen.add(id(here))
            found |= {field.cls for field in here.fields.values()}
            waiting += [field.type for field in here.fields.values()]
        elif isinstance(here, UnionOf):
            waiting += here.branches
        elif isinstance(here, (ListOf, MapOf)):
            waiting.append(here.items if isinstance(here, ListOf) else here.values)
    return frozenset(found - {""})


def _item(type_: Type) -> Type:
    """Return what a path goes on in: of a list its items, however deep."""
    type_ = solid(type_)
    if isinstance(type_, ListOf):
        return _item(type_.items)
    return UnionOf(tuple(map(_item, type_.branches)), nullable=True) if isinstance(type_, UnionOf) else type_


def cel_type(type_: Type) -> str:
    """Return the CEL type in the notation of cel-expr-python, `list(timestamp)`; unions and records are dyn inside."""
    type_ = solid(type_)
    if isinstance(type_, Scalar):
        return type_.cel
    if isinstance(type_, ListOf):
        return f"list({cel_type(type_.items)})"
    if isinstance(type_, MapOf):
        return f"map(string, {cel_type(type_.values)})"
    return "map(string, dyn)" if isinstance(type_, RecordOf) else "dyn"
