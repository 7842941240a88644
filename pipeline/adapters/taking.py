"""Remembers on disk which record is being taken up, so that whoever comes after a crash knows it.

One small file a process, mapped into memory: what is written there is in the kernel's hands at once, and stays when the
process dies in any way. It is not synced: after a power failure there is nothing to learn. The process holds a lock on
its file as long as it lives; a file without one is of a process that died.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from functools import partial
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pipeline.core.crashes import Position

SIZE_BYTES: Final = 65_536
"""Of a file: what is being taken up, what was to blame, the names of the topics. What does not fit is not watched."""
_PLACE: Final = struct.Struct("=qqq")
"""Index of the topic from 1 (0: nothing is being taken up), partition, offset."""
_PATTERN: Final = "taking-*"


class Taking:
    """Implements Taking of run/suspects. Nothing here waits but the first and the last call, on the file system."""

    def __init__(self, folder: Path, topics: Sequence[str]) -> None:
        """Make the file of this process. Raises OSError."""
        names = "\n".join(topics).encode()[: SIZE_BYTES - 2 * _PLACE.size]
        self._path = folder / f"taking-{os.getpid()}-{os.urandom(4).hex()}"
        self._file: IO[bytes] = self._path.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._file.write(bytes(2 * _PLACE.size) + names)
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0)
        self.index: Mapping[str, int] = {topic: number for number, topic in enumerate(topics, 1)}
        # One C call a record, nothing of Python's in between.
        self.note: Callable[[int, int, int], object] = partial(_PLACE.pack_into, self._map, 0)

    def read(self) -> bytes:
        """See run/suspects."""
        return self._map[: _PLACE.size]

    def write(self, noted: bytes) -> None:
        """See run/suspects."""
        self._map[: _PLACE.size] = noted

    def blame(self) -> None:
        """See run/suspects."""
        self._map[_PLACE.size : 2 * _PLACE.size] = self._map[: _PLACE.size]

    def close(self) -> None:
        """Remove the file, unless a record is to blame for the end of this worker. Idempotent."""
        if self._file.closed:
            return
        if not any(self._map[: 2 * _PLACE.size]):
            self._path.unlink(missing_ok=True)
        self._map.close()
        self._file.close()


def found(folder: Path) -> list[Position]:
    """Return what processes died over, each once: their files are removed. Blocks on the file system."""
    positions = []
    for path in sorted(folder.glob(_PATTERN)):
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held by a process that lives, or by another finder
            if not path.exists():
                continue
            content = file.read(SIZE_BYTES)
            path.unlink()
            if len(content) < 2 * _PLACE.size:
                continue
            names = content[2 * _PLACE.size :].decode("utf-8", "replace").split("\n")
            noted = {_PLACE.unpack_from(content, at) for at in (0, _PLACE.size)}
            positions += [
                (names[number - 1], partition, offset)
                for number, partition, offset in sorted(noted)
                if 0 < number <= len(names) and partition >= 0 and offset >= 0
            ]
    return positions
