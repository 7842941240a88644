"""Decides what a schema means apart from any value: full names, logical types stripped, fingerprint, encoder."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import fastavro
from fastavro import schema as avro

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.model import Datum

_LOGICAL: Final = frozenset({"logicalType", "precision", "scale"})
_NESTED: Final = ("type", "items", "values")
_NAMED: Final = ("record", "error", "enum", "fixed")


class SchemaError(ValueError):
    """A schema that is not Avro, or nested beyond reason. Its text holds names from the schema, never data."""


def parse(schema: Any) -> tuple[Any, dict[str, Any]]:
    """Return the schema with full names, and its named types by full name. Raises SchemaError."""
    named: dict[str, Any] = {}
    try:
        _sound(schema)
        # A copy: fastavro leaves a mark in what it parsed, and then trusts the mark.
        return avro.parse_schema(_copy(schema, strip_logical=False), named_schemas=named), named
    except RecursionError:
        raise SchemaError("nested too deep") from None
    except Exception as error:  # fastavro raises its own, KeyError, TypeError, AttributeError for bad schemas
        raise SchemaError(f"not an Avro schema: {type(error).__name__}") from error


def _sound(schema: Any) -> None:
    """Raise for what fastavro takes and readers cannot: names that are no text, or no Unicode, a union in a union."""
    if isinstance(schema, list):
        for branch in schema:
            if isinstance(branch, list):
                raise TypeError
            _sound(branch)
    elif isinstance(schema, dict):
        for symbol in schema.get("symbols", ()) if schema.get("type") == "enum" else ():
            str.encode(symbol)
        for field in schema["fields"] if isinstance(schema.get("fields"), list) else ():
            str.encode(field["name"])
            _sound(field)
        for name in ("name", "namespace") if schema.get("type") in _NAMED else ():
            str.encode(schema.get(name) or "")
        for key in _NESTED:
            _sound(schema.get(key))


def strip(schema: Any) -> Any:
    """Return a copy without logical types: a timestamp is its long, a decimal its bytes. Raises SchemaError."""
    try:
        return _copy(schema, strip_logical=True)
    except RecursionError:
        raise SchemaError("nested too deep") from None


def _copy(schema: Any, *, strip_logical: bool) -> Any:
    if isinstance(schema, list):
        return [_copy(branch, strip_logical=strip_logical) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    plain: dict[str, Any] = {}
    for key, content in schema.items():
        if key.startswith("__") or (strip_logical and key in _LOGICAL):
            continue
        if key in _NESTED:
            plain[key] = _copy(content, strip_logical=strip_logical)
        elif key == "fields" and isinstance(content, list):
            plain[key] = [_copy(field, strip_logical=strip_logical) for field in content]
        else:
            plain[key] = content
    return plain


def full_name(schema: Any) -> str:
    """Return the full name of a record, enum or fixed; empty for a schema without a name."""
    if not isinstance(schema, dict) or not isinstance(schema.get("name"), str):
        return ""
    return _qualified(schema["name"], schema.get("namespace") or "")


def inline(schema: Any, known: Mapping[str, Any]) -> Any:
    """Return a copy in which types defined elsewhere (`known`, by full name) are written out at their first use.

    Names known to neither stay as they are. Raises SchemaError for schemas nested too deep.
    """
    try:
        return _inline(schema, "", known, set())
    except RecursionError:
        raise SchemaError("nested too deep") from None


def _inline(schema: Any, namespace: str, known: Mapping[str, Any], defined: set[str]) -> Any:
    if isinstance(schema, list):
        return [_inline(branch, namespace, known, defined) for branch in schema]
    if isinstance(schema, str):
        for name in (_qualified(schema, namespace), schema):
            if name in known and name not in defined:
                return _inline(known[name], name.rpartition(".")[0], known, defined)
        return schema
    if not isinstance(schema, dict):
        return schema
    plain = dict(schema)
    if isinstance(schema.get("name"), str) and schema.get("type") in _NAMED:
        name = _qualified(schema["name"], schema.get("namespace") or namespace)
        namespace = name.rpartition(".")[0]
        plain |= {"name": name}
        plain.pop("namespace", None)
        defined.add(name)
    for key in _NESTED:
        if key in plain and plain[key] not in _NAMED:
            plain[key] = _inline(plain[key], namespace, known, defined)
    if isinstance(schema.get("fields"), list):
        plain["fields"] = [_inline(field, namespace, known, defined) for field in schema["fields"]]
    return plain


def _qualified(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def fingerprint(schema: Any) -> bytes:
    """Return the CRC-64-AVRO fingerprint of the parsing canonical form: 8 bytes, little endian as on the wire.

    Raises SchemaError. Avro 1.12 specification, "Schema Fingerprints": docs, defaults, aliases and logical types do
    not count.
    """
    parse(schema)  # the canonical form of nonsense would be nonsense
    canonical = avro.to_parsing_canonical_form(_copy(schema, strip_logical=False))
    return bytes.fromhex(avro.fingerprint(canonical, "CRC-64-AVRO"))


def encode(schema: Any) -> Callable[[Datum], bytes]:
    """Return an encoder of data as `reader` gives them; it raises ValueError for a datum that does not fit.

    The error names the field, not the value. Raises SchemaError.
    """
    parsed, _ = parse(strip(schema))
    write = fastavro.schemaless_writer

    def encoder(datum: Datum) -> bytes:
        out = io.BytesIO()
        try:
            write(out, parsed, datum, strict_allow_default=True)
        except Exception as error:  # noqa: BLE001 - whatever fastavro raises quotes the datum
            raise ValueError(f"datum does not fit the schema: {type(error).__name__}") from None
        return out.getvalue()

    return encoder
