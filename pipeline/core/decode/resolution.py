"""Decides how data written with one schema is read as another: Avro's schema resolution, once per pair of schemas.

Rules: Avro 1.12 specification, "Schema Resolution". Stricter in one place: logical types that give the same bytes
another meaning (milliseconds and microseconds, decimals of other scale) do not resolve. What cannot be read is a
Mismatch at the branch or symbol where it is, so that only the data that needs it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from pipeline.core.decode.schema import parse
from pipeline.model import value

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_PROMOTIONS: Final = frozenset(
    {
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    },
)


@value
class Mismatch:
    """Data here cannot be read; `detail` names schema places only."""

    detail: str


@value
class Primitive:
    """A primitive as written, and the primitive the reader wants."""

    written: str
    wanted: str


@value
class Fixed:
    """So many bytes."""

    size: int


@value
class Symbols:
    """An enum: the reader's symbol for each index, None where it has none."""

    symbols: tuple[str | None, ...]


@value
class Items:
    """An array."""

    item: Shape


@value
class Values:
    """A map."""

    item: Shape


@value
class Branches:
    """A union as written; each branch already resolved."""

    branches: tuple[Shape, ...]


@dataclass(slots=True, eq=False)
class Fields:
    """A record: `read` in written order (name None: read and dropped), `order` as the reader has them, defaults beside.

    Filled in after creation, because a record may hold itself. `uses` counts the places that read it.
    """

    name: str
    read: list[tuple[str | None, Shape]] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    uses: int = 0


Shape: TypeAlias = Mismatch | Primitive | Fixed | Symbols | Items | Values | Branches | Fields


def resolve(writer: Any, reader: Any | None) -> Shape:
    """Return how to read data of `writer` as `reader` (None: as written). Raises SchemaError for what is no schema.

    RecursionError escapes for schemas nested thousands deep.
    """
    written, written_names = parse(writer)
    if reader is None:
        return _Resolution(written_names, written_names).shape(written, written, "")
    wanted, wanted_names = parse(reader)
    return _Resolution(written_names, wanted_names).shape(written, wanted, "")


def kind(schema: Any) -> str:
    """Return `union` or the type word of a schema; a reference is its full name."""
    if isinstance(schema, list):
        return "union"
    if isinstance(schema, dict):
        inner = schema["type"]
        if isinstance(inner, (dict, list)):
            return kind(inner)
        return "record" if inner == "error" else str(inner)
    return str(schema)


class _Resolution:
    """One pass over a pair of parsed schemas. Not reused."""

    def __init__(self, written: dict[str, Any], wanted: dict[str, Any]) -> None:
        self._written = written
        self._wanted = wanted
        self._records: dict[tuple[str, str], Fields] = {}
        self._dropped: _Resolution | None = None

    def shape(self, writer: Any, reader: Any, path: str) -> Shape:
        writer = _named(writer, self._written)
        reader = _named(reader, self._wanted)
        if isinstance(writer, list):
            if writer is reader:
                return Branches(tuple(self.shape(branch, branch, path) for branch in writer))
            return Branches(tuple(self.shape(branch, reader, path) for branch in writer))
        if isinstance(reader, list):
            reader = self._choose(writer, reader)
            if reader is None:
                return Mismatch(f"{path or 'value'}: no branch of the reader's union takes {kind(writer)}")
        unit = _unit_clash(writer, reader)
        if unit:
            return Mismatch(f"{path or 'value'}: {unit}")
        if not self._matches(writer, reader):
            return Mismatch(f"{path or 'value'}: written as {kind(writer)}, read as {kind(reader)}")
        return self._matched(writer, reader, path)

    def _matched(self, writer: Any, reader: Any, path: str) -> Shape:
        match kind(writer):
            case "record":
                return self._fields(writer, reader, path)
            case "enum":
                known = set(reader["symbols"])
                default = reader.get("default")
                return Symbols(tuple(symbol if symbol in known else default for symbol in writer["symbols"]))
            case "fixed":
                return Fixed(writer["size"])
            case "array":
                return Items(self.shape(writer["items"], reader["items"], f"{path}[]"))
            case "map":
                return Values(self.shape(writer["values"], reader["values"], f"{path}{{}}"))
            case written:
                return Primitive(written, kind(reader))

    def _fields(self, writer: Any, reader: Any, path: str) -> Shape:
        key = (writer["name"], reader["name"])
        shape = self._records.get(key)
        if shape is not None:
            shape.uses += 1
            return shape
        shape = self._records[key] = Fields(writer["name"], uses=1)
        by_name = {field["name"]: field for field in reader["fields"]}
        by_alias = {alias: field for field in reader["fields"] for alias in field.get("aliases", ())}
        found: set[str] = set()
        for written in writer["fields"]:
            name = written["name"]
            wanted = by_name.get(name) or by_alias.get(name)
            below = f"{path}.{name}" if path else name
            if wanted is None or wanted["name"] in found:
                shape.read.append((None, self._as_written(written["type"], below)))
            else:
                found.add(wanted["name"])
                shape.read.append((wanted["name"], self.shape(written["type"], wanted["type"], below)))
        shape.order = [field["name"] for field in reader["fields"]]
        for wanted in reader["fields"]:
            if wanted["name"] in found:
                continue
            if "default" not in wanted:
                below = f"{path}.{wanted['name']}" if path else wanted["name"]
                shape.read.append((wanted["name"], Mismatch(f"{below}: not written, no default")))
            else:
                shape.constants[wanted["name"]] = self._default(wanted["default"], wanted["type"])
        return shape

    def _as_written(self, schema: Any, path: str) -> Shape:
        if self._dropped is None:
            self._dropped = _Resolution(self._written, self._written)
        return self._dropped.shape(schema, schema, path)

    def _default(self, default: Any, schema: Any) -> Any:  # noqa: PLR0911 - one line a type
        """Turn a field's JSON default into the datum it stands for (specification, "Complex Types: Records")."""
        schema = _named(schema, self._wanted)
        if isinstance(schema, list):
            for branch in schema:  # 1.12 allows any branch, before it was the first
                if _fits(default, _named(branch, self._wanted)):
                    return self._default(default, branch)
            return default
        match kind(schema):
            case "bytes" | "fixed":
                return default.encode("latin-1") if isinstance(default, str) else default
            case "float" | "double":
                return float(default)
            case "array":
                return [self._default(item, schema["items"]) for item in default]
            case "map":
                return {key: self._default(item, schema["values"]) for key, item in default.items()}
            case "record":
                return {
                    field["name"]: self._default(default.get(field["name"], field.get("default")), field["type"])
                    for field in schema["fields"]
                }
            case _:
                return default

    def _choose(self, writer: Any, union: list[Any]) -> Any | None:
        """Pick the reader's branch: the same full name, else the first of the same type, else the first promoted to."""
        branches = [_named(branch, self._wanted) for branch in union]
        name = writer.get("name") if isinstance(writer, dict) else None
        for branch in branches:
            if name and isinstance(branch, dict) and branch.get("name") == name and self._matches(writer, branch):
                return branch
        for branch in branches:
            if kind(branch) == kind(writer) and self._matches(writer, branch) and not _unit_clash(writer, branch):
                return branch
        for branch in branches:
            if self._matches(writer, branch):
                return branch
        return None

    def _matches(self, writer: Any, reader: Any) -> bool:
        """Whether the two are the same type on the surface, or promote; what is inside them is resolved later."""
        written, wanted = kind(writer), kind(reader)
        if written != wanted:
            return (written, wanted) in _PROMOTIONS
        if written in PRIMITIVES or written in ("array", "map", "union"):
            return True
        if written == "fixed" and writer["size"] != reader["size"]:
            return False
        return _same_name(writer, reader)


def _named(schema: Any, names: dict[str, Any]) -> Any:
    """Follow a reference by name, and unwrap `{"type": {...}}`."""
    while True:
        if isinstance(schema, str) and schema not in PRIMITIVES:
            schema = names[schema]
        elif isinstance(schema, dict) and isinstance(schema["type"], (dict, list)):
            schema = schema["type"]
        else:
            return schema


def _same_name(writer: Any, reader: Any) -> bool:
    """Unqualified names are compared, as the specification asks, and the reader's aliases."""
    name = writer["name"]
    short = name.rsplit(".", 1)[-1]
    aliases = reader.get("aliases", ())
    return bool(short == reader["name"].rsplit(".", 1)[-1] or name in aliases or short in aliases)


def _unit_clash(writer: Any, reader: Any) -> str:
    """Say how the same bytes would mean something else; empty when they would not.

    Only where both sides name a unit: a plain long read as a timestamp is how producers add the annotation later.
    """
    written = writer.get("logicalType", "") if isinstance(writer, dict) else ""
    wanted = reader.get("logicalType", "") if isinstance(reader, dict) else ""
    if not (written and wanted):
        return ""
    if written == wanted == "decimal":
        scales = writer.get("scale", 0), reader.get("scale", 0)
        return "" if scales[0] == scales[1] else f"decimal written with scale {scales[0]}, read with {scales[1]}"
    return "" if written == wanted or not _has_unit(written, wanted) else f"written as {written}, read as {wanted}"


def _has_unit(*names: str) -> bool:
    return any(name in {"decimal", "date"} or "-m" in name or "-n" in name for name in names)


def _fits(default: Any, schema: Any) -> bool:  # noqa: PLR0911 - one line a type
    """Whether a JSON default is one of this branch."""
    match kind(schema):
        case "null":
            return default is None
        case "boolean":
            return isinstance(default, bool)
        case "int" | "long":
            return isinstance(default, int) and not isinstance(default, bool)
        case "float" | "double":
            return isinstance(default, (int, float)) and not isinstance(default, bool)
        case "array":
            return isinstance(default, list)
        case "map" | "record":
            return isinstance(default, dict)
        case _:
            return isinstance(default, str)
