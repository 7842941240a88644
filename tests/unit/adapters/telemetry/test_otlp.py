"""Spans written by hand are the bytes that protobuf writes, and requests what the SDK sends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode
from opentelemetry.trace import Status as SdkStatus

from pipeline.adapters.telemetry import names, otlp

TEXT = st.one_of(st.text(max_size=300), st.sampled_from(["", "a" * 60, "a" * 127, "a" * 128, "é" * 64, "x" * 20_000]))
WHOLE = st.integers(-(2**63), 2**63 - 1)
KEYS = st.sampled_from(["error.type", "k" * 99])
STAMP = st.integers(0, 2**63 - 1)


@given(KEYS, TEXT)
def test_a_text_is_written_as_protobuf_writes_it(key, content):
    kept = content.encode("utf-8", "replace").decode()
    wanted = Span(attributes=[KeyValue(key=key, value=AnyValue(string_value=kept))])
    assert otlp.text(key)(content) == wanted.SerializeToString()


@given(KEYS, WHOLE)
def test_an_integer_is_written_as_protobuf_writes_it(key, content):
    wanted = Span(attributes=[KeyValue(key=key, value=AnyValue(int_value=content))])
    assert otlp.integer(key)(content) == wanted.SerializeToString()


def test_text_that_is_no_unicode_is_written_all_the_same():
    assert Span.FromString(otlp.text("k")("a\ud800b")).attributes[0].value.string_value == "a?b"


@given(
    st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.booleans(), TEXT,
    st.sampled_from([otlp.INTERNAL, otlp.CLIENT, otlp.PRODUCER, otlp.CONSUMER]), STAMP, STAMP, TEXT, st.booleans(),
    st.booleans(), st.booleans(),
)  # fmt: skip
def test_a_span_is_written_as_protobuf_writes_it(
    trace, own, child, name, kind, start, end, content, linked, failed, remote
):
    name, content = (each.encode("utf-8", "replace").decode() for each in (name, content))
    flags = 0x300 if remote else 0x100
    wanted = Span(
        trace_id=trace, span_id=own, parent_span_id=own if child else b"", name=name, kind=kind,
        start_time_unix_nano=start, end_time_unix_nano=max(start, end), flags=flags,
        attributes=[KeyValue(key="k", value=AnyValue(string_value=content))],
        links=[Span.Link(trace_id=trace, span_id=own, flags=0x300)] if linked else (),
        status=Status(code=Status.STATUS_CODE_ERROR, message=content) if failed else None,
    )  # fmt: skip
    ending = (otlp.link(trace, own) if linked else b"") + (otlp.failed(content) if failed else b"")
    ending += otlp.REMOTE if remote else otlp.LOCAL
    written = otlp.span(
        trace, own, own if child else b"", otlp.named(name, kind), start, end, otlp.text("k")(content), ending
    )
    got = ScopeSpans.FromString(written)
    assert got == ScopeSpans(spans=[wanted])
    # Protobuf leaves out what is empty or zero; we write it, which means the same.
    if name and start and end and not (failed and not content):
        assert written == ScopeSpans(spans=[wanted]).SerializeToString()


def test_a_request_is_the_one_the_sdk_would_send():
    resource = Resource(
        {"service.name": "hookline", "process.command_args": ["a", "b"], "n": 1, "yes": True, "f": 0.5},
        "https://opentelemetry.io/schemas/1.30.0",
    )
    trace, own, parent = 2**100 + 3, 7, 9
    read = ReadableSpan(
        name="PATCH", context=SpanContext(trace, own, is_remote=False),
        parent=SpanContext(trace, parent, is_remote=True), resource=resource, kind=SpanKind.CLIENT,
        attributes={"error.type": "timeout", "server.port": 443}, start_time=10**18, end_time=10**18 + 5,
        links=[Link(SpanContext(trace, parent, is_remote=True))],
        status=SdkStatus(StatusCode.ERROR, "timeout"), instrumentation_scope=InstrumentationScope(names.SCOPE),
    )  # fmt: skip
    ids = trace.to_bytes(16, "big"), own.to_bytes(8, "big"), parent.to_bytes(8, "big")
    written = otlp.span(
        *ids, otlp.named("PATCH", otlp.CLIENT), 10**18, 10**18 + 5,
        otlp.text("error.type")("timeout") + otlp.integer("server.port")(443),
        otlp.link(ids[0], ids[2]) + otlp.failed("timeout") + otlp.REMOTE,
    )  # fmt: skip
    sent = ExportTraceServiceRequest.FromString(otlp.Request(resource).of([written, written]))
    assert sent == encode_spans([read, read])
