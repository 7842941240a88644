"""Decides what `include: [NAME]` in a payload stands for: the keys of a fragment of shared/*.yaml."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipeline.config.section import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.config.models import SharedFile, TableValue
    from pipeline.config.places import Path, Places
    from pipeline.model import Problem

INCLUDE: Final = "include"


@dataclass(slots=True)
class Shared:
    """All shared files together, while a configuration is loaded. `complete` is false if one could not be read."""

    fragments: dict[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)  # name: file, payload keys
    tables: dict[str, Mapping[str, TableValue]] = field(default_factory=dict)
    complete: bool = True

    def add(self, made: SharedFile | None, file: str, places: Places) -> Iterator[Problem]:
        """Add one file's parts; yields a problem for each name that another file has already."""
        if made is None:
            self.complete = False
            return
        for name, keys in made.fragments.items():
            if name in self.fragments:
                hint = f"in {self.fragments[name][0]}"
                yield places.problem(file, ("fragments", name), "is defined already", hint, at_key=True)
            self.fragments.setdefault(name, (file, keys))
        for name, table in made.tables.items():
            if name in self.tables:
                yield places.problem(file, ("tables", name), "is defined already", at_key=True)
            self.tables.setdefault(name, table)


def expand(tree: object, file: str, shared: Shared, places: Places) -> tuple[object, list[Problem]]:
    """Return a parsed journey with every `include` replaced; `places` is told where the keys came from.

    What is no journey in shape is left as it is: validation says so.
    """
    steps = tree.get("steps") if isinstance(tree, dict) else None
    if not isinstance(tree, dict) or not isinstance(steps, list):
        return tree, []
    problems: list[Problem] = []
    expanded = []
    for index, step in enumerate(steps):
        payload = step.get("payload") if isinstance(step, dict) else None
        if isinstance(step, dict) and isinstance(payload, dict) and INCLUDE in payload:
            path = ("steps", index, "payload")
            step = step | {"payload": _included(payload, file, path, shared, places, problems)}  # noqa: PLW2901
        expanded.append(step)
    return tree | {"steps": expanded}, problems


def _included(
    payload: dict[str, Any], file: str, path: Path, shared: Shared, places: Places, problems: list[Problem]
) -> dict[str, Any]:
    own = {key: part for key, part in payload.items() if key != INCLUDE}
    names = payload[INCLUDE]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        problems.append(places.problem(file, (*path, INCLUDE), "must be a list of fragments of shared/*.yaml"))
        return own
    keys: dict[str, Any] = {}
    for index, name in enumerate(names):
        at = (*path, INCLUDE, index)
        origin, fragment = shared.fragments.get(name, ("", {}))
        if not origin and shared.complete:
            hint = suggestion(name, shared.fragments)
            problems.append(places.problem(file, at, "there is no such fragment", hint))
        for key, part in fragment.items():
            if _taken(key, keys) or _taken(key, own):
                problems.append(places.problem(file, at, f"brings `{key}`, which the payload has already"))
                continue
            keys[key] = part
            places.graft(file, (*path, key), origin, ("fragments", name, key))
    return keys | own


def _taken(key: str, keys: Mapping[str, Any]) -> bool:
    bare = key.removesuffix("?")
    return bare in keys or f"{bare}?" in keys
