"""Metrics by observation, as an OTLP receiver gets them: counters, gauges, and histograms from the lanes' buckets."""

import pytest

from pipeline.adapters.telemetry import OtelTelemetry, Places, Settings, names
from pipeline.model import LedgerReason, Outcome
from pipeline.ports import LATENCY_BUCKETS_MS, LaneStats
from tests.support.conditions import wait_until
from tests.support.otlp import OtlpReceiver, attributes

PLACES = Places("hookline", "hookline.retry", "hookline.retry.", "hookline.outcomes", "hookline.dead", {})
CUMULATIVE = 2


@pytest.fixture
def receiver():
    with OtlpReceiver() as found:
        yield found


@pytest.fixture
def telemetry(receiver):
    made = OtelTelemetry(Settings("worker-1", PLACES, endpoint=receiver.url), environ={})
    yield made
    made.close()


def busy():
    stats = LaneStats()
    stats.attempts, stats.connections_opened, stats.parked = 12, 3, 2
    stats.limit = 64
    stats.failures.update(timeout=2, server_error=1)
    stats.attempt_ms[0], stats.attempt_ms[5], stats.attempt_ms[-1] = 4, 5, 3
    stats.trigger_ms[7] = 9
    stats.queued, stats.in_flight, stats.state = 5, 4, "open"
    return stats


def points(metric):
    data = metric.sum if metric.HasField("sum") else metric.gauge
    return {tuple(sorted(attributes(point.attributes).items())): point.as_int for point in data.data_points}


def test_every_lane_metric_is_exported_with_the_lanes_own_numbers(telemetry, receiver):
    telemetry.watch("crm", busy())
    telemetry.close()
    found = receiver.metrics()
    crm = (names.DESTINATION, "crm")
    assert {name: points(metric) for name, metric in found.items() if not metric.HasField("histogram")} == {
        "hookline.attempts": {(crm,): 12},
        "hookline.failures": {((names.ERROR, "timeout"), crm): 2, ((names.ERROR, "server_error"), crm): 1},
        "hookline.connections.opened": {(crm,): 3},
        "hookline.parked": {(crm,): 2},
        "hookline.queue": {(crm,): 5},
        "hookline.in_flight": {(crm,): 4},
        "hookline.in_flight.limit": {(crm,): 64},
        "hookline.breaker.state": {(crm,): 2},
        "hookline.telemetry.spans": {
            (("hookline.result", "exported"),): 0,
            (("hookline.result", "failed"),): 0,
            (("hookline.result", "dropped"),): 0,
        },
    }
    assert found["hookline.attempts"].sum.is_monotonic
    assert found.keys() == {metric.name for metric in (*names.LANE_METRICS, names.SPANS)}
    for metric in names.LANE_METRICS:
        assert (found[metric.name].unit, found[metric.name].description) == (metric.unit, metric.meaning)


def test_bucket_arrays_are_real_histograms_in_seconds(telemetry, receiver):
    stats = busy()
    telemetry.watch("crm", stats)
    telemetry.watch("mail", LaneStats())
    telemetry.close()
    histogram = receiver.metrics()["hookline.attempt.duration"].histogram
    assert histogram.aggregation_temporality == CUMULATIVE
    crm, mail = histogram.data_points
    assert attributes(crm.attributes) == {names.DESTINATION: "crm"}
    assert list(crm.bucket_counts) == stats.attempt_ms
    assert list(crm.explicit_bounds) == [bound / 1000 for bound in LATENCY_BUCKETS_MS]
    assert (crm.count, mail.count) == (12, 0)
    assert not crm.HasField("sum")  # lanes keep none: better absent than wrong
    assert crm.start_time_unix_nano < crm.time_unix_nano
    assert receiver.metrics()["hookline.time_to_trigger"].histogram.data_points[0].count == 9


def test_the_worker_adds_its_own_levels_and_counts(telemetry, receiver):
    settled = {("crm", Outcome.DELIVERED): 8, ("crm", Outcome.DEAD): 1, ("", Outcome.DEAD): 2}
    telemetry.gauge(names.UNSETTLED, lambda: 41)
    telemetry.counts(names.LEDGER, lambda: {(LedgerReason.NO_JOURNEY,): 7})
    telemetry.counts(names.DELIVERED, lambda: settled)
    telemetry.counts(names.CONDITIONS, lambda: {("welcome", "trigger.when"): 3})
    telemetry.close()
    found = receiver.metrics()
    assert points(found["hookline.unsettled"]) == {(): 41}
    assert points(found["hookline.ledger"]) == {(("reason", "no_journey"),): 7}
    assert points(found["hookline.conditions.failed"]) == {
        ((names.JOURNEY, "welcome"), (names.PLACE, "trigger.when")): 3
    }
    assert points(found["hookline.deliveries"]) == {
        ((names.DESTINATION, to), (names.OUTCOME, str(outcome))): count for (to, outcome), count in settled.items()
    }
    assert found["hookline.deliveries"].sum.is_monotonic
    for metric in (names.UNSETTLED, names.LEDGER, names.DELIVERED):
        assert (found[metric.name].unit, found[metric.name].description) == (metric.unit, metric.meaning)


def test_export_goes_on_by_itself_every_interval(receiver):
    telemetry = OtelTelemetry(Settings("worker-1", PLACES, endpoint=receiver.url, interval_ms=20), environ={})
    telemetry.watch("crm", busy())
    try:
        wait_until(lambda: "hookline.attempts" in receiver.metrics(), 10, "an export before the end")
    finally:
        telemetry.close()
