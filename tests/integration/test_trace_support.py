"""The real collector and Zipkin that tracing tests lean on: a span sent as OTLP is found in both."""

from __future__ import annotations

import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from tests.support.conditions import wait_until


def test_a_span_reaches_the_collector_and_zipkin(collector_to_zipkin, zipkin):
    provider = TracerProvider(resource=Resource({"service.name": "support"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector_to_zipkin.endpoint}/v1/traces")))
    with provider.get_tracer("support").start_as_current_span("attempt", attributes={"n": 3, "event.id": "e1"}) as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    provider.shutdown()

    (seen,) = wait_until(collector_to_zipkin.spans, what="the span in the collector")
    assert (seen["traceId"], seen["name"], seen["scope"]) == (trace_id, "attempt", "support")
    assert seen["attributes"] == {"n": 3, "event.id": "e1"}
    assert seen["resource"]["service.name"] == "support"
    assert int(seen["startTimeUnixNano"]) <= time.time_ns()
    (shown,) = wait_until(lambda: zipkin.trace(trace_id), what="the span in Zipkin")
    assert shown["tags"]["event.id"] == "e1"
