"""Builds a small OpenTelemetry Collector once, and runs it between Hookline's OTLP export and what tests look into."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING, Any

from tests.support.children import Child
from tests.support.parts import Part, build, tool
from tests.support.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

COLLECTOR_VERSION = "0.161.0"
START_TIMEOUT_S = 30.0

PARTS = {
    "receivers": ["go.opentelemetry.io/collector/receiver/otlpreceiver"],
    "exporters": [
        "go.opentelemetry.io/collector/exporter/debugexporter",
        "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/fileexporter",
        "github.com/open-telemetry/opentelemetry-collector-contrib/exporter/zipkinexporter",
    ],
}


class Collector:
    """A running collector: OTLP over HTTP at `endpoint`; everything received lies in `spans()` and `metrics()`."""

    def __init__(self, folder: Path, zipkin: str | None = None) -> None:
        """Start it, passing spans on to the Zipkin at the base URL `zipkin` too. PartMissingError without Go."""
        program = PROGRAM.get() / "collector"
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._traces = folder / "traces.jsonl"
        self._metrics = folder / "metrics.jsonl"
        config = folder / "collector.yaml"
        config.write_text(json.dumps(self._config(port, zipkin)))  # JSON is YAML
        self._child = Child([str(program), "--config", str(config)], folder / "collector.log")
        self._child.wait_ready(lambda: _listens(port), START_TIMEOUT_S)

    def spans(self) -> list[dict[str, Any]]:
        """Every span received so far as OTLP JSON, attributes as a plain dict, with `resource` and `scope` added."""
        found: list[dict[str, Any]] = []
        for batch in _lines(self._traces):
            for resource in batch.get("resourceSpans", []):
                for scope in resource.get("scopeSpans", []):
                    for span in scope.get("spans", []):
                        plain = {
                            "attributes": attributes(span),
                            "resource": attributes(resource.get("resource", {})),
                            "scope": scope.get("scope", {}).get("name", ""),
                        }
                        found.append({**span, **plain})
        return found

    def metrics(self) -> list[dict[str, Any]]:
        """Every metric received so far as OTLP JSON, oldest first; one entry per export and name."""
        return [
            metric
            for batch in _lines(self._metrics)
            for resource in batch.get("resourceMetrics", [])
            for scope in resource.get("scopeMetrics", [])
            for metric in scope.get("metrics", [])
        ]

    def stop(self) -> None:
        """End it; what it received stays readable."""
        self._child.stop()

    def _config(self, port: int, zipkin: str | None) -> dict[str, Any]:
        files = {"file/traces": self._traces, "file/metrics": self._metrics}
        exporters: dict[str, Any] = {
            name: {"path": str(path), "flush_interval": "100ms"} for name, path in files.items()
        }
        if zipkin:
            exporters["zipkin"] = {"endpoint": f"{zipkin}/api/v2/spans"}
        traces = ["file/traces", *(["zipkin"] if zipkin else [])]
        return {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
            "exporters": exporters,
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": traces},
                    "metrics": {"receivers": ["otlp"], "exporters": ["file/metrics"]},
                },
            },
        }


def attributes(part: dict[str, Any]) -> dict[str, Any]:
    """OTLP JSON attributes of a span, resource, link or data point as a plain dict; 64-bit integers become int."""
    return {item["key"]: _plain(item.get("value", {})) for item in part.get("attributes", [])}


def _plain(value: dict[str, Any]) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "arrayValue":
            return [_plain(item) for item in content.get("values", [])]
        return content
    return None


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    whole = path.read_text().rpartition("\n")[0]  # the last line may still be in the making
    return [json.loads(line) for line in whole.splitlines() if line]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _build(folder: Path) -> None:
    builder = f"go.opentelemetry.io/collector/cmd/builder@v{COLLECTOR_VERSION}"
    build([tool("go"), "install", builder], folder, GOBIN=str(folder), GOFLAGS="-mod=mod")
    dist = {"name": "collector", "output_path": str(folder / "build"), "version": COLLECTOR_VERSION}
    modules = {kind: [{"gomod": f"{module} v{COLLECTOR_VERSION}"} for module in found] for kind, found in PARTS.items()}
    recipe = folder / "builder.yaml"
    recipe.write_text(json.dumps({"dist": dist, **modules}))
    build([str(folder / "builder"), "--config", str(recipe)], folder, CGO_ENABLED="0")
    (folder / "build" / "collector").rename(folder / "collector")
    shutil.rmtree(folder / "build")
    (folder / "builder").unlink()


PROGRAM = Part(
    f"collector-{COLLECTOR_VERSION}", f"the OpenTelemetry Collector {COLLECTOR_VERSION} (built, 150 s)", _build
)
