"""Where telemetry is sent: the configuration first, then the standard environment variables."""

import pytest

from pipeline.adapters.telemetry import endpoints
from pipeline.adapters.telemetry.endpoints import Endpoints


@pytest.mark.parametrize(
    ("environ", "configured", "expected"),
    [
        ({}, "", Endpoints("", "")),
        ({}, "http://c:4318", Endpoints("http://c:4318/v1/traces", "http://c:4318/v1/metrics")),
        ({}, "http://c:4318/otlp/", Endpoints("http://c:4318/otlp/v1/traces", "http://c:4318/otlp/v1/metrics")),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:4318/"},
            "",
            Endpoints("http://e:4318/v1/traces", "http://e:4318/v1/metrics"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:4318"},
            "http://c:4318",
            Endpoints("http://c:4318/v1/traces", "http://c:4318/v1/metrics"),
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:9411/exact"},
            "",
            Endpoints("http://t:9411/exact", ""),
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://e:4318", "OTEL_METRICS_EXPORTER": "none"},
            "",
            Endpoints("http://e:4318/v1/traces", ""),
        ),
        ({"OTEL_SDK_DISABLED": "true"}, "http://c:4318", Endpoints("", "")),
    ],
)
def test_the_configuration_then_the_environment_says_where_to(environ, configured, expected):
    assert endpoints.choose(environ, configured) == expected


@pytest.mark.parametrize(
    ("asked", "unsupported"), [("", ""), ("http/protobuf", ""), ("grpc", "grpc"), ("http/json", "http/json")]
)
def test_only_one_protocol_is_spoken(asked, unsupported):
    environ = {"OTEL_EXPORTER_OTLP_PROTOCOL": asked} if asked else {}
    assert endpoints.unsupported_protocol(environ) == unsupported
