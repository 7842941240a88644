"""Exports metrics by observation: reads the counters that lanes bump, in the export thread, every interval.

The SDK's Python release has no way for a foreign producer to hand in ready-made data points, so histograms join at the
exporter: the lanes' bucket arrays become histogram points beside what the SDK collected. Nothing is recorded per event.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from pipeline.adapters.telemetry import names
from pipeline.ports import LATENCY_BUCKETS_MS, LaneStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

_BOUNDS_S: Final = tuple(bound / 1_000 for bound in LATENCY_BUCKETS_MS)


class Metrics:
    """Owns the meter provider and its export thread. Callbacks run in that thread: they only read."""

    def __init__(self, exporter: MetricExporter, resource: Resource, interval_ms: float | None) -> None:
        """Start exporting every `interval_ms`; None: as OTEL_METRIC_EXPORT_INTERVAL says."""
        self._watched: dict[str, LaneStats] = {}
        self._start_ns = time.time_ns()
        reader = PeriodicExportingMetricReader(_WithHistograms(exporter, self.histograms), interval_ms)
        self._provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._meter = self._provider.get_meter(names.SCOPE)
        self._lane_instruments()

    def watch(self, destination: str, stats: LaneStats) -> None:
        """Export the counters of a destination from now on."""
        self._watched[destination] = stats

    def gauge(self, meta: names.Metric, read: Callable[[], float]) -> None:
        """Export what `read` returns, as a gauge. It is called in the export thread and must not block."""
        self._meter.create_observable_gauge(meta.name, [lambda _: [Observation(read())]], meta.unit, meta.meaning)

    def counts(self, meta: names.Metric, read: Callable[[], Mapping[tuple[str, ...], int]]) -> None:
        """Export growing counts by the metric's attributes: a key of `read`'s dict has one value for each, in order.

        `read` is called in the export thread; its dict is copied at once, in C, as the loop may add a key meanwhile.
        """

        def observe(_: CallbackOptions) -> list[Observation]:
            return [
                Observation(count, dict(zip(meta.attributes, map(str, key), strict=True)))
                for key, count in dict(read()).items()
            ]

        self._meter.create_observable_counter(meta.name, [observe], meta.unit, meta.meaning)

    def histograms(self, now_ns: int) -> list[Metric]:
        """Build the histogram points of all lanes, cumulative since the start; without sums, as lanes keep none."""
        watched = dict(self._watched)
        attempts = [self._point(name, stats.attempt_ms, now_ns) for name, stats in watched.items()]
        triggers = [self._point(name, stats.trigger_ms, now_ns) for name, stats in watched.items()]
        return [
            Metric(meta.name, meta.meaning, meta.unit, Histogram(points, AggregationTemporality.CUMULATIVE))
            for meta, points in ((names.ATTEMPT_TIME, attempts), (names.TRIGGER_TIME, triggers))
            if points
        ]

    def close(self) -> None:
        """Export a last time and end the thread. Blocks as long as the exporter does: the caller bounds it."""
        self._provider.shutdown()

    # ----------------------------------------------------------------------------------------- instruments

    def _lane_instruments(self) -> None:
        self._counter(names.ATTEMPTED, lambda stats: [(stats.attempts, {})])
        self._counter(names.FAILED, lambda stats: _by(names.ERROR, stats.failures))
        self._counter(names.CONNECTIONS, lambda stats: [(stats.connections_opened, {})])
        self._counter(names.PARKED, lambda stats: [(stats.parked, {})])
        self._level(names.QUEUED, lambda stats: stats.queued)
        self._level(names.IN_FLIGHT, lambda stats: stats.in_flight)
        self._level(names.LIMIT, lambda stats: stats.limit)
        self._level(names.BREAKER, lambda stats: names.BREAKER_LEVELS.get(stats.state, 0))

    def _counter(
        self, meta: names.Metric, read: Callable[[LaneStats], Iterable[tuple[int, Mapping[str, str]]]]
    ) -> None:
        def observe(_: CallbackOptions) -> list[Observation]:
            return [
                Observation(count, {names.DESTINATION: destination, **more})
                for destination, stats in dict(self._watched).items()
                for count, more in read(stats)
            ]

        self._meter.create_observable_counter(meta.name, [observe], meta.unit, meta.meaning)

    def _level(self, meta: names.Metric, read: Callable[[LaneStats], int]) -> None:
        def observe(_: CallbackOptions) -> list[Observation]:
            return [
                Observation(read(stats), {names.DESTINATION: destination})
                for destination, stats in dict(self._watched).items()
            ]

        self._meter.create_observable_gauge(meta.name, [observe], meta.unit, meta.meaning)

    def _point(self, destination: str, buckets: list[int], now_ns: int) -> HistogramDataPoint:
        counts = tuple(buckets)
        absent: Any = None  # OTLP's sum, min and max are optional; the SDK's class only lacks the type for it
        return HistogramDataPoint(
            attributes={names.DESTINATION: destination},
            start_time_unix_nano=self._start_ns,
            time_unix_nano=now_ns,
            count=sum(counts),
            sum=absent,
            bucket_counts=counts,
            explicit_bounds=_BOUNDS_S,
            min=absent,
            max=absent,
        )


class _WithHistograms(MetricExporter):
    """Adds the lanes' histograms to what the SDK collected, then passes everything on."""

    def __init__(self, exporter: MetricExporter, histograms: Callable[[int], list[Metric]]) -> None:
        # The reader asks the exporter for these two; the SDK has no public name for them.
        super().__init__(exporter._preferred_temporality, exporter._preferred_aggregation)  # noqa: SLF001
        self._exporter = exporter
        self._histograms = histograms
        self._scope = InstrumentationScope(names.SCOPE)

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object) -> MetricExportResult:
        """Export once; blocks until the collector took or refused it."""
        mine = self._histograms(time.time_ns())
        joined = [
            ResourceMetrics(each.resource, self._joined(each.scope_metrics, mine), each.schema_url)
            for each in metrics_data.resource_metrics
        ]
        return self._exporter.export(MetricsData(joined), timeout_millis, **kwargs)

    def _joined(self, collected: Sequence[ScopeMetrics], mine: list[Metric]) -> list[ScopeMetrics]:
        # In one list per scope: the SDK's encoder keeps only the last of two that name the same.
        others = [each for each in collected if each.scope.name != names.SCOPE]
        ours = [metric for each in collected if each.scope.name == names.SCOPE for metric in each.metrics]
        return [*others, ScopeMetrics(self._scope, [*ours, *mine], "")]

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept here."""
        return self._exporter.force_flush(timeout_millis)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """End the exporter, and any wait it is in."""
        self._exporter.shutdown(timeout_millis, **kwargs)


def _by(attribute: str, counts: dict[str, int]) -> list[tuple[int, Mapping[str, str]]]:
    # One copy in C: the loop may add a key meanwhile.
    return [(count, {attribute: str(key)}) for key, count in counts.copy().items()]
