"""Exports spans after the fact: from stored times and the span IDs that requests already carried.

Nothing is traced while an event is on its way. What is sampled, or failed, becomes spans once it is settled:

    process <topic>                 CONSUMER, child of the producer's span; a retried hop links to its hand-over
    ├── deliver <journey>.<step>    INTERNAL, one per delivery settled here
    │   ├── <METHOD>                CLIENT, one per attempt that was kept
    │   ├── send <group>.outcomes   PRODUCER
    │   └── send <group>.dead       PRODUCER, for `rejected` and `dead`
    └── send <group>.retry.<delay>  PRODUCER, one per hand-over of a run

and what `hookline produce` publishes is `send <topic>`, PRODUCER, the root of its event's trace.

A span never holds a full URL, a record key, trace state or anything of the payload: names, codes and positions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from pipeline.adapters.telemetry import names
from pipeline.model import LedgerReason, Outcome, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

    from pipeline.model import Attempt, Delivery, Flight, Run

QUEUE_SPANS_MAX: Final = 4_096
"""Spans waiting for export, about 2 KB each; more are dropped and counted."""

BATCH_SPANS: Final = 512
TEXT_CHARS_MAX: Final = 200
"""Longest text attribute; an event ID or topic may be longer, a span need not."""

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_STATE: Final = TraceState()
_UNSET: Final = Status(StatusCode.UNSET)
_FAILED: Final = frozenset({Outcome.REJECTED, Outcome.DEAD, Outcome.DEFAULTED, Outcome.RETRYING})
_DEAD_LETTERED: Final = frozenset({Outcome.REJECTED, Outcome.DEAD})

_Attributes = dict[str, str | int]


@value
class Places:
    """The names spans need beside what a delivery holds: own topics and groups, each destination's host and port."""

    group: str
    retry_group: str
    retry_prefix: str
    outcomes: str
    dead: str
    servers: Mapping[str, tuple[str, int]]


@value
class Published:
    """One event put on Kafka. IDs as in its `traceparent`; times in Unix ns, from queueing to the ack.

    `error` is Kafka's name for why it was refused, "" if it was not; then there is no partition and no offset.
    """

    topic: str
    event_id: str
    trace_id: str
    span_id: str
    started_ns: int
    ended_ns: int
    partition: int
    offset: int
    error: str


class Tracing:
    """Turns settled deliveries into spans and queues them; export happens in one thread of the SDK.

    All methods but `close` are called on the loop and never block; a full queue drops the newest and counts them.
    """

    def __init__(
        self, exporter: SpanExporter, resource: Resource, places: Places, random_bits: Callable[[int], int]
    ) -> None:
        self.dropped = 0
        self._exporter = _Counted(exporter)
        self._processor: SpanProcessor = BatchSpanProcessor(
            self._exporter, max_queue_size=QUEUE_SPANS_MAX, max_export_batch_size=BATCH_SPANS
        )
        self._resource = resource
        self._scope = InstrumentationScope(names.SCOPE)
        self._places = places
        self._random_bits = random_bits
        self._handed = 0
        self._sent = ""  # the latest hand-over that was exported

    def counts(self) -> dict[tuple[str, ...], int]:
        """Return how many spans were exported, failed to be, and were dropped, since the start."""
        return {("exported",): self._exporter.exported, ("failed",): self._exporter.failed, ("dropped",): self.dropped}

    def settled(self, delivery: Delivery, outcome: Outcome, reason: str, now_ns: int) -> None:
        """Export one delivery, its kept attempts and what was written; the position's own span with the first one."""
        attempts = delivery.history or ()
        if self._full(len(attempts) + 4):
            return
        run = delivery.run
        flight = run.flight
        step = delivery.step
        trace_id = int(flight.trace.trace_id, 16)
        if not flight.span_id:
            self._process(trace_id, flight, run, "", now_ns)
        span = self._span_id()
        failed = outcome in _FAILED
        attributes: _Attributes = {
            **_event(flight),
            names.DELIVERY_ID: delivery.id,
            names.JOURNEY: step.journey,
            names.STEP: step.name,
            names.DESTINATION: step.destination,
            names.OUTCOME: outcome.value,
            names.ATTEMPTS: delivery.attempts,
        }
        if reason:
            attributes[names.REASON] = str(reason)
        if failed and reason:
            attributes[names.ERROR] = str(reason)
        self._emit(
            f"deliver {step.journey}.{step.name}", SpanKind.INTERNAL, trace_id, span, int(flight.span_id, 16),
            flight.received_ns, now_ns, attributes, _error(reason) if failed else _UNSET,
        )  # fmt: skip
        for attempt in attempts:
            self._attempt(trace_id, span, delivery, attempt)
        self._send(self._places.outcomes, trace_id, self._span_id(), span, flight, now_ns)
        if outcome in _DEAD_LETTERED:
            self._send(self._places.dead, trace_id, self._span_id(), span, flight, now_ns)
        elif outcome is Outcome.RETRYING and run.sent and run.sent != self._sent:
            # Settling tells every delivery of one hand-over in a row: remembering the latest is enough.
            self._sent = run.sent
            self._send(run.sent_to, trace_id, int(run.sent, 16), int(flight.span_id, 16), flight, now_ns)

    def position(self, flight: Flight, reason: str, now_ns: int) -> None:
        """Export the span of a position that had no delivery, and of its dead letter if it was undecodable."""
        if flight.span_id or self._full(2):
            return
        trace_id = int(flight.trace.trace_id, 16)
        self._process(trace_id, flight, None, reason, now_ns)
        if flight.ledger is LedgerReason.UNDECODABLE:
            self._send(self._places.dead, trace_id, self._span_id(), int(flight.span_id, 16), flight, now_ns)

    def published(self, sent: Published) -> None:
        """Export the span of an event this process put on Kafka, under the ID its `traceparent` carries."""
        if self._full(1):
            return
        attributes: _Attributes = {
            names.EVENT_ID: sent.event_id[:TEXT_CHARS_MAX],
            names.SYSTEM: "kafka",
            names.OPERATION_TYPE: "send",
            names.OPERATION_NAME: "send",
            names.TOPIC: sent.topic[:TEXT_CHARS_MAX],
        }
        if sent.error:
            attributes[names.ERROR] = sent.error
        else:
            attributes[names.PARTITION] = str(sent.partition)
            attributes[names.OFFSET] = sent.offset
        self._emit(
            f"send {sent.topic[:TEXT_CHARS_MAX]}", SpanKind.PRODUCER, int(sent.trace_id, 16), int(sent.span_id, 16), 0,
            sent.started_ns, sent.ended_ns, attributes, _error(sent.error) if sent.error else _UNSET,
        )  # fmt: skip

    def close(self) -> None:
        """Export what is queued and end the thread. Blocks as long as the exporter does: the caller bounds it."""
        self._processor.shutdown()

    # ------------------------------------------------------------------------------------------- each span

    def _process(self, trace_id: int, flight: Flight, run: Run | None, reason: str, now_ns: int) -> None:
        record = flight.record
        places = self._places
        retried = record.topic.startswith(places.retry_prefix)
        attributes: _Attributes = {
            names.SYSTEM: "kafka",
            names.OPERATION_TYPE: "process",
            names.OPERATION_NAME: "process",
            names.TOPIC: record.topic[:TEXT_CHARS_MAX],
            names.PARTITION: str(record.partition),
            names.OFFSET: record.offset,
            names.GROUP: places.retry_group if retried else places.group,
            names.DELIVERIES: flight.deliveries,
            **_event(flight),
        }
        if flight.event is not None:
            attributes[names.EVENT_TYPE] = flight.event.type[:TEXT_CHARS_MAX]
        status = _UNSET
        if reason:
            attributes[names.REASON] = reason[:TEXT_CHARS_MAX]
        if flight.ledger is LedgerReason.UNDECODABLE:
            attributes[names.ERROR] = flight.ledger.value
            status = _error(flight.ledger)
        links: Sequence[Link] = ()
        if run is not None and run.hop:
            attributes[names.HOP] = run.hop
            source = flight.source
            attributes[names.SOURCE_TOPIC] = source[0][:TEXT_CHARS_MAX]
            attributes[names.SOURCE_PARTITION] = str(source[1])
            attributes[names.SOURCE_OFFSET] = source[2]
            if run.link:
                links = (Link(self._context(trace_id, int(run.link, 16), remote=True)),)
        span = self._span_id()
        flight.span_id = f"{span:016x}"
        parent_id = int(flight.trace.parent_id, 16) if flight.trace.parent_id else 0
        self._emit(
            f"process {record.topic[:TEXT_CHARS_MAX]}", SpanKind.CONSUMER, trace_id, span, parent_id,
            flight.received_ns, now_ns, attributes, status, links, remote=True,
        )  # fmt: skip

    def _attempt(self, trace_id: int, parent_id: int, delivery: Delivery, attempt: Attempt) -> None:
        step = delivery.step
        host, port = self._places.servers.get(step.destination, ("", 0))
        attributes: _Attributes = {
            **_event(delivery.run.flight),
            names.DELIVERY_ID: delivery.id,
            names.METHOD: step.method,
            names.URL_TEMPLATE: step.url_template,
        }
        if host:
            attributes[names.SERVER] = host
            attributes[names.PORT] = port
        if attempt.status:
            attributes[names.STATUS] = attempt.status
        if attempt.number > 1:
            attributes[names.RESENDS] = attempt.number - 1
        if attempt.cls:
            attributes[names.ERROR] = str(attempt.cls)
        self._emit(
            step.method, SpanKind.CLIENT, trace_id, int(attempt.span_id, 16), parent_id,
            attempt.started_ns, attempt.ended_ns, attributes, _error(attempt.cls) if attempt.cls else _UNSET,
        )  # fmt: skip

    def _send(self, topic: str, trace_id: int, span: int, parent_id: int, flight: Flight, now_ns: int) -> None:
        attributes: _Attributes = {
            **_event(flight),
            names.SYSTEM: "kafka",
            names.OPERATION_TYPE: "send",
            names.OPERATION_NAME: "send",
            names.TOPIC: topic,
        }
        self._emit(f"send {topic}", SpanKind.PRODUCER, trace_id, span, parent_id, now_ns, now_ns, attributes, _UNSET)

    # --------------------------------------------------------------------------------------------- queueing

    def _emit(
        self,
        name: str,
        kind: SpanKind,
        trace_id: int,
        span_id: int,
        parent_id: int,
        start_ns: int,
        end_ns: int,
        attributes: _Attributes,
        status: Status,
        links: Sequence[Link] = (),
        *,
        remote: bool = False,
    ) -> None:
        self._handed += 1
        self._processor.on_end(
            ReadableSpan(
                name=name,
                context=self._context(trace_id, span_id),
                parent=self._context(trace_id, parent_id, remote=remote) if parent_id else None,
                resource=self._resource,
                attributes=attributes,
                links=links,
                kind=kind,
                status=status,
                start_time=start_ns,
                end_time=max(start_ns, end_ns),  # a clock set back must not make a span of negative length
                instrumentation_scope=self._scope,
            )
        )

    def _full(self, spans: int) -> bool:
        """Whether so many more spans do not fit; they then count as dropped."""
        if self._handed - self._exporter.taken + spans <= QUEUE_SPANS_MAX:
            return False
        self.dropped += spans
        return True

    def _span_id(self) -> int:
        return self._random_bits(64) or 1  # zero is no span ID

    @staticmethod
    def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
        return SpanContext(trace_id, span_id, remote, _SAMPLED, _STATE)


class _Counted(SpanExporter):
    """Counts what passes; the SDK's own queue only logs what it drops."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.taken = 0
        self.exported = 0
        self.failed = 0
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Pass a batch on; blocks the export thread until the collector took or refused it."""
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """End the exporter, and any wait it is in."""
        self._exporter.shutdown()


def _event(flight: Flight) -> _Attributes:
    return {} if flight.event is None else {names.EVENT_ID: flight.event.id[:TEXT_CHARS_MAX]}


def _error(cls: str) -> Status:
    return Status(StatusCode.ERROR, str(cls))
