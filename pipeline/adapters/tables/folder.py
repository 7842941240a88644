"""Decides where the tables' files are, and which of them is the one to read.

Files are never mended: one that is damaged, or belongs to another place, is left behind and a new one is made beside it
under another name. `current` names the one that counts; it is replaced in one step, so that a reader sees the old one
or the new one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CURRENT: Final = "current"
LOCK: Final = "follower.lock"
DAMAGED: Final = "damaged"
"""Left by a reader for whoever follows; it holds the name of the file that is damaged."""
_NAME: Final = re.compile(r"tables-[0-9a-f]{16}\.db")


class FolderError(Exception):
    """The folder cannot be used; says why and what to do, without naming anybody."""


def place(state_dir: str, group: str, cluster_id: str, environ: Mapping[str, str]) -> Path:
    """Return the folder of a group on a cluster, made if need be: of this user, closed to others.

    `state_dir` as configured. Else below $STATE_DIRECTORY (systemd) or $XDG_STATE_HOME, below ~/.local/state, or, if
    that cannot be written, below the folder for temporary files. Raises FolderError.
    """
    if state_dir:
        return _made(Path(state_dir), group, cluster_id)
    found = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if found:
        return _made(Path(found), group, cluster_id)
    home = environ.get("XDG_STATE_HOME") or (environ.get("HOME") and f"{environ['HOME']}/.local/state")
    if home and home.startswith("/"):
        with contextlib.suppress(FolderError):
            return _made(Path(home) / "hookline", group, cluster_id)
    return _made(Path(tempfile.gettempdir()) / f"hookline-{os.getuid()}", group, cluster_id)


def _made(top: Path, group: str, cluster_id: str) -> Path:
    name = re.sub(r"[^A-Za-z0-9.@_-]", "_", f"{group}@{cluster_id}")
    folder = top / name
    try:
        top.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise FolderError(f"the folder for tables cannot be made: {error.strerror}; set state_dir") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise FolderError("the folder for tables is not this user's alone (mode 0700); set state_dir to another one")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FolderError("the folder for tables cannot be written; set state_dir to another one")
    return folder


class LeftError(Exception):
    """The file, or the right to follow, is not ours any more: somebody removed it, or found the file damaged."""


class Folder:
    """The files in it. Any process of the machine may look; only the one with the lock changes what is current."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def current(self) -> Path | None:
        """Return the file that counts, None if there is none yet."""
        name = self._said(CURRENT)
        return self.path / name if _NAME.fullmatch(name) else None

    def fresh(self) -> Path:
        """Return the path of a file that is yet to be made."""
        return self.path / f"tables-{secrets.token_hex(8)}.db"

    def turn_to(self, file: Path) -> None:
        """Make a file the one that counts, and remove all others: whoever has one open may go on reading it."""
        self._say(CURRENT, file.name)
        for each in self.path.glob("tables-*"):
            if not each.name.startswith(file.name):
                each.unlink(missing_ok=True)

    def accuse(self, file: Path) -> None:
        """Say that a file is damaged, to whoever follows. A disk that takes nothing leaves that to the next look."""
        with contextlib.suppress(OSError):
            self._say(DAMAGED, file.name)

    def accused(self, file: Path) -> bool:
        """Whether somebody found this file damaged."""
        return self._said(DAMAGED) == file.name

    def _said(self, name: str) -> str:
        try:
            return (self.path / name).read_text(errors="replace")[:100].strip()
        except OSError:
            return ""

    def _say(self, name: str, said: str) -> None:
        new = self.path / f"{name}.{secrets.token_hex(4)}"
        try:
            new.write_text(said)
            new.replace(self.path / name)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    # ---------------------------------------------------------------------------------------------- the lock

    def lock(self) -> bool:
        """Take the right to follow, if nobody has it; the system gives it back when a process ends, however."""
        if self._lock is not None:
            return True
        file = (self.path / LOCK).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._lock = file
        return True

    def hold(self, file: Path) -> None:
        """Show that file and lock are in use, so that nobody tidies them away. Raises LeftError where that was done.

        Besides, the file may have been found damaged.
        """
        if self.accused(file):
            raise LeftError("damaged")
        assert self._lock is not None
        try:
            for path in (self.path / LOCK, self.path / CURRENT):
                os.utime(path)
            ours = os.path.samestat((self.path / LOCK).stat(), os.fstat(self._lock.fileno()))
        except OSError:
            ours = False
        if not ours:
            self.unlock()
        if not ours or self.current() != file or not file.exists():
            raise LeftError("the file was removed")

    def unlock(self) -> None:
        """Give it back; idempotent."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
