"""Knows where every node of the configuration stands, so that each problem can name file, line and column."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.model import Problem

Path = tuple[str | int, ...]
"""Keys and list indices from the top of a file, such as `("steps", 0, "payload", "order_id")`."""


class Place(NamedTuple):
    """A position in a file of the configuration folder. Line and column count from 1; 0 is unknown."""

    file: str
    line: int
    column: int


class Places:
    """Positions of nodes and keys by file and path; filled by the loader, then only read."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Path, Place]] = {}
        self._keys: dict[str, dict[Path, Place]] = {}

    def copy(self) -> Places:
        """Return positions that can be grafted onto without changing these."""
        other = Places()
        other._values, other._keys = self._values.copy(), self._keys.copy()
        return other

    def add(self, file: str, path: Path, node: Place, key: Place | None = None) -> None:
        """Note where the node at `path` starts, and its key if it has one."""
        self._values.setdefault(file, {})[path] = node
        if key is not None:
            self._keys.setdefault(file, {})[path] = key

    def take(self, others: Places) -> None:
        """Add all positions of others."""
        self._values.update(others._values)
        self._keys.update(others._keys)

    def where(self, file: str, path: Path = ()) -> Place:
        """Return where the node at `path` starts, else the nearest node around it that is known."""
        return self._values.get(file, {}).get(self._known(file, path), Place(file, 0, 0))

    def knows(self, file: str, path: Path) -> bool:
        """Whether the node at exactly this path is known."""
        return path in self._values.get(file, {})

    def key(self, file: str, path: Path) -> Place:
        """Return where the key of the node at `path` starts, else where the node does."""
        return self._keys.get(file, {}).get(path) or self.where(file, path)

    def graft(self, file: str, path: Path, origin: str, at: Path) -> None:
        """Let `file`'s `path` and everything below it stand where `origin`'s `at` does: an overlay, a fragment."""
        for known in (self._values, self._keys):
            below = {
                path + end[len(at) :]: place for end, place in known.get(origin, {}).items() if end[: len(at)] == at
            }
            if below:  # a file of its own: copies share those that nothing was grafted onto
                known[file] = known.get(file, {}) | below

    def problem(self, file: str, path: Path, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """Make a problem of the node at `path` (or of its key), named the way a user writes it: `steps[0].payload`."""
        place = self.key(file, path) if at_key else self.where(file, path)
        return Problem(place.file, place.line, place.column, dotted(path), message, hint)

    def _known(self, file: str, path: Path) -> Path:
        """Follow `path` as far as it is known; what pydantic adds to it (union tags, `[key]`) is stepped over."""
        of_file = self._values.get(file, {})
        if path in of_file:
            return path
        known: Path = ()
        for part in path:
            if (*known, part) in of_file:
                known = (*known, part)
        return known


def dotted(path: Path) -> str:
    """Write a path the way users do: `steps[0].payload.order_id`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
