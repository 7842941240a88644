"""Finds secrets that someone typed into a file of the configuration, wherever they stand. They are never quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.config import credentialed
from pipeline.config.auth import CREDENTIAL_HEADERS, is_typed_secret
from pipeline.config.yaml import UNREAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.places import Path, Places
    from pipeline.model import Problem


def problems(trees: Mapping[str, object], places: Places) -> Iterator[Problem]:
    """Yield a problem for each text in the parsed files that has the shape of a secret, or the name of one."""
    for file, tree in trees.items():
        for path, flaw, hint in _named(file, tree, (), ""):
            yield places.problem(file, path, flaw, hint)
        for path in _found(tree, ()):
            hint = "take it out, also of the history, and replace it; secrets go through auth, as env:NAME or file:PATH"
            if path[-1:] == ("base_url",):
                hint = "write base_url: {secret: env:NAME, host: HOST}"
            yield places.problem(file, path, "looks like a secret, and this file is for everyone to read", hint)


_SENT_IN: Final = {"headers": "header", "query": "query"}


def _named(file: str, node: object, path: Path, where: str) -> Iterator[tuple[Path, str, str]]:
    """Yield literals that are credentials by their names, with the remedy; `where` is the part of a request."""
    if node is UNREAD or path[-1:] == ("auth",):  # which takes references alone
        return
    if isinstance(node, dict):
        for key, part in node.items():
            yield from _named(file, part, (*path, key), where or _part(file, path, key))
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from _named(file, part, (*path, index), where)
    elif where and not (isinstance(node, str) and is_typed_secret(node)):  # which is told by its form
        name = next((each for each in reversed(path) if isinstance(each, str)), "").removesuffix("?")
        if where == "header" and name.lower() in CREDENTIAL_HEADERS:  # refused as a header already
            return
        is_reference = where == "plugin" and isinstance(node, str) and node.startswith(("env:", "file:"))
        if not is_reference and (flaw := credentialed.flaw(name, node, in_payload=where == "payload")):
            remedies = {
                "payload": "credentials go through auth or sign of the destination, not through payloads",
                "plugin": "write env:NAME or file:PATH",
            }
            own = f"write auth: {{api_key: {{{where}: {name}, value: env:NAME}}}} in the destination, or file:PATH"
            yield path, flaw, remedies.get(where, own)


def _part(file: str, path: Path, key: object) -> str:
    """Return what a key of a file begins: a header, query, payload or the options of a signer; "" for anything else."""
    folder = file.partition("/")[0]
    if folder == "destinations" and path[:1] == ("operations",):
        return _SENT_IN.get(str(key), "")
    if folder in ("destinations", "env") and key == "plugin" and path[-1:] == ("sign",):
        return "plugin"
    return "payload" if (folder == "journeys" and key == "payload") or (folder, key) == ("shared", "fragments") else ""


def _found(node: object, path: Path) -> Iterator[Path]:
    if node is UNREAD:
        return
    if isinstance(node, str):
        if is_typed_secret(node):
            yield path
    elif isinstance(node, dict):
        for key, part in node.items():
            yield from _found(part, (*path, key))
    elif isinstance(node, list):
        for index, part in enumerate(node):
            yield from _found(part, (*path, index))
