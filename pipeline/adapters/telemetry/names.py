"""Names what telemetry exports: span attributes and metrics. Everything else here takes its names from this list.

Attribute names are OpenTelemetry's semantic conventions where these have one (a test compares them with the installed
release); ours start with `hookline.`, except `event.id`, which is the same in every system an event passes.
"""

from __future__ import annotations

from typing import Final

from pipeline.model import value

SCOPE: Final = "hookline"
"""Instrumentation scope of every span and metric."""

# -- span attributes: messaging, HTTP and error conventions
SYSTEM: Final = "messaging.system"
OPERATION_TYPE: Final = "messaging.operation.type"
OPERATION_NAME: Final = "messaging.operation.name"
TOPIC: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OFFSET: Final = "messaging.kafka.offset"
GROUP: Final = "messaging.consumer.group.name"
METHOD: Final = "http.request.method"
RESENDS: Final = "http.request.resend_count"
STATUS: Final = "http.response.status_code"
URL_TEMPLATE: Final = "url.template"
SERVER: Final = "server.address"
PORT: Final = "server.port"
ERROR: Final = "error.type"

# -- span attributes: ours
EVENT_ID: Final = "event.id"
EVENT_TYPE: Final = "hookline.event.type"
DELIVERIES: Final = "hookline.deliveries"
HOP: Final = "hookline.hop"
SOURCE_TOPIC: Final = "hookline.source.topic"
SOURCE_PARTITION: Final = "hookline.source.partition"
SOURCE_OFFSET: Final = "hookline.source.offset"
DELIVERY_ID: Final = "hookline.delivery.id"
JOURNEY: Final = "hookline.journey"
STEP: Final = "hookline.step"
DESTINATION: Final = "hookline.destination"
OUTCOME: Final = "hookline.outcome"
REASON: Final = "hookline.reason"
LEDGER_REASON: Final = "reason"
PLACE: Final = "hookline.place"
ATTEMPTS: Final = "hookline.attempts"


@value
class Metric:
    """One exported metric. `kind`: counter (cumulative) | gauge | histogram; `attributes` are its dimensions."""

    name: str
    kind: str
    unit: str
    attributes: tuple[str, ...]
    meaning: str


DELIVERED: Final = Metric(
    "hookline.deliveries", "counter", "{delivery}", (DESTINATION, OUTCOME),
    "Deliveries settled for good, by outcome, those without an attempt included",
)  # fmt: skip
ATTEMPTED: Final = Metric("hookline.attempts", "counter", "{attempt}", (DESTINATION,), "HTTP exchanges")
FAILED: Final = Metric(
    "hookline.failures", "counter", "{attempt}", (DESTINATION, ERROR), "HTTP exchanges that failed, by failure class"
)
ATTEMPT_TIME: Final = Metric(
    "hookline.attempt.duration", "histogram", "s", (DESTINATION,), "From the request's first byte to the answer's last"
)
TRIGGER_TIME: Final = Metric(
    "hookline.time_to_trigger", "histogram", "s", (DESTINATION,), "From the event's arrival on Kafka to its delivery"
)
HALTED: Final = Metric(
    "hookline.halted", "gauge", "{halt}", (),
    "What of the worker stands still until its cause is gone: intakes stopped by their brake, writes Kafka refuses",
)  # fmt: skip
QUEUED: Final = Metric("hookline.queue", "gauge", "{delivery}", (DESTINATION,), "Deliveries waiting in the lane")
IN_FLIGHT: Final = Metric("hookline.in_flight", "gauge", "{attempt}", (DESTINATION,), "HTTP exchanges under way")
LIMIT: Final = Metric(
    "hookline.in_flight.limit", "gauge", "{attempt}", (DESTINATION,),
    "Most HTTP exchanges at once at present; with adaptive concurrency it follows the destination",
)  # fmt: skip
BREAKER: Final = Metric(
    "hookline.breaker.state", "gauge", "1", (DESTINATION,), "The breaker: 0 closed, 1 half-open, 2 open"
)
CONNECTIONS: Final = Metric(
    "hookline.connections.opened", "counter", "{connection}", (DESTINATION,), "Connections opened"
)
PARKED: Final = Metric(
    "hookline.parked", "counter", "{delivery}", (DESTINATION,), "Deliveries parked on a retry tier without an attempt"
)
SPANS: Final = Metric(
    "hookline.telemetry.spans", "counter", "{span}", ("hookline.result",),
    "Spans by what became of them: exported, failed (the collector refused or did not answer), dropped (queue full)",
)  # fmt: skip

ALERTS: Final = Metric(
    "hookline.alerts", "counter", "{message}", ("hookline.alert", "hookline.result"),
    "Messages to people by what became of them: sent, failed (told with the next one)",
)  # fmt: skip
UNSETTLED: Final = Metric(
    "hookline.unsettled", "gauge", "{event}", (), "Positions taken up and not settled yet; a worker waits at 8,192"
)
OLDEST: Final = Metric("hookline.oldest", "gauge", "ms", (), "How long the oldest of them has been open; 0 without one")
LEDGER: Final = Metric(
    "hookline.ledger", "counter", "{event}", (LEDGER_REASON,), "Positions that had no delivery, by reason"
)
CONDITIONS: Final = Metric(
    "hookline.conditions.failed", "counter", "{condition}", (JOURNEY, PLACE),
    "Conditions that failed on an event, by journey and place: trigger.when or steps.NAME.when",
)  # fmt: skip
MISSPELT: Final = Metric(
    "hookline.event_types.misspelt", "counter", "{event}", (TOPIC, EVENT_TYPE),
    "Events whose type no journey asks for, but one that is almost the same (named here) is asked for",
)  # fmt: skip
LOG_HELD: Final = Metric(
    "hookline.log.held", "gauge", "{event}", (),
    "Events held of the logs of journeys that keep order: under way, waiting, or behind one of their customer that is",
)  # fmt: skip
LOG_STUCK: Final = Metric(
    "hookline.log.stuck", "gauge", "{partition}", (), "Partitions of logs that wait because as much is held as may be"
)
HELD: Final = Metric(
    "hookline.partitions.held", "gauge", "{partition}", (),
    "Partitions that wait for the registry to say what their next record's schema is",
)  # fmt: skip

TABLES_BEHIND: Final = Metric(
    "hookline.tables.behind", "gauge", "ms", (),
    "How far the consent and suppression tables may be behind; gates hold beyond `consent.table_lag_max`",
)  # fmt: skip
LOOKUPS_BEHIND: Final = Metric(
    "hookline.lookups.behind", "gauge", "ms", (),
    "How far the look-up that is most behind may be; steps that read look-ups hold beyond `consent.table_lag_max`",
)  # fmt: skip
LOOKUPS_UNREADABLE: Final = Metric(
    "hookline.lookups.unreadable", "gauge", "{record}", (),
    "Records of look-ups that could not be read and therefore are no rows; counted by the one worker that follows them",
)  # fmt: skip
TABLES_UNREADABLE: Final = Metric(
    "hookline.tables.unreadable", "gauge", "{record}", (),
    "Records of these tables that could not be read and therefore deny; counted by the one worker that follows them",
)  # fmt: skip

LANE_METRICS: Final = (
    ATTEMPTED, FAILED, ATTEMPT_TIME, TRIGGER_TIME, QUEUED, IN_FLIGHT, LIMIT, BREAKER, CONNECTIONS, PARKED,
)  # fmt: skip
"""The metrics of every destination; the others are the worker's."""

BREAKER_LEVELS: Final = {"closed": 0, "half-open": 1, "open": 2}
