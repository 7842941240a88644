"""Finds secrets that someone typed into a file of the configuration, wherever they stand. They are never quoted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.auth import is_typed_secret
from pipeline.config.yaml import UNREAD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.places import Path, Places
    from pipeline.model import Problem


def problems(trees: Mapping[str, object], places: Places) -> Iterator[Problem]:
    """Yield a problem for each text in the parsed files that has the shape of a secret."""
    for file, tree in trees.items():
        for path in _found(tree, ()):
            hint = "take it out, also of the history, and replace it; secrets go through auth, as env:NAME or file:PATH"
            if path[-1:] == ("base_url",):
                hint = "write base_url: {secret: env:NAME, host: HOST}"
            yield places.problem(file, path, "looks like a secret, and this file is for everyone to read", hint)


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
