"""Decides whether a request or a response keeps its contract, and which values of a response are kept.

A contract is a JSON Schema, draft 2020-12, `format` asserted; its patterns are matched in linear time, whatever data
they meet. What is said of a document that breaks one is a JSON pointer (RFC 6901, as in a URI fragment: `#/a/b`) and a
keyword. Never a value, and no name the contract does not have itself: a name in a response may be personal data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote, unquote

import orjson

from pipeline.model import ABSENT, Answer, Broken, Datum, FailureClass, Getter, Refused, value

if TYPE_CHECKING:
    import jsonschema_rs

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
OTHER_NAME: Final = "*"
"""Stands in a pointer for a name of the data that the contract does not have."""

_NAMED: Final = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose values are schemas by name."""
_DATA: Final = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are no schemas."""
_REFERENCES: Final = ("$ref", "$dynamicRef")
_TYPES: Final = ("string", "number", "integer", "boolean", "array", "object", "null")
_URN: Final = "urn:hookline:contract"
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"

Check: TypeAlias = Callable[[object], str]
"""A JSON-ready document to what breaks the contract first, `#/pointer keyword`; "" if nothing does. Never raises."""


@value
class Flawed:
    """A schema that cannot be a contract: where in it (a JSON pointer), why, and what to do about it."""

    pointer: str
    message: str
    hint: str = ""


@value
class Contract:
    """A compiled contract. `schema` is its parsed JSON.

    `at` compiles the part that tokens of a pointer lead to; one that cannot stand alone finds no flaw.
    """

    schema: Any
    check: Check
    at: Callable[[Sequence[str | int]], Check]


@value
class Field:
    """One value of a response that is kept: its name, and where it is (the tokens of a JSON pointer)."""

    name: str
    tokens: tuple[str, ...]
    type: str  # string | int | number | bool | timestamp | list | map
    one_of: tuple[object, ...] = ()
    optional: bool = False


def pointer(tokens: Sequence[str | int]) -> str:
    """Write tokens as a JSON pointer in a URI fragment, `#/a/0`; nothing but `~` and `/` is escaped."""
    return "#" + "".join("/" + str(token).replace("~", "~0").replace("/", "~1") for token in tokens)


def compiled(schema: object) -> Contract | Flawed:
    """Compile a contract, or say where and why it is none."""
    import jsonschema_rs  # noqa: PLC0415 - 8 MB, for those who have contracts

    if not isinstance(schema, (dict, bool)):
        return Flawed("#", "must be an object, or true or false", 'such as {"type": "object"}')
    if isinstance(schema, dict) and schema.get("$schema", DIALECT) not in (DIALECT, DIALECT + "#"):
        return Flawed("#/$schema", "must be the draft 2020-12 of JSON Schema", DIALECT)
    for where, reference in _references(schema, ()):
        if not reference.startswith("#"):
            hint = "copy what it means into $defs"
            return Flawed(pointer(where), "must stay inside the file, and so begin with #", hint)
    try:
        validator = _validator(schema)
    except jsonschema_rs.ValidationError as error:
        return _schema_flaw(error, schema)
    except (ValueError, RecursionError):
        return Flawed("#", "is no JSON Schema")
    names = frozenset(_names(schema))

    def at(tokens: Sequence[str | int]) -> Check:
        try:
            registry = jsonschema_rs.Registry([(_URN, schema)])
            return _check(_validator({"$ref": _URN + quote(pointer(tokens), safe="#/~")}, registry), names)
        except ValueError:  # an `$id` that gives a part another base: it is only known as part of the whole
            return lambda _document: ""

    return Contract(schema, _check(validator, names), at)


def _validator(schema: Any, registry: jsonschema_rs.Registry | None = None) -> jsonschema_rs.Draft202012Validator:
    import jsonschema_rs  # noqa: PLC0415

    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, offline=True, registry=registry, pattern_options=jsonschema_rs.RegexOptions()
    )


def _schema_flaw(error: jsonschema_rs.ValidationError, schema: Any) -> Flawed:
    """Say what is wrong with a schema. It is configuration, but its words are ours all the same."""
    import jsonschema_rs  # noqa: PLC0415

    if not error.schema_path:
        where = next((at for at, reference in _references(schema, ()) if _leads_nowhere(reference, schema)), ())
        return Flawed(pointer(where), "leads nowhere", "a reference is # or #/$defs/NAME, of this file")
    keyword = str(error.instance_path[-1]) if error.instance_path else ""
    if keyword == "pattern":
        message = "is no regular expression of the kind supported: no look-around, no back-references"
        return Flawed(
            pointer(error.instance_path), message, "write it without them, or leave the check to the receiver"
        )
    hint = f"one of {', '.join(_TYPES)}, or a list of them" if keyword == "type" else ""
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Type):
        hint = "must be " + " or ".join(error.kind.types)
    return Flawed(pointer(error.instance_path), "is not what draft 2020-12 allows here", hint)


def _leads_nowhere(reference: str, schema: Any) -> bool:
    if not reference.startswith("#/"):
        return False
    for token in tokens(unquote(reference[1:])) or ():
        if isinstance(schema, dict) and token in schema:
            schema = schema[token]
        elif isinstance(schema, list) and token.isdecimal() and int(token) < len(schema):
            schema = schema[int(token)]
        else:
            return True
    return False


def _check(validator: jsonschema_rs.Draft202012Validator, names: frozenset[str]) -> Check:
    is_valid = validator.is_valid

    def check(document: object) -> str:
        try:
            return "" if is_valid(document) else _first(validator, document, names)
        except (ValueError, RecursionError):  # text that is no UTF-8, nesting without end: no JSON
            return "# json"

    return check


def _first(validator: jsonschema_rs.Draft202012Validator, document: object, names: frozenset[str]) -> str:
    """Say what breaks the contract first. `iter_errors` would find all at once: seconds, of a large hostile answer."""
    import jsonschema_rs  # noqa: PLC0415

    try:
        validator.validate(document)
    except jsonschema_rs.ValidationError as error:
        path: list[str | int] = [
            each if isinstance(each, int) or each in names else OTHER_NAME for each in error.instance_path
        ]
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
            path.append(error.kind.property)
        return f"{pointer(path)} {error.kind.name}"
    return "# schema"


def _references(node: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    for below, where in _subschemas(node, path):
        for keyword in _REFERENCES:
            reference = below.get(keyword)
            if isinstance(reference, str):
                yield (*where, keyword), reference


def _names(schema: object) -> Iterator[str]:
    """Yield every name of a property that the contract itself has."""
    for each, _ in _subschemas(schema, ()):
        properties, required = each.get("properties"), each.get("required")
        if isinstance(properties, dict):
            yield from properties
        if isinstance(required, list):
            yield from (name for name in required if isinstance(name, str))


def _subschemas(node: object, path: tuple[str | int, ...]) -> Iterator[tuple[dict[str, Any], tuple[str | int, ...]]]:
    """Yield every object of a schema that may be a schema, with its path."""
    waiting: list[tuple[object, tuple[str | int, ...]]] = [(node, path)]
    while waiting:
        each, where = waiting.pop()
        if isinstance(each, list):
            waiting += [(part, (*where, index)) for index, part in enumerate(each)]
        elif isinstance(each, dict):
            yield each, where
            for key, part in each.items():
                if key in _NAMED and isinstance(part, dict):
                    waiting += [(inner, (*where, key, name)) for name, inner in part.items()]
                elif key not in _DATA:
                    waiting.append((part, (*where, key)))


# ----------------------------------------------------------------------------------------------------------- responses


def reader(check: Check | None, fields: Sequence[Field]) -> Callable[[Answer], Mapping[str, object] | Broken]:
    """Return what reads the answers of an operation: the fields that are kept by name, or how the contract is broken.

    Values are str, int, float, bool, list, dict (as JSON has them), and for `timestamp` a datetime in UTC; an optional
    field that is not there, or null, is left out. Never raises.
    """

    def read(answer: Answer) -> Mapping[str, object] | Broken:
        if answer.cut:
            return Broken("# too_long")
        try:
            document = orjson.loads(answer.body.removeprefix(_BOM))  # RFC 8259, section 8.1: may be ignored
        except orjson.JSONDecodeError:
            return Broken("# json")
        if check is not None and (flaw := check(document)):
            return Broken(flaw)
        response: dict[str, object] = {}
        for field in fields:
            found = _at(document, field.tokens)
            if found is ABSENT and field.optional:
                continue
            made, keyword = (ABSENT, "required") if found is ABSENT else kept(found, field)
            if keyword:
                return Broken(f"{pointer(field.tokens)} {keyword}")
            response[field.name] = made
        return response

    return read


def tokens(text: str) -> tuple[str, ...] | None:
    """Read a JSON pointer, "" or `/a/0`; None if it is none (RFC 6901, section 3)."""
    if text and not text.startswith("/"):
        return None
    if re.search(r"~(?![01])", text):
        return None
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:])


def _at(document: object, tokens: tuple[str, ...]) -> object:
    """Follow a pointer; ABSENT where it leads nowhere or to null."""
    for token in tokens:
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list) and re.fullmatch("0|[1-9][0-9]{0,8}", token, re.ASCII):
            if int(token) >= len(document):
                return ABSENT
            document = document[int(token)]
        else:
            return ABSENT
    return ABSENT if document is None else document


def fallback(
    constant: Mapping[str, object], computed: Sequence[tuple[Field, Getter]]
) -> Callable[[Datum, int], Mapping[str, object] | Refused]:
    """Return what makes a response where none came: constant fields, and such as the event's values decide.

    A required field whose value is absent is Refused(missing_field), one of another type Refused(schema).
    """
    if not computed:
        return lambda _datum, _now_ms: constant

    def made(datum: Datum, now_ms: int) -> Mapping[str, object] | Refused:
        response = dict(constant)
        for field, get in computed:
            found = get(datum, now_ms)
            if found is ABSENT and field.optional:
                continue
            if found is ABSENT or found is None:
                cls = FailureClass.MISSING_FIELD if found is ABSENT else FailureClass.CONDITION_ERROR
                return Refused(cls, f"default.{field.name}")
            if isinstance(found, Refused):
                return Refused(found.cls, f"default.{field.name}")
            response[field.name], keyword = kept(found, field)
            if keyword:
                return Refused(FailureClass.SCHEMA, f"default.{field.name}")
        return response

    return made


def kept(found: object, field: Field) -> tuple[object, str]:
    """Return a value as its field's type and "", or ABSENT and the keyword that it breaks."""
    made = _READ[field.type](found)
    if made is ABSENT:
        return ABSENT, "format" if field.type == "timestamp" and isinstance(found, str) else "type"
    if field.one_of and not any(made == each and isinstance(each, bool) == isinstance(made, bool)
                                for each in field.one_of):  # fmt: skip
        return ABSENT, "enum"
    return made, ""


def _int(found: object) -> object:
    if isinstance(found, float) and found.is_integer():  # as JSON Schema has it: 5.0 is an integer
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else ABSENT


def _timestamp(found: object) -> object:
    if not isinstance(found, str) or _RFC3339.fullmatch(found) is None:
        return ABSENT
    try:
        return datetime.fromisoformat(found.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return ABSENT


_READ: Final[dict[str, Callable[[object], object]]] = {
    "string": lambda found: found if isinstance(found, str) else ABSENT,
    "int": _int,
    "number": lambda found: found if isinstance(found, (int, float)) and not isinstance(found, bool) else ABSENT,
    "bool": lambda found: found if isinstance(found, bool) else ABSENT,
    "timestamp": _timestamp,
    "list": lambda found: found if isinstance(found, list) else ABSENT,
    "map": lambda found: found if isinstance(found, dict) else ABSENT,
}


def is_of(type_: str, given: object) -> bool:
    """Whether a literal is of a field's type."""
    return _READ[type_](given) is not ABSENT
