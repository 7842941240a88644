"""Decides how a configuration is put on a stage: events in the shape conditions see, destinations without secrets.

Each `events:` entry becomes an Avro record with the event's own fields, of the types the entry's expressions give. So
an event can be written down as plain values whatever its records look like; all that comes after the mapping is as
ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import cases, modes, plain
from pipeline.config.models import LIFECYCLE_EVENT, Config, EventMapping
from pipeline.config.scope import PARTS, EventScope, Reach
from pipeline.core import types
from pipeline.core.expressions import Expression
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.config.models import Path
    from pipeline.model import Problem

ANY: Final[list[Any]] = [
    "null", "boolean", "long", "double", "string",
    {"type": "array", "items": ["null", "boolean", "long", "double", "string",
                                {"type": "map", "values": ["null", "boolean", "long", "double", "string"]}]},
]  # fmt: skip
"""Of fields whose type nothing says: what plain values are by themselves."""
TIME: Final = {"type": "long", "logicalType": "timestamp-millis"}
_FLAGS: Final = {
    "type": "map",
    "values": {"type": "enum", "name": "Said", "namespace": "hookline.stage", "symbols": ["granted", "denied"]},
}
_CEL: Final = {"string": "string", "int": "long", "uint": "long", "double": "double", "bool": "boolean"}
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PART: Final = re.compile(r"[^.\[\]]+")
_NAMED: Final = ("record", "error", "enum", "fixed")
_DEPTH_MAX: Final = 16


@value
class Shape:
    """What the events of one entry look like. `type` is "" if the entry takes it from its records."""

    topic: str
    type: str
    schema: dict[str, Any]

    def datum(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the datum of an event's plain values. Raises NoEventError, which names the field and no value."""
        return plain.record(_decimals(dict(event), self.schema), self.schema)


@value
class Staged:
    """A configuration for the stage, the schemas it is compiled with, and the shapes of its events."""

    config: Config
    schemas: Mapping[str, Any]
    shapes: tuple[Shape, ...]

    def shape(self, event_type: str) -> Shape | None:
        """Return the shape of events of a type: of the entry that makes it, else of one that may."""
        return next((each for wanted in (event_type, "") for each in self.shapes if each.type == wanted), None)


def stage(config: Config, reader_schemas: Mapping[str, Any]) -> Staged:
    """Return the configuration as it goes on the stage; `reader_schemas` are Avro schemas by full name."""
    mappings, shapes, schemas = [], [], {}
    for index, mapping in enumerate(config.events):
        name = f"hookline.stage.Event{index}"
        schema = _Shaping(config, mapping, reader_schemas).schema(name)
        literal = mapping.type if mapping.type is not None and "${" not in mapping.type else ""
        shape = Shape(f"stage.{index}", literal, schema)
        parts = _parts(schema, literal)
        own = EventMapping.model_construct(topic=shape.topic, record=name, identity=mapping.identity, **parts)
        mappings.append(own)
        shapes.append(shape)
        schemas[name] = schema
    return Staged(bare(config).model_copy(update={"events": tuple(mappings)}), schemas, tuple(shapes))


def bare(config: Config) -> Config:
    """Return the configuration with destinations that need no secrets and are nowhere: for what sends nothing."""
    made = {name: modes.bare(each) for name, each in config.destinations.items()}
    return config.model_copy(update={"destinations": made, "mode": "live"})


def check(config: Config, reader_schemas: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Return what is wrong with the events of the cases: fields the mapping does not make, values of other types."""
    problems: dict[Problem, None] = {}
    shapes = stage(config, reader_schemas) if config.cases else None
    for name, file in config.cases.items():
        for index, case in enumerate(file.cases):
            event = cases.merged(file.event, case.event)
            at: Path = ("cases", index, "event")
            found = [(event, case.event, at)]
            for number, each in enumerate(case.given.earlier):
                found.append((cases.earlier(event, each), each, ("cases", index, "given", "earlier", number)))
            for whole, own, path in found:
                assert shapes is not None
                flaw = _flaw(shapes, whole)
                if flaw is not None:
                    names: Path = tuple(int(part) if part.isdecimal() else part for part in _PART.findall(flaw.place))
                    where = (*path, *names) if _has(own, names) else ("event", *names)
                    problems.setdefault(config.problem(f"tests/{name}.yaml", where, flaw.message))
    return tuple(problems)


def _flaw(staged: Staged, event: dict[str, Any]) -> plain.NoEventError | None:
    """Return why an event of a case is none of this configuration's, or None."""
    if not isinstance(event.get("type"), str):
        return plain.NoEventError("type", "is missing")
    shape = staged.shape(event["type"])
    if shape is None:
        return plain.NoEventError("type", "no `events` entry of hookline.yaml makes this type")
    try:
        shape.datum({"id": cases.SOME_ID, **event})
    except plain.NoEventError as error:
        return error
    return None


def _has(event: Mapping[str, Any], names: Path) -> bool:
    here: Any = event
    for name in names:
        if not isinstance(here, Mapping) or name not in here:
            return False
        here = here[name]
    return True


def _parts(schema: dict[str, Any], event_type: str) -> dict[str, Any]:
    """Map each part of the event to the field of the same name, so that paths lead where they did."""
    made: dict[str, Any] = {field["name"]: _paths(field["name"], field["type"]) for field in schema["fields"]}
    return made | {"consent": "${record.consent}"} | ({"type": event_type} if event_type else {})


def _paths(path: str, schema: Any) -> Any:
    if isinstance(schema, dict) and schema["type"] == "record" and "hookline.part" in schema:
        return {each["name"]: _paths(f"{path}.{each['name']}", each["type"]) for each in schema["fields"]}
    return f"${{record.{path}}}"


class _Shaping:
    """The making of one entry's schema."""

    def __init__(self, config: Config, mapping: EventMapping, readers: Mapping[str, Any]) -> None:
        self._record = readers.get(mapping.record or "")
        if self._record is None and mapping.is_lifecycle_event:
            raise KeyError(LIFECYCLE_EVENT)
        tree = types.ANYTHING if self._record is None else types.tree(self._record)
        self._nodes = EventScope(config, mapping, tree, strict=self._record is not None).nodes
        self._names = dict(_named(self._record, ""))
        self._count = 0

    def schema(self, name: str) -> dict[str, Any]:
        fixed = {"type": "string", "time": TIME, "consent": _FLAGS}
        fields = []
        for part in PARTS:
            made = fixed.get(part) or self._node(self._nodes[part], (part,))
            if part == "id" and self._nodes["id"] is None:
                made = "string"
            required = part in ("id", "type", "time", "customer")
            field = {"name": part, "type": made, types.CLASS_ATTRIBUTE: "public"}
            fields.append(field if required else field | {"default": {}})
        return {"type": "record", "name": name, "fields": fields}

    def _node(self, node: Any, path: Path) -> Any:
        if isinstance(node, dict):
            self._count += 1
            kept = {str(key): part for key, part in node.items() if _FIELD.fullmatch(str(key))}
            fields = [
                self._field(key, part, self._node(part, (*path, key)), (*path, key)) for key, part in kept.items()
            ]
            name = f"hookline.stage.Part{self._count}_{'_'.join(map(str, path))}"
            return {"type": "record", "name": name, "fields": fields, "hookline.part": True}
        if isinstance(node, Reach):
            found = _at(self._record, node.names, self._names)
            return ANY if found is None else self._copied(found, 0)
        assert isinstance(node, Expression)
        if node.type == "timestamp":
            return TIME
        return _CEL.get(node.type, ANY)

    def _field(self, name: str, node: Any, schema: Any, path: Path) -> dict[str, Any]:
        """Make a field that may be left out, unless an event is none without it."""
        if path == ("customer", "id"):
            return {"name": name, "type": schema, types.CLASS_ATTRIBUTE: "public"}
        if isinstance(schema, dict) and "hookline.part" in schema:
            return {"name": name, "type": schema, "default": {}}
        if isinstance(node, Expression) and not node.variables and isinstance(schema, str):  # the entry's own constant
            return {"name": name, "type": schema, "default": node.get({}, 0), types.CLASS_ATTRIBUTE: "public"}
        branches = schema if isinstance(schema, list) else [schema]
        rest = [each for each in branches if each != "null"]
        return {"name": name, "type": ["null", *rest], "default": None, types.CLASS_ATTRIBUTE: "public"}

    def _copied(self, schema: Any, depth: int) -> Any:
        """Copy a schema, named types under names of their own: the same type may be part of the event twice."""
        if depth > _DEPTH_MAX:
            return ANY
        if isinstance(schema, list):
            return [self._copied(branch, depth) for branch in schema]
        if isinstance(schema, str):
            return self._copied(self._names[schema], depth + 1) if schema in self._names else schema
        made = dict(schema)
        if made.get("type") in _NAMED:
            self._count += 1
            made = {key: part for key, part in made.items() if key not in ("namespace", "aliases")}
            made["name"] = f"hookline.stage.Type{self._count}"
            if "fields" in made:
                made["fields"] = [{**each, "type": self._copied(each["type"], depth + 1)} for each in made["fields"]]
            return made
        for key in ("items", "values"):
            if key in made:
                made[key] = self._copied(made[key], depth + 1)
        return self._copied(made["type"], depth) if set(made) == {"type"} else made


def _named(schema: Any, namespace: str) -> Iterator[tuple[str, Any]]:
    """Yield the named types of a schema, by each of the names they may be referred to with."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _named(branch, namespace)
    elif isinstance(schema, dict):
        if schema.get("type") in _NAMED:
            short = str(schema["name"]).rpartition(".")[2]
            namespace = schema.get("namespace") or str(schema["name"]).rpartition(".")[0] or namespace
            yield short, schema
            yield f"{namespace}.{short}", schema
        for field in schema.get("fields", ()):
            yield from _named(field["type"], namespace)
        for key in ("items", "values", "type"):
            if isinstance(schema.get(key), (dict, list)):
                yield from _named(schema[key], namespace)


def _at(schema: Any, path: tuple[str, ...], names: Mapping[str, Any]) -> Any:
    """Follow a path through records and maps; None where no one type is there."""
    for name in path:
        plain_ = _solid(schema, names)
        if not isinstance(plain_, dict):
            return None
        if plain_.get("type") == "map":
            schema = plain_["values"]
            continue
        field = next((each for each in plain_.get("fields", ()) if each["name"] == name), None)
        if field is None:
            return None
        schema = field["type"]
    return schema


def _solid(schema: Any, names: Mapping[str, Any]) -> Any:
    """Look through references and what is only nullable."""
    while True:
        if isinstance(schema, str) and schema in names:
            return names[schema]
        if isinstance(schema, list):
            branches = [each for each in schema if each != "null"]
            if len(branches) != 1:
                return None
            schema = branches[0]
        elif isinstance(schema, dict) and isinstance(schema.get("type"), (dict, list)):
            schema = schema["type"]
        else:
            return schema


def _decimals(given: Any, schema: Any) -> Any:
    """Take text for a decimal where it is written as one with all its places and both could be meant."""
    if isinstance(schema, list):
        if isinstance(given, str):
            return _decimal(given, schema)
        kinds = ("record", "map") if isinstance(given, dict) else ("array",)
        schema = next((each for each in schema if isinstance(each, dict) and each.get("type") in kinds), None)
    if not isinstance(schema, dict):
        return given
    if isinstance(given, dict) and schema["type"] in ("record", "map"):
        fields = {each["name"]: each["type"] for each in schema.get("fields", ())}
        return {key: _decimals(part, fields.get(key, schema.get("values"))) for key, part in given.items()}
    if isinstance(given, list) and schema["type"] == "array":
        return [_decimals(part, schema["items"]) for part in given]
    return given


def _decimal(text: str, union: list[Any]) -> Any:
    for branch in union:
        if isinstance(branch, dict) and branch.get("logicalType") == "decimal":
            scale = branch.get("scale", 0)
            if scale and re.fullmatch(rf"-?[0-9]+\.[0-9]{{{scale}}}", text, re.ASCII):
                return {"decimal": text}
    return text
