"""Follows the configuration's files: another one that is fit to run takes over, one that is not is refused and named.

Nothing is swapped inside a running worker. It stops as for a graceful stop (attempts end, runs are handed over, none is
repeated), and the next one starts in its place with everything new: topics and brokers, too.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from pipeline.app import modes
from pipeline.app.check import checked, version
from pipeline.config.files import FILES_MAX, YAML_FOLDERS
from pipeline.config.overlay import MAIN_FILE
from pipeline.errors import ConfigError, HooklineError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from pipeline.config.models import Config

POLL_S: Final = 2.0
"""How often the files are looked at. Two looks in a row must agree: an editor, or Git, may be at work."""
TOLD_MAX: Final = 20
"""Problems that are told in the log and the status; `hookline validate` tells all."""
FOLDERS: Final = (*YAML_FOLDERS, "schemas", "contracts")
"""What is looked at; the files of secrets are followed by the endpoints that use them (app/endpoints)."""

Seen = tuple[tuple[str, int, int, int], ...]
"""Name, time of change (ns), size and inode of every file."""


class Reload:
    """Owner of the question which configuration is to run. `running` and `refused` are for the status."""

    def __init__(
        self, config: Config, fit: Callable[[Config], None], log: Callable[..., None], poll_s: float = POLL_S
    ) -> None:
        """`fit` raises ConfigError, TopicMissing or BrokerError for a configuration no worker could start with.

        Blocks on the file system.
        """
        self.running = version(config)
        self.refused: tuple[str, ...] = ()
        self._config = config
        self._fit = fit
        self._log = log
        self._poll_s = poll_s
        self._asked = asyncio.Event()
        self._seen = look(config.folder)

    def ask(self) -> None:
        """Look now, and say so even if nothing changed: what SIGHUP means."""
        self._asked.set()

    async def changed(self) -> Config:
        """Wait for another configuration that is fit to run, and return it. Looks and checks in a thread."""
        while True:
            asked = await self._next()
            found = await asyncio.to_thread(self._examined, asked=asked)
            if found is not None:
                return found

    async def _next(self) -> bool:
        """Wait until the files are others than those examined last, and at rest; or until asked (true)."""
        last = self._seen
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._asked.wait()
                self._asked.clear()
                self._seen = await asyncio.to_thread(look, self._config.folder)
            except TimeoutError:
                now = await asyncio.to_thread(look, self._config.folder)
                if now == last and now != self._seen:
                    self._seen = now
                    return False
                last = now
            else:
                return True

    def _examined(self, *, asked: bool) -> Config | None:
        """Return the configuration that is in the folder now if it is another one and fit to run; else say why not."""
        try:
            return self._taken(asked=asked)
        except Exception as error:  # noqa: BLE001 - a bug of ours in looking at files must not end what is under way
            self._refuse((f"cannot be examined: {type(error).__name__}",))
            return None

    def _taken(self, *, asked: bool) -> Config | None:
        config, problems = checked(self._config.folder, self._config.env)
        told = tuple(map(str, problems))
        if config is not None:
            name = version(config)
            if name == self.running:
                self._same(asked=asked)
                return None
            try:
                modes.stays(self._config, config)
                self._fit(config)
            except ConfigError as error:
                told = tuple(map(str, error.problems))
            except HooklineError as error:
                told = tuple(str(error).splitlines())
            else:
                self._log("info", "configuration_changed", before=self.running, after=name)
                self.running, self.refused, self._config = name, (), config
                return config
        self._refuse(told)
        return None

    def _refuse(self, told: tuple[str, ...]) -> None:
        self.refused = told[:TOLD_MAX]
        self._log(
            "error", "configuration_refused", running=self.running, problems=len(told), reason="\n".join(self.refused)
        )

    def _same(self, *, asked: bool) -> None:
        """Take note that the folder has what runs already: a mistake may have been taken back."""
        if asked or self.refused:
            self._log("info", "configuration_unchanged", running=self.running)
        self.refused = ()


def look(folder: pathlib.Path) -> Seen:
    """Return what a configuration's files look like from outside. Blocks; what cannot be read is not there."""
    found = []
    for directory in (folder, *(folder / name for name in FOLDERS)):
        try:
            entries = sorted(directory.iterdir())[:FILES_MAX]
        except OSError:
            continue
        for path in entries:
            if path.name.startswith(".") or (directory == folder and path.name != MAIN_FILE):
                continue
            try:
                stat = path.stat()
            except OSError:
                continue
            found.append((str(path.relative_to(folder)), stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(found)
