"""Keeps written spans until its thread has posted them: bounded, and nobody who leaves any here waits.

The SDK's exporter does the posting, with its retries and its settings from the environment (headers, TLS, compression,
time-out); bytes are handed to it below the place where it would encode spans itself.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

QUEUE_SPANS_MAX: Final = 16_384
"""Spans waiting for export, about 300 bytes each; more are dropped and counted."""
BATCH_SPANS: Final = 1_024
"""Spans after which a request is full: about 300 KB, where collectors refuse more than 4 to 20 MB. Posting one costs a
millisecond, whatever it holds; a larger one costs memory."""
DELAY_S: Final = 1.0
"""How long fewer than that may wait. OTEL_BSP_SCHEDULE_DELAY, in ms, wins over it."""
END_S: Final = 30.0
"""Longest wait for the thread at the end; the caller's own bound is shorter."""


def delay_s(environ: Mapping[str, str]) -> float:
    """Return how long spans may wait, by the environment, in seconds; what is no number of ms counts for nothing."""
    asked = environ.get("OTEL_BSP_SCHEDULE_DELAY", "").strip()
    return int(asked) / 1_000 if asked.isdecimal() and int(asked) else DELAY_S


class Poster(OTLPSpanExporter):
    """Posts ready-made export requests. `_client` is the SDK's own: see docs/decisions/0025-spans.md."""

    def fits(self) -> bool:
        """Whether this release of the SDK is one that takes ready-made requests."""
        return hasattr(self, "_client")

    def post(self, request: bytes) -> bool:
        """Whether the collector took it; blocks until it did, refused, or the exporter's time-out passed."""
        return self._client.export(request).success


class Outbox:
    """Spans of one process on their way out. `put` and `full` are called on the loop, all else happens in the thread.

    Counters have one writer each: `handed` and `dropped` the loop, the others the thread.
    """

    def __init__(self, poster: Poster, made: Callable[[Sequence[bytes]], bytes], delay_s: float = DELAY_S) -> None:
        """Start the thread. `made` turns spans into a request."""
        self.handed = self.dropped = self.taken = self.exported = self.failed = 0
        self._poster = poster
        self._made = made
        self._delay_s = delay_s
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="export-spans", daemon=True)
        self._thread.start()

    def full(self, spans: int) -> bool:
        """Whether so many more spans do not fit; they then count as dropped."""
        if self.handed - self.taken + spans <= QUEUE_SPANS_MAX:
            return False
        self.dropped += spans
        return True

    def put(self, written: bytes, spans: int) -> None:
        """Leave spans here, joined as written. Never blocks."""
        self.handed += spans
        self._waiting.append((written, spans))
        if self.handed - self.taken >= BATCH_SPANS and not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Post what is left and end the thread; blocks for END_S at most. Idempotent."""
        self._closed = True
        self._wake.set()
        self._thread.join(END_S)
        self._poster.shutdown()  # type: ignore[no-untyped-call] # ends a wait between two tries, too

    def _run(self) -> None:
        while not self._closed:
            woken = self._wake.wait(self._delay_s)
            self._wake.clear()  # before looking: what comes from here on wakes again
            while self.handed - self.taken >= BATCH_SPANS:
                self._send()
            if self._waiting and not woken:
                self._send()
        while self._waiting:
            self._send()

    def _send(self) -> None:
        parts: list[bytes] = []
        spans = 0
        while self._waiting and spans < BATCH_SPANS:
            written, number = self._waiting.popleft()
            parts.append(written)
            spans += number
        self.taken += spans
        taken = False
        try:
            taken = self._poster.post(self._made(parts))
        finally:
            if taken:
                self.exported += spans
            else:
                self.failed += spans
