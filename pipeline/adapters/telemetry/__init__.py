"""Exports without a call on the hot path: spans after the fact, metrics by observation, JSON logs. No personal data.

Where no OTLP endpoint is set there is no exporter and no thread. One door to OpenTelemetry; logs are always written.
"""

from __future__ import annotations

import os
import random
import threading
import time
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.resources import Resource

from pipeline import __version__
from pipeline.adapters.telemetry import endpoints, names, otlp
from pipeline.adapters.telemetry.logs import Libraries, Log
from pipeline.adapters.telemetry.metrics import Metrics
from pipeline.adapters.telemetry.outbox import Outbox, Poster, delay_s
from pipeline.adapters.telemetry.spans import Places, Published, Tracing
from pipeline.config import topics
from pipeline.config.secrets import Secrets
from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.config.auth import SecretUrl
    from pipeline.config.models import Config
    from pipeline.model import Delivery, Flight, Outcome
    from pipeline.ports import LaneStats

__all__ = ["OtelTelemetry", "Places", "Published", "Settings"]

CLOSE_S: Final = 5.0
"""How long `close` waits for the last export."""

_RANDOM_DIGITS: Final = 14  # the last 56 bits of a trace ID, W3C Trace Context level 2
_NEVER: Final = "g"  # sorts after every hex digit


@value
class Settings:
    """What telemetry is started with: `sample` is the share of traces kept, 0 to 1; `endpoint` a base URL or "".

    `interval_ms` lies between two exports of metrics; OTEL_METRIC_EXPORT_INTERVAL wins over it.
    """

    worker_id: str
    places: Places
    sample: float = 0.01
    endpoint: str = ""
    interval_ms: int = 10_000
    log_level: str = "info"


class OtelTelemetry:
    """Implements ports.Telemetry. Made once per worker process, after any fork; `close` it at the end."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str] | None = None,
        random_bits: Callable[[int], int] = random.getrandbits,
        stream: BinaryIO | None = None,
    ) -> None:
        """Start logging, and exporting where an endpoint is set. `stream` takes the log lines, default stderr."""
        environ = os.environ if environ is None else environ
        self._threshold = threshold(settings.sample)
        self._log = Log(settings.log_level, stream)
        self._libraries = Libraries(self._log)
        self._libraries.open()
        self._closed = False
        where = endpoints.choose(environ, settings.endpoint)
        self._outbox: Outbox | None = None
        self._tracing: Tracing | None = None
        self._metrics: Metrics | None = None
        if not (where.traces or where.metrics):
            return
        if protocol := endpoints.unsupported_protocol(environ):
            self.log("warning", "otlp_protocol_unsupported", protocol=protocol, used="http/protobuf")
        resource = _resource(settings.worker_id, environ)
        if where.traces:
            self._tracing = self._traced(Poster(where.traces), resource, delay_s(environ), settings.places, random_bits)
        if where.metrics:
            interval_ms = None if environ.get("OTEL_METRIC_EXPORT_INTERVAL") else settings.interval_ms
            self._metrics = Metrics(OTLPMetricExporter(where.metrics), resource, interval_ms)
            if self._tracing is not None:
                self._metrics.counts(names.SPANS, self._tracing.counts)

    def _traced(
        self, poster: Poster, resource: Resource, delay: float, places: Places, random_bits: Callable[[int], int]
    ) -> Tracing | None:
        if not poster.fits():
            self.log("warning", "otlp_exporter_unknown", remedy="opentelemetry-exporter-otlp-proto-http 1.45",
                     lost="spans")  # fmt: skip
            return None
        self._outbox = Outbox(poster, otlp.Request(resource).of, delay)
        return Tracing(self._outbox, places, random_bits)

    @classmethod
    def of(cls, config: Config, worker_id: str) -> OtelTelemetry:
        """Start as a configuration says. Raises ConfigError for an `env:NAME` that is not set."""
        secrets = Secrets(config.folder)
        places = Places(
            group=config.group,
            retry_group=topics.retry_group(config.group),
            retry_prefix=topics.retry(config.group, ""),
            ordered_group=topics.ordered_group(config.group),
            ordered_prefix=topics.ordered(config.group, ""),
            outcomes=topics.outcomes(config.group),
            dead=topics.dead(config.group),
            copies=topics.events(config.group),
            servers={name: _server(each.base_url, secrets) for name, each in config.destinations.items()},
        )
        asked = config.telemetry
        endpoint = secrets.text(asked.endpoint) if asked.endpoint else ""
        return cls(Settings(worker_id, places, asked.sample, endpoint, asked.interval_ms))

    # -------------------------------------------------------------------------------------------------- spans

    def sampled(self, trace_id: str) -> bool:
        """Whether a trace is kept, the same in every worker and every service that decides by the W3C's random bits.

        Compares the last 56 bits with the rejection threshold (OpenTelemetry, probability sampling: keep when R >= T).
        Not the lower 64: a UUID has its fixed variant bits there, and every event's own ID may be its trace ID.
        `trace_id`: 32 lower-case hex digits, which sort as text like the numbers they are.
        """
        return trace_id[-_RANDOM_DIGITS:] >= self._threshold

    def settled(self, delivery: Delivery, outcome: Outcome, reason: str, now_ns: int) -> None:
        """Export the spans of one delivery. Never blocks; drops, and counts, what the queue has no room for."""
        if self._tracing is not None:
            self._tracing.settled(delivery, outcome, reason, now_ns)

    def position(self, flight: Flight, reason: str, now_ns: int) -> None:
        """Export the consume span of a position that had no delivery. Never blocks."""
        if self._tracing is not None:
            self._tracing.position(flight, reason, now_ns)

    @property
    def exports_spans(self) -> bool:
        """Whether spans go anywhere: without an endpoint there is no need to gather what they say."""
        return self._tracing is not None

    def published(self, sent: Published) -> None:
        """Export the span of an event put on Kafka. Never blocks."""
        if self._tracing is not None:
            self._tracing.published(sent)

    # ------------------------------------------------------------------------------------------------ metrics

    def watch(self, destination: str, stats: LaneStats) -> None:
        """Export the counters of a destination from now on."""
        if self._metrics is not None:
            self._metrics.watch(destination, stats)

    def gauge(self, metric: names.Metric, read: Callable[[], float]) -> None:
        """Export a level of the worker. `read` is called in the export thread: it must only read, and not block."""
        if self._metrics is not None:
            self._metrics.gauge(metric, read)

    def counts(self, metric: names.Metric, read: Callable[[], Mapping[tuple[str, ...], int]]) -> None:
        """Export growing counts by the metric's attributes, their values in order. `read` like that of `gauge`."""
        if self._metrics is not None:
            self._metrics.counts(metric, read)

    # ---------------------------------------------------------------------------------------------------- logs

    def log(self, level: str, event: str, **fields: object) -> None:
        """Write one JSON line to stderr: 10 µs, so never on the success path of a delivery. Only scalars pass."""
        self._log.write(level, event, fields)

    def close(self) -> None:
        """Export what is queued, end the threads, give logging back. Blocks for 5 s at most; idempotent."""
        if self._closed:
            return
        self._closed = True
        last: list[Callable[[], None]] = []
        if self._outbox is not None:
            last.append(self._outbox.close)
        if self._metrics is not None:
            last.append(self._metrics.close)
        # In threads of their own, as the SDK waits up to 30 s for a collector that does not answer.
        threads = [threading.Thread(target=close, name="telemetry-close", daemon=True) for close in last]
        until_s = time.monotonic() + CLOSE_S
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until_s - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self.log("warning", "telemetry_not_flushed", waited_s=CLOSE_S)
        self._libraries.close()


def threshold(ratio: float) -> str:
    """Return the smallest 14 hex digits that are kept at this ratio (0 to 1); text that nothing reaches for 0."""
    rejected = round((1 - ratio) * (1 << 56))
    return f"{max(rejected, 0):014x}" if rejected < 1 << 56 else _NEVER


def _server(base_url: str | SecretUrl, secrets: Secrets) -> tuple[str, int]:
    url = urlsplit(secrets.text(base_url) if isinstance(base_url, str) else secrets.get(base_url.secret).strip())
    return url.hostname or "", url.port or (80 if url.scheme == "http" else 443)


def _resource(worker_id: str, environ: Mapping[str, str]) -> Resource:
    attributes: dict[str, str | bool | int | float] = {
        "service.instance.id": worker_id,
        "service.version": __version__,
    }
    if not environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = "hookline"
    return Resource.create(attributes)
