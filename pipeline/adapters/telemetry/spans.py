"""Exports spans after the fact: from stored times and the span IDs that requests already carried.

Nothing is traced while an event is on its way. What is sampled, or failed, becomes spans once it is settled:

    process <topic>                 CONSUMER, child of the producer's span; a retried hop links to its hand-over
    ├── deliver <journey>.<step>    INTERNAL, one per delivery settled here
    │   ├── <METHOD>                CLIENT, one per attempt that was kept
    │   ├── send <group>.outcomes   PRODUCER
    │   └── send <group>.dead       PRODUCER, for `rejected` and `dead`
    └── send <group>.retry.<delay>  PRODUCER, one per hand-over of a run; also to <group>.ordered.<journey>

and what `hookline produce` publishes is `send <topic>`, PRODUCER, the root of its event's trace.

A span never holds a full URL, a record key, trace state or anything of the payload: names, codes and positions only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pipeline.adapters.telemetry import names, otlp
from pipeline.model import LedgerReason, Outcome, value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pipeline.adapters.telemetry.outbox import Outbox
    from pipeline.model import Attempt, Delivery, Flight, Run, Step

TEXT_CHARS_MAX: Final = 200
"""Longest text attribute; an event ID or topic may be longer, a span need not."""
REMEMBERED_MAX: Final = 1_000
"""Topics and steps whose constant parts are kept; a configuration has fewer, and runs of former ones come and go."""

_FAILED: Final = frozenset({Outcome.REJECTED, Outcome.DEAD, Outcome.DEFAULTED, Outcome.RETRYING})
_DEAD_LETTERED: Final = frozenset({Outcome.REJECTED, Outcome.DEAD})

_SYSTEM: Final = otlp.text(names.SYSTEM)("kafka")
_TYPE: Final = otlp.text(names.OPERATION_TYPE)
_OPERATION: Final = otlp.text(names.OPERATION_NAME)
_TOPIC: Final = otlp.text(names.TOPIC)
_PARTITION: Final = otlp.text(names.PARTITION)
_OFFSET: Final = otlp.integer(names.OFFSET)
_GROUP: Final = otlp.text(names.GROUP)
_METHOD: Final = otlp.text(names.METHOD)
_URL_TEMPLATE: Final = otlp.text(names.URL_TEMPLATE)
_SERVER: Final = otlp.text(names.SERVER)
_PORT: Final = otlp.integer(names.PORT)
_STATUS: Final = otlp.integer(names.STATUS)
_RESENDS: Final = otlp.integer(names.RESENDS)
_ERROR: Final = otlp.text(names.ERROR)
_EVENT_ID: Final = otlp.text(names.EVENT_ID)
_EVENT_TYPE: Final = otlp.text(names.EVENT_TYPE)
_DELIVERIES: Final = otlp.integer(names.DELIVERIES)
_HOP: Final = otlp.integer(names.HOP)
_SOURCE_TOPIC: Final = otlp.text(names.SOURCE_TOPIC)
_SOURCE_PARTITION: Final = otlp.text(names.SOURCE_PARTITION)
_SOURCE_OFFSET: Final = otlp.integer(names.SOURCE_OFFSET)
_DELIVERY_ID: Final = otlp.text(names.DELIVERY_ID)
_JOURNEY: Final = otlp.text(names.JOURNEY)
_STEP: Final = otlp.text(names.STEP)
_DESTINATION: Final = otlp.text(names.DESTINATION)
_OUTCOME: Final = otlp.text(names.OUTCOME)
_REASON: Final = otlp.text(names.REASON)
_ATTEMPTS: Final = otlp.integer(names.ATTEMPTS)
_OUTCOMES: Final = {each: _OUTCOME(each.value) for each in Outcome}


@value
class Places:
    """The names spans need beside what a delivery holds: own topics and groups, each destination's host and port."""

    group: str
    retry_group: str
    retry_prefix: str
    outcomes: str
    dead: str
    servers: Mapping[str, tuple[str, int]]
    ordered_group: str = ""
    ordered_prefix: str = ""  # "": no journey keeps order
    copies: str = ""  # of events under their customers' IDs; their consumer group has the topic's name


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


@value
class _Named:
    """What the spans of one kind have in common: name and kind, and attributes."""

    named: bytes
    attributes: bytes


class _Remembered(dict[tuple[str, ...], tuple[_Named, _Named]]):
    """Made once for each topic or step, and begun anew when there are too many."""

    def keep(self, key: tuple[str, ...], made: tuple[_Named, _Named]) -> tuple[_Named, _Named]:
        if len(self) >= REMEMBERED_MAX:
            self.clear()
        self[key] = made
        return made


class Tracing:
    """Turns settled deliveries into spans, written at once: less to keep than what they are made of.

    All methods are called on the loop and never block; where the outbox has no room the newest are dropped.
    """

    def __init__(self, outbox: Outbox, places: Places, random_bits: Callable[[int], int]) -> None:
        self._outbox = outbox
        self._places = places
        self._random_bits = random_bits
        self._topics = _Remembered()
        self._steps = _Remembered()
        self._sent = ""  # the latest hand-over that was exported

    def counts(self) -> dict[tuple[str, ...], int]:
        """Return how many spans were exported, failed to be, and were dropped, since the start."""
        outbox = self._outbox
        return {("exported",): outbox.exported, ("failed",): outbox.failed, ("dropped",): outbox.dropped}

    def settled(self, delivery: Delivery, outcome: Outcome, reason: str, now_ns: int) -> None:
        """Export one delivery, its kept attempts and what was written; the position's own span with the first one."""
        attempts = delivery.history or ()
        if self._outbox.full(len(attempts) + 4):
            return
        run = delivery.run
        flight = run.flight
        trace = bytes.fromhex(flight.trace.trace_id)
        event = _event(flight)
        written: list[bytes] = []
        if not flight.span_id:
            written.append(self._process(trace, event, flight, run, "", now_ns))
        position, span = bytes.fromhex(flight.span_id), self._span_id()
        deliver, attempted = self._of_step(delivery.step)
        about = event + _DELIVERY_ID(delivery.id)
        attributes = about + deliver.attributes + _OUTCOMES[outcome] + _ATTEMPTS(delivery.attempts)
        ending = otlp.LOCAL
        if reason:
            attributes += _REASON(reason)
            if outcome in _FAILED:
                attributes += _ERROR(reason)
        if outcome in _FAILED:
            ending = otlp.failed(reason) + otlp.LOCAL
        written.append(otlp.span(trace, span, position, deliver.named, flight.received_ns, now_ns, attributes, ending))
        written.extend(_attempt(trace, span, attempted, about, attempt) for attempt in attempts)
        written.append(self._send(self._places.outcomes, trace, self._span_id(), span, event, now_ns))
        if outcome in _DEAD_LETTERED:
            written.append(self._send(self._places.dead, trace, self._span_id(), span, event, now_ns))
        elif outcome is Outcome.RETRYING and run.sent and run.sent != self._sent:
            # Settling tells every delivery of one hand-over in a row: remembering the latest is enough.
            self._sent = run.sent
            written.append(self._send(run.sent_to, trace, bytes.fromhex(run.sent), position, event, now_ns))
        self._outbox.put(b"".join(written), len(written))

    def position(self, flight: Flight, reason: str, now_ns: int) -> None:
        """Export the span of a position that had no delivery, and of its dead letter if it was undecodable."""
        if flight.span_id or self._outbox.full(2):
            return
        trace = bytes.fromhex(flight.trace.trace_id)
        event = _event(flight)
        written = [self._process(trace, event, flight, None, reason, now_ns)]
        if flight.ledger is LedgerReason.UNDECODABLE:
            parent = bytes.fromhex(flight.span_id)
            written.append(self._send(self._places.dead, trace, self._span_id(), parent, event, now_ns))
        self._outbox.put(b"".join(written), len(written))

    def published(self, sent: Published) -> None:
        """Export the span of an event this process put on Kafka, under the ID its `traceparent` carries."""
        if self._outbox.full(1):
            return
        _, send = self._of_topic(sent.topic)
        attributes = _EVENT_ID(sent.event_id[:TEXT_CHARS_MAX]) + send.attributes
        if sent.error:
            attributes += _ERROR(sent.error)
        else:
            attributes += _PARTITION(str(sent.partition)) + _OFFSET(sent.offset)
        self._outbox.put(
            otlp.span(
                bytes.fromhex(sent.trace_id), bytes.fromhex(sent.span_id), b"", send.named, sent.started_ns,
                sent.ended_ns, attributes, otlp.failed(sent.error) + otlp.LOCAL if sent.error else otlp.LOCAL,
            ),
            1,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------- each span

    def _process(self, trace: bytes, event: bytes, flight: Flight, run: Run | None, reason: str, now_ns: int) -> bytes:
        """Write the span of a position, and note in its flight that this was done."""
        record = flight.record
        process, _ = self._of_topic(record.topic)
        attributes = (
            process.attributes + _PARTITION(str(record.partition)) + _OFFSET(record.offset)
            + _DELIVERIES(flight.deliveries) + event
        )  # fmt: skip
        ending = otlp.REMOTE if flight.trace.parent_id else otlp.LOCAL
        if flight.event is not None:
            attributes += _EVENT_TYPE(flight.event.type[:TEXT_CHARS_MAX])
        if reason:
            attributes += _REASON(reason[:TEXT_CHARS_MAX])
        if flight.ledger is LedgerReason.UNDECODABLE:
            attributes += _ERROR(flight.ledger.value)
            ending = otlp.failed(flight.ledger.value) + ending
        if run is not None and run.hop:
            topic, partition, offset, _ = flight.source
            attributes += (
                _HOP(run.hop) + _SOURCE_TOPIC(topic[:TEXT_CHARS_MAX]) + _SOURCE_PARTITION(str(partition))
                + _SOURCE_OFFSET(offset)
            )  # fmt: skip
            if run.link:
                ending = otlp.link(trace, bytes.fromhex(run.link.zfill(16))) + ending
        span = self._span_id()
        flight.span_id = span.hex()
        return otlp.span(
            trace, span, bytes.fromhex(flight.trace.parent_id), process.named, flight.received_ns, now_ns, attributes,
            ending,
        )  # fmt: skip

    def _send(self, topic: str, trace: bytes, span: bytes, parent: bytes, event: bytes, now_ns: int) -> bytes:
        _, send = self._of_topic(topic)
        return otlp.span(trace, span, parent, send.named, now_ns, now_ns, event + send.attributes)

    def _span_id(self) -> bytes:
        return (self._random_bits(64) or 1).to_bytes(8, "big")  # zero is no span ID

    # ---------------------------------------------------------------------------------------- what is constant

    def _of_topic(self, topic: str) -> tuple[_Named, _Named]:
        """Return what `process` and `send` spans of a topic have in common."""
        found = self._topics.get((topic,))
        if found is not None:
            return found
        places = self._places
        name = topic[:TEXT_CHARS_MAX]
        group = places.retry_group if topic.startswith(places.retry_prefix) else places.group
        if places.ordered_prefix and topic.startswith(places.ordered_prefix):
            group = places.ordered_group
        if topic == places.copies:
            group = places.copies
        process = _SYSTEM + _TYPE("process") + _OPERATION("process") + _TOPIC(name) + _GROUP(group)
        send = _SYSTEM + _TYPE("send") + _OPERATION("send") + _TOPIC(name)
        both = (
            _Named(otlp.named(f"process {name}", otlp.CONSUMER), process),
            _Named(otlp.named(f"send {name}", otlp.PRODUCER), send),
        )
        return self._topics.keep((topic,), both)

    def _of_step(self, step: Step) -> tuple[_Named, _Named]:
        """Return what `deliver` spans of a step, and those of its attempts, have in common."""
        key = (step.journey, step.name, step.destination, step.method, step.url_template)
        found = self._steps.get(key)
        if found is not None:
            return found
        deliver = _JOURNEY(step.journey) + _STEP(step.name) + _DESTINATION(step.destination)
        attempted = _METHOD(step.method) + _URL_TEMPLATE(step.url_template)
        host, port = self._places.servers.get(step.destination, ("", 0))
        if host:
            attempted += _SERVER(host) + _PORT(port)
        both = (
            _Named(otlp.named(f"deliver {step.journey}.{step.name}", otlp.INTERNAL), deliver),
            _Named(otlp.named(step.method, otlp.CLIENT), attempted),
        )
        return self._steps.keep(key, both)


def _attempt(trace: bytes, parent: bytes, attempted: _Named, about: bytes, attempt: Attempt) -> bytes:
    attributes = about + attempted.attributes
    ending = otlp.LOCAL
    if attempt.status:
        attributes += _STATUS(attempt.status)
    if attempt.number > 1:
        attributes += _RESENDS(attempt.number - 1)
    if attempt.cls:
        attributes += _ERROR(attempt.cls)
        ending = otlp.failed(attempt.cls) + ending
    span = bytes.fromhex(attempt.span_id)
    return otlp.span(trace, span, parent, attempted.named, attempt.started_ns, attempt.ended_ns, attributes, ending)


def _event(flight: Flight) -> bytes:
    return b"" if flight.event is None else _EVENT_ID(flight.event.id[:TEXT_CHARS_MAX])
