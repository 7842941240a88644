"""Performs the resolving of secret references: `env:NAME` from the environment, `file:PATH` from a file.

Errors name the reference and never a value.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, TypeAlias

from pipeline.errors import ConfigError
from pipeline.model import Problem

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping

SECRET_BYTES_MAX: Final = 64 * 1024

Version: TypeAlias = tuple[int, int, int] | None
"""What changes with a file: its modification time in ns, inode and size; None while there is none."""


class Secrets:
    """Resolves references of one configuration folder. Values are read when asked for and not kept."""

    def __init__(self, folder: pathlib.Path, environ: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environ = os.environ if environ is None else environ

    def get(self, ref: str) -> str:
        """Return the value behind `env:NAME` or `file:PATH` (relative to the folder; one trailing newline is cut).

        Blocks on the file system. Raises ConfigError if there is none, or an empty one.
        """
        kind, _, name = ref.partition(":")
        if kind == "env":
            value = self._environ.get(name)
            if value is None:
                raise _error(ref, "is not set", "it is an environment variable")
        elif kind == "file":
            value = self._read(ref)
        else:
            raise _error("", "is no reference to a secret", "env:NAME or file:PATH")
        if not value.strip():
            raise _error(ref, "is empty")
        return value

    def text(self, given: str) -> str:
        """Return what `env:NAME` stands for, and any other text as it is: for settings that need not be secret."""
        return self.get(given) if given.startswith("env:") else given

    def version(self, ref: str) -> Version:
        """Return the version of the file behind `file:PATH`.

        Links are followed, so that a new target counts as a change: that is how Kubernetes replaces mounted secrets.
        Blocks on the file system.
        """
        try:
            found = (self._folder / ref.removeprefix("file:")).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def path(self, ref: str) -> pathlib.Path:
        """Return the absolute path that `file:PATH` names. Raises ConfigError if there is no such file."""
        path = (self._folder / ref.removeprefix("file:")).absolute()
        if not path.is_file():
            raise _error(ref, "is not there", "paths are relative to the configuration folder")
        return path

    def _read(self, ref: str) -> str:
        try:
            with self.path(ref).open("rb") as source:
                raw = source.read(SECRET_BYTES_MAX + 1)
        except OSError as error:
            raise _error(ref, f"cannot be read: {error.strerror}") from None
        if len(raw) > SECRET_BYTES_MAX:
            raise _error(ref, f"is larger than {SECRET_BYTES_MAX // 1024} KiB")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise _error(ref, "is not UTF-8") from None
        return text.removesuffix("\n").removesuffix("\r")


def _error(ref: str, message: str, hint: str = "") -> ConfigError:
    return ConfigError((Problem("", 0, 0, ref, message, hint),))
