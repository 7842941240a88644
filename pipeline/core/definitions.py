"""Decides which definitions of journeys are on the control topic, and which of them no run can need any more.

A run is finished by the definition it began with, whatever the configuration says by then. So each worker sees to it
that the definitions of its own journeys are on the topic, says once a day that they are still in use, and deletes those
that nobody has used for longer than any of their runs can live. Key: `definition:` and the hash; when a definition was
last used is its record's own time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from pipeline.model import value
from pipeline.said import DAMAGED, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = b"definition:"
"""How the keys of definitions begin."""
HASH_DIGITS: Final = 20
"""Of a definition's hash. Releases that kept no definitions wrote 16 into their runs: those are looked up nowhere."""
LATER: Final = "definition_later"
"""Of a definition that came after this worker began, and that its configuration cannot carry out: others can."""
USED_EVERY_MS: Final = 86_400_000
"""How often a worker says that it uses a definition."""
SLACK_MS: Final = 7 * 86_400_000
"""How long a definition is kept beyond its runs' greatest age: the last retry tier, clocks, and a worker's absence."""
KEPT_BYTES_MAX: Final = 32 * 1_024 * 1_024
"""Bytes of definitions kept in one worker beside its own; beyond them the longest unused are forgotten."""
DEFINITION_BYTES_MAX: Final = 256 * 1_024
"""Largest definition."""


def is_kept(hash_: str) -> bool:
    """Whether a run's hash is one that definitions are kept by."""
    return len(hash_) == HASH_DIGITS


@value
class Definition:
    """What one hash stands for: canonical JSON, and the greatest age of its runs' events."""

    content: bytes
    max_age_ms: int


class Definitions:
    """What the control topic says. Owner: a worker, which hands it the topic's records in their order."""

    def __init__(self, own: Mapping[str, Definition]) -> None:
        """`own` are the definitions this worker starts runs by, by hash."""
        self._own = own
        self._used_ms: dict[str, int] = {}
        self._others: dict[str, Definition] = {}
        self._bytes = 0
        self._later: set[str] | None = None

    def begin(self) -> None:
        """From now on, what turns up is of a configuration that is later than the worker's own."""
        if self._later is None:
            self._later = set()

    def is_later(self, name: str) -> bool:
        """Whether a definition turned up only after the worker began."""
        return self._later is not None and name in self._later

    def note(self, key: bytes | None, content: bytes | None, written_ms: int) -> bool:
        """Take one record; False if it is about something else. A damaged one is as good as none."""
        if key is None or not key.startswith(PREFIX):
            return False
        name = key.removeprefix(PREFIX).decode("ascii", "replace")
        if content is None:
            self._forget(name)
            return True
        found = self._own.get(name) or _read(content)
        if found is not None:
            if self._later is not None and name not in self._used_ms:
                self._later.add(name)
            self._forget(name)
            self._used_ms[name] = written_ms
            if name not in self._own:
                self._others[name] = found
                self._bytes += len(found.content)
            self._bound()
        return True

    def get(self, name: str) -> bytes | None:
        """Return the definition of a hash, or None if it is not known."""
        found = self._own.get(name) or self._others.get(name)
        return None if found is None else found.content

    def max_age_ms(self) -> int:
        """Return the greatest age that the event of a run may have, of any definition that is known."""
        return max((each.max_age_ms for each in (*self._own.values(), *self._others.values())), default=0)

    def due(self, now_ms: int) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield the records to write: own definitions that are not there or were not used lately, ends of others."""
        for name, each in self._own.items():
            if now_ms - self._used_ms.get(name, 0) >= USED_EVERY_MS:
                yield PREFIX + name.encode(), each.content
        for name, each in self._others.items():
            if now_ms - self._used_ms[name] > each.max_age_ms + USED_EVERY_MS + SLACK_MS:
                yield PREFIX + name.encode(), None

    def _forget(self, name: str) -> None:
        self._used_ms.pop(name, None)
        found = self._others.pop(name, None)
        if found is not None:
            self._bytes -= len(found.content)

    def _bound(self) -> None:
        while self._bytes > KEPT_BYTES_MAX:
            self._forget(min(self._others, key=lambda name: self._used_ms[name]))


def _read(content: bytes) -> Definition | None:
    if len(content) > DEFINITION_BYTES_MAX:
        return None
    try:
        found = orjson.loads(content)
        return Definition(content, whole(found["max_age_ms"]))
    except DAMAGED:
        return None
