"""Spans after the fact, as an OTLP receiver gets them: IDs, parents, links, attributes, and nothing personal."""

import itertools

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes import messaging_attributes as messaging
from opentelemetry.semconv._incubating.attributes import url_attributes as url
from opentelemetry.semconv.attributes import error_attributes as error
from opentelemetry.semconv.attributes import http_attributes as http
from opentelemetry.semconv.attributes import server_attributes as server

from pipeline.adapters.telemetry import OtelTelemetry, Published, Settings, names, outbox
from pipeline.model import LedgerReason, Outcome
from tests.support.conditions import wait_until
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.settled import CUSTOMER, EMAIL, EVENT, PARENT, PLACES, SECOND, T0, TRACE, attempt, delivery, flight


@pytest.fixture
def receiver():
    with OtlpReceiver() as found:
        yield found


@pytest.fixture
def telemetry(receiver):
    numbers = itertools.count(1)
    made = OtelTelemetry(
        Settings("worker-1", PLACES, sample=1.0, endpoint=receiver.url), environ={}, random_bits=lambda _: next(numbers)
    )
    yield made
    made.close()


def exported(telemetry, receiver):
    telemetry.close()
    return {span.name: span for span in receiver.spans()}


def published(**over):
    return Published(**{
        "topic": "events", "event_id": EVENT, "trace_id": TRACE, "span_id": PARENT, "started_ns": T0,
        "ended_ns": T0 + 7, "partition": 2, "offset": 9, "error": "",
    } | over)  # fmt: skip


def test_a_published_event_is_the_root_of_its_trace(telemetry, receiver):
    assert telemetry.exports_spans
    telemetry.published(published())
    telemetry.published(published(topic="full", error="_MSG_TIMED_OUT", partition=0, offset=-1))
    found = exported(telemetry, receiver)
    sent, refused = found["send events"], found["send full"]
    assert (sent.trace_id.hex(), sent.span_id.hex(), sent.parent_span_id) == (TRACE, PARENT, b"")
    assert (sent.kind, sent.start_time_unix_nano, sent.end_time_unix_nano) == (Span.SPAN_KIND_PRODUCER, T0, T0 + 7)
    assert attributes(sent.attributes) == {
        "event.id": EVENT, messaging.MESSAGING_SYSTEM: "kafka", messaging.MESSAGING_OPERATION_TYPE: "send",
        messaging.MESSAGING_OPERATION_NAME: "send", messaging.MESSAGING_DESTINATION_NAME: "events",
        messaging.MESSAGING_DESTINATION_PARTITION_ID: "2", messaging.MESSAGING_KAFKA_OFFSET: 9,
    }  # fmt: skip
    assert refused.status.code == Status.STATUS_CODE_ERROR
    assert attributes(refused.attributes)[error.ERROR_TYPE] == "_MSG_TIMED_OUT"
    assert messaging.MESSAGING_KAFKA_OFFSET not in attributes(refused.attributes)


def test_one_delivered_event_is_one_trace_from_producer_to_settle(telemetry, receiver):
    telemetry.settled(delivery(attempts=[attempt(1, 503, "server_error"), attempt(2)]), Outcome.DELIVERED, "", T0 + 3)
    found = exported(telemetry, receiver)
    process, deliver, send = (
        found[name] for name in ("process lifecycle.events", "deliver cart_recovery.push", "send hookline.outcomes")
    )
    first, second = sorted((span for span in receiver.spans() if span.name == "PATCH"), key=lambda span: span.span_id)

    assert {span.trace_id.hex() for span in receiver.spans()} == {TRACE}
    assert process.parent_span_id.hex() == PARENT
    assert deliver.parent_span_id == process.span_id
    assert first.parent_span_id == second.parent_span_id == send.parent_span_id == deliver.span_id
    assert [first.span_id.hex(), second.span_id.hex()] == ["00000000000000a1", "00000000000000a2"]  # as sent
    assert [process.kind, deliver.kind, first.kind, send.kind] == [
        Span.SPAN_KIND_CONSUMER, Span.SPAN_KIND_INTERNAL, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_PRODUCER,
    ]  # fmt: skip
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (T0 + SECOND, T0 + SECOND + SECOND // 10)
    assert len(receiver.spans()) == 5
    assert all(attributes(span.attributes)["event.id"] == EVENT for span in receiver.spans())
    assert receiver.resources()[0]["service.name"] == "hookline"
    assert receiver.resources()[0]["service.instance.id"] == "worker-1"


def test_attributes_follow_the_conventions(telemetry, receiver):
    telemetry.settled(delivery(attempts=[attempt(2, 503, "server_error")]), Outcome.DEAD, "server_error", T0 + SECOND)
    found = exported(telemetry, receiver)
    assert attributes(found["process lifecycle.events"].attributes) == {
        "messaging.system": "kafka", "messaging.operation.type": "process", "messaging.operation.name": "process",
        "messaging.destination.name": "lifecycle.events", "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 1234, "messaging.consumer.group.name": "hookline", "event.id": EVENT,
        "hookline.event.type": "cart.abandoned", "hookline.deliveries": 1,
    }  # fmt: skip
    assert attributes(found["deliver cart_recovery.push"].attributes) == {
        "event.id": EVENT, "hookline.delivery.id": "delivery-1", "hookline.journey": "cart_recovery",
        "hookline.step": "push", "hookline.destination": "crm", "hookline.outcome": "dead",
        "hookline.reason": "server_error", "error.type": "server_error", "hookline.attempts": 1,
    }  # fmt: skip
    assert attributes(found["PATCH"].attributes) == {
        "event.id": EVENT, "hookline.delivery.id": "delivery-1", "http.request.method": "PATCH",
        "url.template": "/v3/accounts/{account}", "server.address": "api.crm.example", "server.port": 443,
        "http.response.status_code": 503, "http.request.resend_count": 1, "error.type": "server_error",
    }  # fmt: skip
    assert {"send hookline.outcomes", "send hookline.dead"} < found.keys()


def test_the_names_are_those_of_the_installed_conventions():
    assert {
        names.SYSTEM: messaging.MESSAGING_SYSTEM,
        names.OPERATION_TYPE: messaging.MESSAGING_OPERATION_TYPE,
        names.OPERATION_NAME: messaging.MESSAGING_OPERATION_NAME,
        names.TOPIC: messaging.MESSAGING_DESTINATION_NAME,
        names.PARTITION: messaging.MESSAGING_DESTINATION_PARTITION_ID,
        names.OFFSET: messaging.MESSAGING_KAFKA_OFFSET,
        names.GROUP: messaging.MESSAGING_CONSUMER_GROUP_NAME,
        names.METHOD: http.HTTP_REQUEST_METHOD,
        names.RESENDS: http.HTTP_REQUEST_RESEND_COUNT,
        names.STATUS: http.HTTP_RESPONSE_STATUS_CODE,
        names.URL_TEMPLATE: url.URL_TEMPLATE,
        names.SERVER: server.SERVER_ADDRESS,
        names.PORT: server.SERVER_PORT,
        names.ERROR: error.ERROR_TYPE,
    }.items() <= {(name, name) for name in vars(names).values() if isinstance(name, str)}


@pytest.mark.parametrize(
    ("outcome", "reason", "failed"),
    [
        (Outcome.DELIVERED, "", False),
        (Outcome.SKIPPED, "consent", False),
        (Outcome.REJECTED, "client_error", True),
        (Outcome.DEAD, "expired", True),
        (Outcome.RETRYING, "timeout", True),
    ],
)
def test_a_failed_delivery_is_an_error_with_its_class_and_no_more(telemetry, receiver, outcome, reason, failed):
    telemetry.settled(delivery(), outcome, reason, T0)
    status = exported(telemetry, receiver)["deliver cart_recovery.push"].status
    assert (status.code, status.message) == ((Status.STATUS_CODE_ERROR, reason) if failed else (0, ""))


def test_a_retried_hop_links_to_the_hand_over_before_it(telemetry, receiver):
    first = delivery(attempts=[attempt(1, 0, "timeout")])
    first.run.sent, first.run.sent_to = "00000000000000cc", "hookline.retry.10s"
    telemetry.settled(first, Outcome.RETRYING, "timeout", T0 + SECOND)
    again = flight(topic="hookline.retry.10s", parent_id="00000000000000cc")
    telemetry.settled(delivery(again, hop=1, link="00000000000000cc"), Outcome.DELIVERED, "", T0 + 12 * SECOND)
    found = exported(telemetry, receiver)

    handed, hop = found["send hookline.retry.10s"], found["process hookline.retry.10s"]
    assert handed.span_id.hex() == "00000000000000cc"
    assert handed.parent_span_id == found["process lifecycle.events"].span_id
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in hop.links] == [(TRACE, "00000000000000cc")]
    assert attributes(hop.attributes).items() >= {
        "messaging.consumer.group.name": "hookline.retry", "hookline.hop": 1,
        "hookline.source.topic": "lifecycle.events", "hookline.source.partition": "3", "hookline.source.offset": 1234,
    }.items()  # fmt: skip
    assert not found["process lifecycle.events"].links


def test_a_position_and_a_hand_over_are_exported_once_for_all_their_deliveries(telemetry, receiver):
    position = flight()
    first, second = delivery(position, 1), delivery(position, 2)
    second.run = first.run
    first.run.sent, first.run.sent_to = "00000000000000cc", "hookline.retry.10s"
    for each in (first, second):
        telemetry.settled(each, Outcome.RETRYING, "timeout", T0)
    telemetry.close()
    counted = sorted(span.name for span in receiver.spans())
    assert counted == [
        "deliver cart_recovery.push", "deliver cart_recovery.push", "process lifecycle.events",
        "send hookline.outcomes", "send hookline.outcomes", "send hookline.retry.10s",
    ]  # fmt: skip
    assert position.span_id == "0000000000000001"


def test_a_position_without_an_event_is_exported_with_its_dead_letter(telemetry, receiver):
    damaged = flight(event=False)
    damaged.ledger = LedgerReason.UNDECODABLE
    telemetry.position(damaged, "bytes end early", T0)
    telemetry.position(damaged, "bytes end early", T0)
    found = exported(telemetry, receiver)
    assert found.keys() == {"process lifecycle.events", "send hookline.dead"}
    process = found["process lifecycle.events"]
    assert (process.status.code, process.status.message) == (Status.STATUS_CODE_ERROR, "undecodable")
    assert "event.id" not in attributes(process.attributes)


def test_nothing_of_the_customer_is_in_the_exported_bytes(telemetry, receiver):
    full = delivery(attempts=[attempt(1, 422, "client_error")])
    telemetry.settled(full, Outcome.REJECTED, "client_error", T0)
    telemetry.position(flight(), "no_journey", T0)
    telemetry.close()
    assert EVENT.encode() in receiver.raw()
    for personal in (CUSTOMER, EMAIL, "ann.personal", "vendor"):
        assert personal.encode() not in receiver.raw()


def test_a_clock_set_back_makes_no_span_of_negative_length(telemetry, receiver):
    telemetry.settled(delivery(), Outcome.DELIVERED, "", T0 - SECOND)
    telemetry.close()
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano for span in receiver.spans())


def test_spans_the_queue_has_no_room_for_are_dropped_and_counted(telemetry, receiver, monkeypatch):
    monkeypatch.setattr(outbox, "QUEUE_SPANS_MAX", 6)
    tracing = telemetry._tracing
    for number in range(5):
        telemetry.settled(delivery(number=number), Outcome.DELIVERED, "", T0)
    counts = tracing.counts()
    assert counts["dropped",] == 4 * 4  # the first made three spans; four need not fit after that
    telemetry.close()
    assert tracing.counts() == {("exported",): 3, ("failed",): 0, ("dropped",): 16}


def test_spans_a_collector_refuses_are_counted_and_stop_nothing(telemetry, receiver):
    receiver.status = 400
    tracing = telemetry._tracing
    telemetry.settled(delivery(), Outcome.DELIVERED, "", T0)
    telemetry.close()
    assert wait_until(lambda: tracing.counts()["failed",]) == 3
    assert receiver.spans() == []
