"""Starts a real program beside the tests and ends it by its process ID, never by name."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from tests.support.conditions import POLL_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STOP_TIMEOUT_S = 20.0
TAIL_CHARS = 3_000


class Child:
    """One program with its output in a file. It dies with the test run even if that is killed (given `setpriv`)."""

    def __init__(self, argv: Sequence[str], log: Path, **environment: str) -> None:
        self.log = log
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "KILL", "--"] if guard else []
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*prefix, *argv],
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process ID."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, or None while it runs."""
        return self._process.poll()

    def send(self, signal_number: int) -> None:
        """Send a signal; nothing happens if it has ended already."""
        self._process.send_signal(signal_number)

    def wait(self, timeout_s: float) -> int:
        """Block until it ends by itself and return its exit code; AssertionError after `timeout_s` seconds."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout_s:g} s\n{self.tail()}") from error

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask it to end (SIGTERM), and kill it after `timeout_s` seconds."""
        self.send(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        self._process.kill()
        self._process.wait(STOP_TIMEOUT_S)

    def wait_ready(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Block until `ready()`; AssertionError with its last output if it ends or takes over `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.returncode is not None:
                raise AssertionError(f"ended with exit code {self.returncode} while starting\n{self.tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"not ready after {timeout_s:g} s\n{self.tail()}")
            time.sleep(POLL_S)

    def tail(self) -> str:
        """The last lines of its output."""
        return self.log.read_text(errors="replace")[-TAIL_CHARS:]
