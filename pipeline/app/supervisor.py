"""Runs N workers as processes of one machine: starts them, passes signals on, starts a dead one again."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

LOOK_S: Final = 0.2
"""How often the workers are looked at."""
RESTART_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Waits before a dead worker is started again; the last one repeats."""
HEALTHY_S: Final = 60.0
"""A worker that lived this long starts over at the shortest wait."""
REFUSED: Final = 2
"""Exit code of a worker whose configuration or topics are wrong: starting it again would change nothing."""
KILL_AFTER_S: Final = 80.0
"""Bound on a graceful stop; then workers are killed."""


class Supervisor:
    """Owner of the worker processes. `command(index)` gives the argument list of one worker."""

    def __init__(self, workers: int, command: Callable[[int], Sequence[str]], say: Callable[[str], None]) -> None:
        self._command = command
        self._say = say
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._started_s: dict[int, float] = {}
        self._restarts: dict[int, int] = dict.fromkeys(range(workers), 0)
        self._due_s: dict[int, float] = dict.fromkeys(range(workers), 0.0)
        self._signals = 0
        self._code = 0

    def run(self) -> int:
        """Supervise until told to stop by SIGTERM or SIGINT (a second one kills); return the worst exit code.

        SIGHUP is passed on.
        """
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_hangup)
        try:
            while not self._signals:
                self._start_due()
                self._reap()
                if self._code == REFUSED:
                    self._on_signal(signal.SIGTERM, None)
                    break
                time.sleep(LOOK_S)
            return max(self._wait(), self._code)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for index, due_s in list(self._due_s.items()):
            if now_s >= due_s:
                del self._due_s[index]
                process = subprocess.Popen(self._command(index))  # noqa: S603 - our own executable
                self._processes[index] = process
                self._started_s[index] = now_s
                self._say(f"worker {index} started, pid {process.pid}")

    def _reap(self) -> None:
        for index, process in list(self._processes.items()):
            code = process.poll()
            if code is None:
                continue
            del self._processes[index]
            if code == REFUSED:
                self._code = REFUSED
                return
            lived_s = time.monotonic() - self._started_s[index]
            tries = 0 if lived_s > HEALTHY_S else self._restarts[index]
            wait_s = RESTART_S[min(tries, len(RESTART_S) - 1)]
            self._restarts[index] = tries + 1
            self._due_s[index] = time.monotonic() + wait_s
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._say(f"worker {index} ended with {how}; starting it again in {wait_s:g} s")

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()

    def _on_hangup(self, _number: int, _frame: FrameType | None) -> None:
        """Have every worker look at its configuration."""
        for process in self._processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGHUP)

    def _wait(self) -> int:
        deadline_s = time.monotonic() + KILL_AFTER_S
        worst = 0
        for process in self._processes.values():
            try:
                code = process.wait(max(deadline_s - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            worst = max(worst, 1 if code < 0 else code)
        return worst
