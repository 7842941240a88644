"""Starts a real Zipkin, the trace UI in which tests look for what a user would see."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.support.children import Child
from tests.support.parts import java, maven_part
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

JAR = maven_part("io.zipkin:zipkin-server:3.6.1:jar:exec", "Zipkin 3.6.1 (130 MB)")
START_TIMEOUT_S = 90.0
REQUEST_TIMEOUT_S = 5.0


class Zipkin:
    """A running Zipkin, storing in memory, at `url`; it takes Zipkin JSON only: OTLP goes through the collector."""

    def __init__(self, folder: Path) -> None:
        """Start it and wait until it is healthy (about 7 s); PartMissingError without Java or its jar."""
        program, port = JAR.file(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        listen = ("ip=127.0.0.1", f"port={port}", "protocols[0]=http")
        argv = [java(), "-Xmx256m", "-XX:+UseSerialGC", "-jar", str(program)]
        self._child = Child([*argv, *(f"--armeria.ports[0].{part}" for part in listen)], folder / "zipkin.log")
        self._child.wait_ready(lambda: self._get("/health") is not None, START_TIMEOUT_S)

    def trace(self, trace_id: str) -> list[dict[str, Any]]:
        """The spans of one trace (32 hex digits) as Zipkin JSON; empty while there are none."""
        return self._get(f"/api/v2/trace/{trace_id}") or []

    def stop(self) -> None:
        """End it."""
        self._child.stop()

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self.url + path, timeout=REQUEST_TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            return None
        except OSError:
            return None
