"""Runs Hookline's own commands as processes of their own: the worker, and what looks at its work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from pipeline.cli.demo.folder import ENV

if TYPE_CHECKING:
    from pathlib import Path

COMMAND_S: Final = 60.0
"""Bound on a command that looks at the work."""
STOP_S: Final = 30.0
"""Bound on a worker's graceful stop: its drain budget, and the last acks."""


def call(command: str, *arguments: str, config: Path) -> list[str]:
    """Return the words that run a command of this very installation on the demo's configuration."""
    return [sys.executable, "-m", "pipeline", command, *arguments, "--config", str(config), "--env", ENV]


def output_of(words: list[str], log: Path) -> tuple[int, bytes]:
    """Run a command to its end; return its exit code and what it printed. What it complains about goes to the log."""
    with log.open("ab") as errors:
        done = subprocess.run(  # noqa: S603 - our own commands
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, timeout=COMMAND_S, check=False
        )
    return done.returncode, done.stdout


class WorkerProcess:
    """A `hookline run`, in a session of its own: Ctrl-C reaches it only through `stop`."""

    def __init__(self, config: Path, log: Path) -> None:
        # Where there is setpriv (Linux), the worker ends even if this process is killed.
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "TERM", "--"] if guard else []
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*prefix, *call("run", config=config)], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**os.environ},
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """Process ID."""
        return self._process.pid

    def ended(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.poll()

    def stop(self) -> int:
        """Ask it to drain and wait up to STOP_S, then end it at once; return its exit code. Idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.kill()
            return self._process.wait(STOP_S)
