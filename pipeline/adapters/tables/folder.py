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
import threading
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
    """The file is not ours any more: somebody removed it, or found it damaged."""


class TakenError(Exception):
    """The right to follow is not ours any more: somebody took it over because we stood still, or removed the lock."""


class Folder:
    """The files in it. Any process of the machine may look; only the one with the lock changes what is current."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None
        self._beating = threading.Lock()
        """Held where `_lock` changes, and while it is touched: the number of a closed file may be another's."""

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
        """Take the right to follow if nobody has it, or say whether it is still ours.

        The system gives it back when a process ends, however.
        """
        if self._lock is not None:
            if self.ours():
                return True
            self.unlock()
        file = (self.path / LOCK).open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._keep(file)
        return self.lock()  # somebody may have taken over in between: then this is the lock of nothing

    def take_over(self) -> None:
        """Take the right to follow from whoever has it and stands still: by a new lock in the place of theirs.

        They find out by `ours`, and must leave alone what is current by then.
        """
        assert self._lock is None
        new = self.path / f"{LOCK}.{secrets.token_hex(4)}"
        file = new.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)  # nobody else knows of it
            new.replace(self.path / LOCK)
        except OSError:
            file.close()
            new.unlink(missing_ok=True)
            raise
        self._keep(file)

    def _keep(self, file: IO[bytes]) -> None:
        with self._beating:
            self._lock = file
        self.beat()

    def ours(self) -> bool:
        """Whether we have the right to follow, and nobody took it over or removed it."""
        try:
            return self._lock is not None and os.path.samestat((self.path / LOCK).stat(), os.fstat(self._lock.fileno()))
        except OSError:
            return False

    def beat(self) -> None:
        """Show that whoever follows lives, if it is us. Safe from any thread."""
        with self._beating, contextlib.suppress(OSError):
            if self._lock is not None:
                os.utime(self._lock.fileno())  # of our own file, whatever has its name by now

    def pulse(self) -> tuple[int, int]:
        """Return what changes with each `beat` of whoever follows."""
        try:
            found = (self.path / LOCK).stat()
        except OSError:
            return 0, 0
        return found.st_ino, found.st_mtime_ns

    def hold(self, file: Path) -> None:
        """Show that the file is in use, so that nobody tidies it away. Raises LeftError where that was done.

        Besides, the file may have been found damaged. Raises TakenError if the right to follow is not ours any more.
        """
        if self.accused(file):
            raise LeftError("damaged")
        if not self.ours():
            self.unlock()
            raise TakenError
        try:
            os.utime(self.path / CURRENT)
        except OSError as error:
            raise LeftError("the file was removed") from error
        if self.current() != file or not file.exists():
            raise LeftError("the file was removed")

    def unlock(self) -> None:
        """Give it back; idempotent."""
        with self._beating:
            if self._lock is not None:
                self._lock.close()
                self._lock = None
