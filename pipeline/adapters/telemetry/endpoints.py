"""Decides where telemetry is sent: the configuration's endpoint, else the standard OTEL_ environment variables.

Source: OpenTelemetry Protocol Exporter specification, "Endpoint URLs for OTLP/HTTP": an explicit setting comes
before the environment. With none set nothing is exported. OTEL_SDK_DISABLED and OTEL_*_EXPORTER=none switch off either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.model import value

if TYPE_CHECKING:
    from collections.abc import Mapping

_BASE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"


@value
class Endpoints:
    """Full URLs of the two signals; "" exports nothing."""

    traces: str
    metrics: str


def choose(environ: Mapping[str, str], configured: str) -> Endpoints:
    """Return where to send. `configured` is a base URL or "": `/v1/traces` and `/v1/metrics` are appended to it."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Endpoints("", "")
    return Endpoints(_signal(environ, configured, "TRACES"), _signal(environ, configured, "METRICS"))


def unsupported_protocol(environ: Mapping[str, str]) -> str:
    """Return the protocol the environment asks for if it is one we do not speak (we speak http/protobuf), else ""."""
    protocol = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip()
    return "" if protocol in {"", "http/protobuf"} else protocol


def _signal(environ: Mapping[str, str], configured: str, signal: str) -> str:
    if environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none":
        return ""
    exact = environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()
    if exact and not configured:
        return exact
    base = configured or environ.get(_BASE, "").strip()
    return f"{base.rstrip('/')}/v1/{signal.lower()}" if base else ""
