"""Runs an example's reference services: one process, which tells where each of them listens."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWER_S: Final = 10.0
"""Bound on a service's answer, and on their end."""


class Services:
    """The services of one example, from construction to `stop`. Blocks until they listen; they end with this process.

    Raises BrokerError if they do not start: their trouble is in the log.
    """

    def __init__(self, program: Path, secret: str, log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - the example's own program
                [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True, env={**os.environ, "SIGNING_SECRETS": secret, "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        assert self._process.stdout is not None
        told = self._process.stdout.readline()
        if not told:
            self.stop()
            raise BrokerError(f"the example's services did not start; see {log}")
        self.urls: dict[str, str] = json.loads(told)
        self._heard = dict.fromkeys(self.urls, 0)

    def trouble(self, system: str, kind: str, for_s: float) -> None:
        """Give a system trouble from now on."""
        self._ask(system, "/_trouble", {"kind": kind, "for_s": for_s})

    def heard(self) -> dict[str, tuple[str, ...]]:
        """Return what each has handled since this was asked last."""
        news = {}
        for system, known in self._heard.items():
            lines = self._ask(system, "/_heard", None)
            self._heard[system] = len(lines)
            news[system] = tuple(lines[known:])
        return news

    def stop(self) -> None:
        """End them; idempotent."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(ANSWER_S)

    def _ask(self, system: str, path: str, content: Mapping[str, Any] | None) -> Any:
        data = None if content is None else json.dumps(content).encode()
        asked = urllib.request.Request(self.urls[system] + path, data=data)  # noqa: S310 - loopback, our own process
        with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:  # noqa: S310
            body = answer.read()
        return json.loads(body) if body else None
