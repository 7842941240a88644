"""Decides whether a payload can keep its contract at all, as far as that is known before any event comes.

Asked are keys that are required or forbidden, constants, and what is text, a list or an object whatever the event. What
depends on a value, or on a keyword that chooses between schemas, is left to the check of every request.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from pipeline.config.section import suggestion
from pipeline.core import contract
from pipeline.core.expressions import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.places import Path, Places
    from pipeline.core.contract import Contract
    from pipeline.model import Problem

NAMED_MAX: Final = 10
"""Keys of a contract that a message names; there may be hundreds."""

_Tokens = tuple[str | int, ...]


class _Unknown(Enum):
    UNKNOWN = "unknown"


_UNKNOWN: Final = _Unknown.UNKNOWN


class Conformance:
    """One payload against one contract. `name` is the contract's file; `file` and `path` say where the payload is."""

    def __init__(self, of: Contract, name: str, file: str, places: Places) -> None:
        self._contract = of
        self._name = name
        self._file = file
        self._places = places
        self._seen: set[tuple[_Tokens, Path]] = set()

    def problems(self, payload: Mapping[str, Any], path: Path) -> Iterator[Problem]:
        """Yield what breaks the contract whatever the event. What the file does not have is placed at the payload."""
        yield from self._node((), self._contract.schema, payload, path)

    def _node(self, where: _Tokens, schema: Any, node: object, path: Path) -> Iterator[Problem]:
        if (where, path) in self._seen:  # a schema that refers to itself, or two ways to the same part
            return
        self._seen.add((where, path))
        if schema is False:
            yield self._places.problem(self._file, path, "is forbidden by its contract", self._name)
            return
        found = list(self._built(where, schema, node, path)) if isinstance(schema, dict) else []
        yield from found
        content = _constant(node)
        if content is not _UNKNOWN and not found and (flaw := self._contract.at(where)(content)):
            pointer, _, keyword = flaw.rpartition(" ")
            at = _within(node, path, contract.tokens(pointer[1:]) or ())
            hint = f"{self._name}: {flaw}"
            yield self._places.problem(self._file, at, f"breaks its contract: {keyword}", hint)

    def _built(self, where: _Tokens, schema: dict[str, Any], node: object, path: Path) -> Iterator[Problem]:
        kind, allowed = _kind(node), schema.get("type")
        if _is_one_value(node) and (wanted := _whole(schema)):
            hint = f"{self._name} wants {wanted}: write {'each, as, item' if wanted != 'an object' else 'its keys'}"
            yield self._places.problem(self._file, path, "is one value, and whole objects are not sent", hint)
            return
        allowed = [allowed] if isinstance(allowed, str) else allowed
        if kind and isinstance(allowed, list) and kind not in allowed:
            hint = f"{self._name} wants {' or '.join(map(str, allowed))}"
            yield self._places.problem(self._file, path, f"is {_SHOWN[kind]}, which breaks its contract", hint)
            return
        if kind == "object":
            assert isinstance(node, dict)
            yield from self._object(where, schema, node, path)
        elif kind == "array":
            yield from self._items(where, schema, node, path)
        for index, part in enumerate(_list(schema.get("allOf"))):
            yield from self._node((*where, "allOf", index), part, node, path)
        reference = schema.get("$ref")
        target = contract.tokens(unquote(reference[1:])) if isinstance(reference, str) else None
        if target is not None:
            yield from self._node(target, _at(self._contract.schema, target), node, path)

    def _object(self, where: _Tokens, schema: dict[str, Any], node: dict[str, Any], path: Path) -> Iterator[Problem]:
        keys = {name.removesuffix("?"): name for name in node}
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        for name in _list(schema.get("required")):
            if name not in keys:
                message = f"lacks `{name}`, which its contract requires"
                yield self._places.problem(self._file, path, message, f"see required of {self._name}")
        closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
        for name, written in keys.items():
            if name in properties:
                yield from self._node((*where, "properties", name), properties[name], node[written], (*path, written))
            elif closed:
                known = ", ".join(list(properties)[:NAMED_MAX]) + (", …" if len(properties) > NAMED_MAX else "")
                hint = suggestion(name, properties) or f"{self._name} has: {known or 'none'}"
                message = "is a key its contract does not have"
                if name == written == "hookline" and not self._is_written((*path, written)):
                    message = "lacks room in its contract for `hookline`, the key of metadata: headers_and_body"
                yield self._places.problem(self._file, (*path, written), message, hint, at_key=True)

    def _items(self, where: _Tokens, schema: dict[str, Any], node: object, path: Path) -> Iterator[Problem]:
        items = schema.get("items")
        if items is None or "prefixItems" in schema:
            return
        if isinstance(node, dict):
            yield from self._node((*where, "items"), items, node.get("item"), (*path, "item"))
        elif isinstance(node, (list, tuple)):
            for index, item in enumerate(node):
                yield from self._node((*where, "items"), items, item, (*path, index))

    def _is_written(self, path: Path) -> bool:
        return self._places.where(self._file, path) != self._places.where(self._file, path[:-1])


_SHOWN: Final = {"string": "text", "array": "a list", "object": "an object"}


def _kind(node: object) -> str:
    """Return the JSON type of what is built, "" if only the event tells."""
    if isinstance(node, dict):
        return "array" if "each" in node else "object"
    if isinstance(node, (list, tuple)):
        return "array"
    cut = pieces(node) if isinstance(node, str) else ()
    return "string" if not isinstance(cut, int) and len(cut) > 1 else ""


def _is_one_value(node: object) -> bool:
    """Whether a payload's node is one `${…}` that reads more than the configuration's own tables."""
    cut = pieces(node) if isinstance(node, str) else ()
    return not isinstance(cut, int) and len(cut) == 1 and cut[0].expression and "tables." not in cut[0].text


def _whole(schema: dict[str, Any]) -> str:
    """Return what of objects a schema wants and nothing else, "" if it may be content with less."""
    items = schema.get("items")
    listed = schema.get("type") == "array" and isinstance(items, dict) and items.get("type") == "object"
    return "a list of objects" if listed else "an object" if schema.get("type") == "object" else ""


def _constant(node: object) -> object:
    """Return the value of a payload's node that no event changes, else _UNKNOWN."""
    if isinstance(node, str):
        cut = pieces(node)
        return cut[0].text if not isinstance(cut, int) and len(cut) == 1 and not cut[0].expression else _UNKNOWN
    if isinstance(node, dict):
        if "each" in node:
            return _UNKNOWN
        made = {str(name).removesuffix("?"): _constant(part) for name, part in node.items()}
        return _UNKNOWN if any(part is _UNKNOWN for part in made.values()) else made
    if isinstance(node, (list, tuple)):
        parts = [_constant(part) for part in node]
        return _UNKNOWN if any(part is _UNKNOWN for part in parts) else parts
    return node


def _within(node: object, path: Path, tokens: tuple[str, ...]) -> Path:
    """Follow a pointer into a payload as far as it goes: a missing key's place is its object's."""
    for token in tokens:
        if isinstance(node, dict):
            written = token if token in node else f"{token}?"
            if written not in node:
                break
            node, path = node[written], (*path, written)
        elif isinstance(node, (list, tuple)) and token.isdecimal() and int(token) < len(node):
            node, path = node[int(token)], (*path, int(token))
        else:
            break
    return path


def _at(schema: Any, tokens: tuple[str, ...]) -> Any:
    for token in tokens:
        if isinstance(schema, list) and token.isdecimal() and int(token) < len(schema):
            schema = schema[int(token)]
        else:
            schema = schema.get(token) if isinstance(schema, dict) else None
    return schema


def _list(given: object) -> list[Any]:
    return given if isinstance(given, list) else []
