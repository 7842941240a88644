"""The application's own spans join the sender's trace; without OpenTelemetry nothing is missed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pipeline.model import Trace
from pipeline.receiver.tracing import joined

SENDER = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True, state="vendor=1")


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("shop"), exporter
    provider.shutdown()


def test_a_span_of_the_application_is_a_child_of_the_senders(spans):
    tracer, exporter = spans
    with joined(SENDER), tracer.start_as_current_span("save order"):
        pass
    [span] = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == SENDER.trace_id
    assert f"{span.parent.span_id:016x}" == SENDER.parent_id
    assert (span.parent.is_remote, span.context.trace_state.to_header()) == (True, "vendor=1")
    assert not trace.get_current_span().get_span_context().is_valid


def test_what_the_sender_does_not_sample_is_not_sampled_here(spans):
    tracer, exporter = spans
    with joined(Trace(SENDER.trace_id, SENDER.parent_id, sampled=False)), tracer.start_as_current_span("x") as span:
        assert f"{span.get_span_context().trace_id:032x}" == SENDER.trace_id
    assert not exporter.get_finished_spans()


def test_a_server_span_that_is_current_stays_the_parent(spans):
    tracer, exporter = spans
    with tracer.start_as_current_span("POST /hooks"), joined(SENDER), tracer.start_as_current_span("save order"):
        pass
    inner, outer = exporter.get_finished_spans()
    assert inner.parent.span_id == outer.context.span_id


def test_without_a_trace_a_span_starts_its_own(spans):
    tracer, exporter = spans
    with joined(Trace("", "", sampled=False)), tracer.start_as_current_span("x"):
        pass
    assert exporter.get_finished_spans()[0].parent is None


def test_an_endpoint_without_opentelemetry_works():
    code = f"""
import sys
sys.modules["opentelemetry"] = None
from pipeline.model import Trace
from pipeline.receiver.tracing import joined
import pipeline.receiver
with joined(Trace({SENDER.trace_id!r}, {SENDER.parent_id!r}, True)):
    print("good")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("good\n", "")
