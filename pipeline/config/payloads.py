"""Decides whether payloads and event mappings are well formed as YAML: keys, list mappings, literals, whole objects.

What stands inside `${…}` is for the compiler; here only what can be seen without it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.config.models import EventMapping
    from pipeline.config.places import Path, Places
    from pipeline.model import Problem

_BRACES: Final = re.compile(r"\{\{\s*(event|steps|tables|customer)\b")  # as template engines write it
_ROOTS: Final = re.compile(r"(event|steps|tables|trigger|record)\.[A-Za-z_]")
_WHOLE: Final = re.compile(
    r"\$\{\s*(event(\.(customer|properties|source|consent))?|steps(\.[A-Za-z0-9_]+(\.response)?)?)\s*\}"
)
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_EACH_KEYS: Final = ("each", "as", "item")


def payload_problems(payload: Mapping[str, object], file: str, path: Path, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with a payload, its fragments expanded."""
    for key, node in payload.items():
        at = (*path, key)
        yield from _key(key, payload, file, at, places)
        yield from _node(node, file, at, places)


def mapping_problems(mapping: EventMapping, file: str, path: Path, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with an entry of `events:`."""
    for part in ("id", "type", "time", "customer", "consent", "source", "properties"):
        yield from _literals(getattr(mapping, part), file, (*path, part), places)


def default_problems(default: Mapping[str, object], file: str, path: Path, places: Places) -> Iterator[Problem]:
    """Yield what of a step's default would stand there as text though it looks like an expression."""
    yield from _literals(default, file, path, places)


def _node(node: object, file: str, path: Path, places: Places) -> Iterator[Problem]:
    if isinstance(node, str):
        yield from _text(node, file, path, places)
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from _node(item, file, (*path, index), places)
    elif isinstance(node, dict) and "each" in node:
        yield from _each(node, file, path, places)
    elif isinstance(node, dict):
        yield from payload_problems(node, file, path, places)


def _each(node: dict[str, object], file: str, path: Path, places: Places) -> Iterator[Problem]:
    """Check a list mapping `{each: LIST, as: NAME, item: PAYLOAD}`."""
    for key in node:
        if key not in _EACH_KEYS:
            yield places.problem(file, (*path, key), "is no key of a list mapping", "each, as, item", at_key=True)
    for key in _EACH_KEYS:
        if key not in node:
            yield places.problem(file, path, f"a list mapping needs `{key}`", "{each: LIST, as: NAME, item: {…}}")
    each, name = node.get("each", "-"), node.get("as", "item")
    if not isinstance(each, str) or not each.strip() or each.lstrip().startswith("${"):
        yield places.problem(file, (*path, "each"), "must be a CEL expression", "write it without ${ }")
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in ("event", "now", "steps", "tables"):
        yield places.problem(file, (*path, "as"), "must be a name of its own", "such as line")
    yield from _node(node.get("item"), file, (*path, "item"), places)


def _key(key: object, siblings: Mapping[str, object], file: str, path: Path, places: Places) -> Iterator[Problem]:
    if not isinstance(key, str):
        yield places.problem(file, path, "a key must be text", "put it in quotes", at_key=True)
    elif "${" in key:
        yield places.problem(file, path, "a key cannot be computed", at_key=True)
    elif not key.removesuffix("?"):
        yield places.problem(file, path, "a key must not be empty", at_key=True)
    elif key.endswith("?") and key[:-1] in siblings:
        yield places.problem(file, path, f"`{key[:-1]}` is here as well", at_key=True)


def _text(text: str, file: str, path: Path, places: Places) -> Iterator[Problem]:
    if _WHOLE.search(text):
        yield places.problem(file, path, "sends a whole object", "name the fields that are needed, one by one")
    else:
        yield from _literals(text, file, path, places)


def _literals(node: object, file: str, path: Path, places: Places) -> Iterator[Problem]:
    """Refuse text that would be sent as it stands though it looks like an expression."""
    if isinstance(node, str) and _ROOTS.match(node):
        yield places.problem(file, path, "is text as it stands, not a value", "write ${…} around an expression")
    elif isinstance(node, str) and _BRACES.search(node):
        yield places.problem(file, path, "is text as it stands, braces and all", "an expression is written ${…}")
    elif isinstance(node, Mapping):
        for key, part in node.items():
            yield from _literals(part, file, (*path, key), places)
