"""What telemetry does as a whole: which traces are kept, where it exports to, and that its end is bounded."""

import io
import threading
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters import telemetry as module
from pipeline.adapters.telemetry import OtelTelemetry, Places, Settings, names, threshold
from pipeline.config.load import load
from pipeline.ports import LaneStats, Telemetry
from tests.support.conditions import wait_until
from tests.support.folder import write_folder
from tests.support.otlp import OtlpReceiver

PLACES = Places("hookline", "hookline.retry", "hookline.retry.", "hookline.outcomes", "hookline.dead", {})


def silent(sample=0.01, **environ):
    return OtelTelemetry(Settings("worker-1", PLACES, sample=sample), environ=environ, stream=io.BytesIO())


def kept(trace_id, ratio):
    return trace_id[-14:] >= threshold(ratio)


def test_it_is_the_port():
    port: Telemetry = silent()
    port.close()


# -- sampling


@given(st.integers(0, 2**128 - 1), st.floats(0, 1))
def test_a_trace_is_kept_by_its_last_56_bits_alone(trace, ratio):
    rejected = round((1 - ratio) * 2**56)
    assert kept(f"{trace:032x}", ratio) == (ratio > 0 and trace % 2**56 >= rejected)


@given(st.integers(0, 2**128 - 1), st.floats(0, 1), st.floats(0, 1))
def test_what_a_smaller_share_keeps_a_larger_one_keeps_too(trace, one, other):
    low, high = sorted((one, other))
    assert kept(f"{trace:032x}", high) or not kept(f"{trace:032x}", low)


def test_the_share_of_uuids_kept_is_the_share_asked_for():
    # UUIDv4's variant bits lie above the 56: by the lower 64 bits nothing under one half would ever be kept.
    traces = [
        uuid.UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % 2**128, version=4).hex for number in range(20_000)
    ]
    share = sum(kept(trace, 0.1) for trace in traces) / len(traces)
    assert 0.09 < share < 0.11


@pytest.mark.parametrize("last", ["0" * 14, "f" * 14])
def test_all_and_nothing_are_exact(last):
    trace_id = "0" * 18 + last
    with_all, with_none = silent(1.0), silent(0.0)
    assert with_all.sampled(trace_id)
    assert not with_none.sampled(trace_id)
    with_all.close()
    with_none.close()


# -- where to


def test_without_an_endpoint_there_is_no_thread_and_no_line():
    before = set(threading.enumerate())
    stream = io.BytesIO()
    telemetry = OtelTelemetry(Settings("worker-1", PLACES), environ={}, stream=stream)
    telemetry.watch("crm", LaneStats())
    telemetry.gauge(names.UNSETTLED, lambda: 0)
    telemetry.counts(names.LEDGER, dict)
    assert set(threading.enumerate()) == before
    telemetry.close()
    assert stream.getvalue() == b""


def test_a_protocol_we_do_not_speak_is_said_once():
    stream = io.BytesIO()
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces",
    }
    OtelTelemetry(Settings("worker-1", PLACES), environ=environ, stream=stream).close()
    assert stream.getvalue().count(b"otlp_protocol_unsupported") == 1


# -- the end


def test_a_collector_that_does_not_answer_holds_the_end_up_no_longer_than_the_bound(monkeypatch):
    monkeypatch.setattr(module, "CLOSE_S", 0.2)
    stream = io.BytesIO()
    with OtlpReceiver() as receiver:
        receiver.hold.clear()
        telemetry = OtelTelemetry(Settings("worker-1", PLACES, endpoint=receiver.url), environ={}, stream=stream)
        telemetry.watch("crm", LaneStats())
        telemetry.close()  # returns although nothing was answered yet
        assert not receiver.bodies
        assert b"telemetry_not_flushed" in stream.getvalue()
        telemetry.close()  # idempotent
        assert stream.getvalue().count(b"telemetry_not_flushed") == 1


# -- from a configuration


def test_it_starts_as_the_configuration_says(tmp_path, monkeypatch):
    write_folder(tmp_path, "shop", "lifecycle.events", "127.0.0.1:1")
    with (tmp_path / "hookline.yaml").open("a") as file:
        file.write('telemetry: {sample: 25%, endpoint: "env:OTLP", interval: 20ms}\n')
    with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTLP", receiver.url)
        telemetry = OtelTelemetry.of(load(tmp_path, None), "worker-1")
        try:
            places = telemetry._tracing._places
            assert (places.group, places.retry_group) == ("shop", "shop.retry")
            assert (places.outcomes, places.dead, places.retry_prefix) == ("shop.outcomes", "shop.dead", "shop.retry.")
            assert places.servers == {"crm": ("crm.example", 443)}
            assert telemetry._threshold == threshold(0.25)
            telemetry.watch("crm", LaneStats())
            wait_until(lambda: "hookline.queue" in receiver.metrics(), 10, "an export after 20 ms")
        finally:
            telemetry.close()
