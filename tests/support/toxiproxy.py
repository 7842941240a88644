"""Builds toxiproxy once, and runs it between a worker and what it talks to: cut, slow or narrow on demand."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

from tests.support.children import Child
from tests.support.parts import Part, build, tool
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

TOXIPROXY_VERSION = "2.5.0"
MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server"
START_TIMEOUT_S = 20.0
REQUEST_TIMEOUT_S = 10.0


class Toxiproxy:
    """One proxy process with one way through: from `port` to `upstream_port`, both on loopback."""

    def __init__(self, folder: Path, port: int, upstream_port: int) -> None:
        """Start it. PartMissingError without Go."""
        program = PROGRAM.get() / "server"
        self._api = f"http://127.0.0.1:{(api := free_port())}"
        self._child = Child([str(program), "-host", "127.0.0.1", "-port", str(api)], folder / "toxiproxy.log")
        self._child.wait_ready(self._answers, START_TIMEOUT_S)
        way = {"name": "way", "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{upstream_port}", "enabled": True}
        self._ask("/proxies", way)

    def cut(self) -> None:
        """Close what is open, and refuse what comes."""
        self._ask("/proxies/way", {"enabled": False})

    def swallow(self) -> None:
        """Let nothing through any more, and close nothing: as a cable that is pulled."""
        for stream in ("upstream", "downstream"):
            self._toxic("timeout", stream, timeout=0)

    def slow(self, latency_ms: int, jitter_ms: int, kb_per_s: int) -> None:
        """Delay everything, both ways, and let no more through than that."""
        for stream in ("upstream", "downstream"):
            self._toxic("latency", stream, latency=latency_ms, jitter=jitter_ms)
            self._toxic("bandwidth", stream, rate=kb_per_s)

    def restore(self) -> None:
        """As at the start."""
        for toxic in self._ask("/proxies/way")["toxics"]:
            self._ask(f"/proxies/way/toxics/{toxic['name']}", method="DELETE")
        self._ask("/proxies/way", {"enabled": True})

    def stop(self) -> None:
        """End it."""
        self._child.stop()

    def _toxic(self, kind: str, stream: str, **attributes: int) -> None:
        self._ask("/proxies/way/toxics", {"type": kind, "stream": stream, "toxicity": 1.0, "attributes": attributes})

    def _answers(self) -> bool:
        try:
            self._ask("/version")
        except OSError:
            return False
        return True

    def _ask(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        content = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._api}{path}", content, method=method)
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text


def _build(folder: Path) -> None:
    argv = [tool("go"), "install", f"{MODULE}@v{TOXIPROXY_VERSION}"]
    build(argv, folder, GOBIN=str(folder), GOFLAGS="-mod=mod", CGO_ENABLED="0")


PROGRAM = Part(f"toxiproxy-{TOXIPROXY_VERSION}", f"toxiproxy {TOXIPROXY_VERSION} (built, 10 s)", _build)
