"""Makes the sender's span the parent of the application's own ones, where OpenTelemetry's API is installed.

Source: W3C Trace Context. The API alone does nothing: without an SDK the application exports no spans, and this costs
little.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

try:
    from opentelemetry import context, trace
except ImportError:  # it is optional for an endpoint, though not for Hookline
    context = trace = None  # type: ignore[assignment] # the absent module is None from here on

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.model import Trace


@contextmanager
def joined(sender: Trace) -> Iterator[None]:
    """Within it, new spans are children of the sender's, or of the server span that is current already."""
    if trace is None or not sender.parent_id or trace.get_current_span().get_span_context().is_valid:
        yield
        return
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sender.sampled else trace.TraceFlags.DEFAULT)
    state = trace.TraceState.from_header([sender.state]) if sender.state else None
    parent = trace.SpanContext(int(sender.trace_id, 16), int(sender.parent_id, 16), True, flags, state)
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        yield
    finally:
        context.detach(token)
