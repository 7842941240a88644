"""An OTLP/HTTP receiver that keeps every byte it was sent, and reads spans and metrics out of them."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self


class OtlpReceiver:
    """Listens on a free loopback port inside `with`. `status` is what it answers; a cleared `hold` delays answers."""

    def __init__(self) -> None:
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.bodies: list[tuple[str, bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.hold.wait(30)
                if receiver.status == 200:
                    receiver.bodies.append((self.path, body))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def raw(self) -> bytes:
        """All bytes received."""
        return b"".join(body for _, body in tuple(self.bodies))

    def resources(self) -> list[dict[str, Any]]:
        """Attributes of every resource that sent spans."""
        return [attributes(part.resource.attributes) for part in self._resource_spans()]

    def spans(self) -> list[Any]:
        """Every span received, as OTLP messages."""
        return [span for part in self._resource_spans() for scope in part.scope_spans for span in scope.spans]

    def metrics(self) -> dict[str, Any]:
        """The latest state of every metric by name, as OTLP messages."""
        found: dict[str, Any] = {}
        for path, body in tuple(self.bodies):
            if path == "/v1/metrics":
                for part in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    for scope in part.scope_metrics:
                        found.update({metric.name: metric for metric in scope.metrics})
        return found

    def _resource_spans(self) -> Iterator[Any]:
        for path, body in tuple(self.bodies):
            if path == "/v1/traces":
                yield from ExportTraceServiceRequest.FromString(body).resource_spans


def attributes(pairs: Any) -> dict[str, Any]:
    """OTLP key-value pairs as a plain dict."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
