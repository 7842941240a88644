"""One event's spans, from its producer to settling, in a real collector and a real Zipkin, found by its trace ID."""

import json
import signal
import time
import uuid

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from pipeline.adapters.telemetry import OtelTelemetry, Settings, names
from pipeline.core import tracecontext
from pipeline.model import Outcome
from pipeline.ports import LaneStats
from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually, wait_until
from tests.support.settled import CUSTOMER, EMAIL, PLACES, SECOND, attempt, delivery, flight
from tests.support.system import encode, event


def telemetry_to(endpoint):
    return OtelTelemetry(Settings("worker-1", PLACES, sample=1.0, endpoint=endpoint), environ={})


def produced(endpoint):
    """The trace context a traced producer would put into the record's headers."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
    carrier: dict[str, str] = {}
    with provider.get_tracer("shop").start_as_current_span("send lifecycle.events", kind=api.SpanKind.PRODUCER):
        TraceContextTextMapPropagator().inject(carrier)
    provider.shutdown()
    return carrier["traceparent"].encode()


def test_a_producers_trace_goes_on_to_settling_and_is_one_tree(collector_to_zipkin, zipkin):
    event_id = str(uuid.uuid4())
    trace_id, parent_id, sampled = tracecontext.parse(produced(collector_to_zipkin.endpoint), event_id)
    assert sampled
    now_ns = time.time_ns() - 10 * SECOND
    position = flight(event_id=event_id, trace_id=trace_id, parent_id=parent_id, received_ns=now_ns)
    tries = [attempt(1, 503, "server_error", now_ns), attempt(2, at_ns=now_ns)]
    telemetry = telemetry_to(collector_to_zipkin.endpoint)
    telemetry.settled(delivery(position, attempts=tries), Outcome.DELIVERED, "", now_ns + 3 * SECOND)
    telemetry.close()

    shown = wait_until(lambda: len(found := zipkin.trace(trace_id)) >= 6 and found, what="the whole trace in Zipkin")
    by_id = {span["id"]: span for span in shown}
    path = [by_id[span_id(2)]]
    while path[-1].get("parentId"):
        path.append(by_id[path[-1]["parentId"]])
    assert [(span["name"], span.get("kind")) for span in path] == [
        ("patch", "CLIENT"),
        ("deliver cart_recovery.push", None),
        ("process lifecycle.events", "CONSUMER"),
        ("send lifecycle.events", "PRODUCER"),
    ]
    assert [span["localEndpoint"]["serviceName"] for span in path] == ["hookline", "hookline", "hookline", "shop"]
    assert by_id[span_id(1)]["tags"]["error.type"] == "server_error"
    assert all(
        span["tags"]["event.id"] == event_id for span in shown if span["localEndpoint"]["serviceName"] == "hookline"
    )
    for personal in (CUSTOMER, EMAIL):
        assert personal not in str(shown)


def test_an_event_without_a_trace_is_found_by_its_own_id_over_all_its_hops(collector_to_zipkin, zipkin):
    event_id = str(uuid.uuid4())
    trace_id, parent_id, _ = tracecontext.parse(None, event_id)
    now_ns = time.time_ns() - 60 * SECOND
    telemetry = telemetry_to(collector_to_zipkin.endpoint)
    first = delivery(
        flight(event_id=event_id, trace_id=trace_id, parent_id=parent_id, received_ns=now_ns),
        attempts=[attempt(1, 0, "timeout", now_ns)],
    )
    first.run.sent, first.run.sent_to = "00000000000000cc", "hookline.retry.10s"
    telemetry.settled(first, Outcome.RETRYING, "timeout", now_ns + 2 * SECOND)
    released_ns = now_ns + 12 * SECOND
    again = flight("hookline.retry.10s", first.run.sent, event_id=event_id, trace_id=trace_id, received_ns=released_ns)
    second = delivery(again, attempts=[attempt(2, at_ns=released_ns)], hop=1, link=first.run.sent)
    telemetry.settled(second, Outcome.DELIVERED, "", released_ns + 3 * SECOND)
    telemetry.close()

    shown = wait_until(
        lambda: len(found := zipkin.trace(event_id.replace("-", ""))) >= 9 and found, what="both hops in Zipkin"
    )
    assert sorted(span["name"] for span in shown) == [
        "deliver cart_recovery.push", "deliver cart_recovery.push", "patch", "patch", "process hookline.retry.10s",
        "process lifecycle.events", "send hookline.outcomes", "send hookline.outcomes", "send hookline.retry.10s",
    ]  # fmt: skip
    spans = wait_until(lambda: len(got := collector_to_zipkin.spans()) == 9 and got, what="the spans in the collector")
    kept = {span["name"]: span for span in spans}
    (link,) = kept["process hookline.retry.10s"]["links"]
    assert link["spanId"] == kept["send hookline.retry.10s"]["spanId"] == "00000000000000cc"
    assert kept["process hookline.retry.10s"]["parentSpanId"] == "00000000000000cc"


def test_metrics_reach_the_collector_as_what_they_are(collector):
    stats = LaneStats()
    stats.attempt_ms[3] = 7
    telemetry = telemetry_to(collector.endpoint)
    telemetry.watch("crm", stats)
    telemetry.counts(names.DELIVERED, lambda: {("crm", Outcome.DELIVERED): 7})
    telemetry.close()
    found = wait_until(
        lambda: {metric["name"]: metric for metric in collector.metrics()}, what="metrics in the collector"
    )
    assert found["hookline.deliveries"]["sum"]["isMonotonic"]
    (point,) = found["hookline.attempt.duration"]["histogram"]["dataPoints"]
    assert [int(count) for count in point["bucketCounts"]] == stats.attempt_ms


async def test_a_worker_leaves_one_trace_from_producer_to_settling_over_a_retry(
    system, receiver, collector_to_zipkin, zipkin
):
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    # Unsampled but for the producer's own decision, which is kept.
    system.hookline["telemetry"] = {"sample": "0.0001%", "endpoint": collector_to_zipkin.endpoint}
    system.prepare()
    worker = system.worker()
    sent = event(7)
    context = produced(collector_to_zipkin.endpoint)
    trace_id = context.split(b"-")[1].decode()
    system.feed([Outgoing(encode(sent), b"c-7", headers=[("traceparent", context)])])
    await eventually(lambda: any(row.outcome is Outcome.RETRYING for row in system.outcomes()))
    receiver.behaviour = Behaviour()
    await eventually(lambda: receiver.accepted() == 1, timeout_s=40)
    await eventually(system.settled)
    worker.send(signal.SIGTERM)
    await eventually(lambda: worker.returncode is not None, timeout_s=30)

    (final,) = system.final().values()
    good = receiver.seen[-1].headers["traceparent"].split("-")
    assert good[1] == trace_id == final.trace_id
    wanted = {good[2], *(each.span_id for row in system.outcomes() for each in row.history)}

    def complete():
        found = zipkin.trace(trace_id)
        return wanted <= {span["id"] for span in found} and found

    shown = await eventually(complete, what="every attempt in Zipkin")
    by_id = {span["id"]: span for span in shown}
    path = [by_id[good[2]]]
    while path[-1].get("parentId"):
        path.append(by_id[path[-1]["parentId"]])
    names = [span["name"] for span in path]
    assert names[:3] == ["post", "deliver welcome.crm", f"process {path[2]['tags']['messaging.destination.name']}"]
    assert names[-2:] == [f"process {system.topic}", "send lifecycle.events"]
    assert [name for name in names if name.startswith("send ")] == [
        *(f"send {system.group}.retry.{tier}" for tier in reversed(tiers_of(path))),
        "send lifecycle.events",
    ]
    assert sum(span["name"] == "post" for span in shown) == final.attempts
    ours = [span for span in shown if span["localEndpoint"]["serviceName"] == "hookline"]
    assert all(span["tags"]["event.id"] == sent["id"] for span in ours)
    assert "example.org" not in str(shown)
    assert "c-7" not in {tag for span in ours for tag in span["tags"].values()}


async def test_what_hookline_produces_hangs_together_from_producing_to_settling(
    system, receiver, collector_to_zipkin, zipkin
):
    system.destination("crm", receiver.url)
    system.hookline["telemetry"] = {"sample": "100%", "endpoint": collector_to_zipkin.endpoint}
    system.prepare()
    worker = system.worker()
    sent = {"id": str(uuid.uuid4()), "type": "signup.completed", "time": "2026-11-23T10:00:00Z",
            "customer": {"id": "c-7", "email": EMAIL}}  # fmt: skip
    file = system.folder.parent / "event.jsonl"
    file.write_text(json.dumps(sent) + "\n")
    done = system.run("produce", str(file))
    assert done.returncode == 0, done.stderr
    await eventually(lambda: receiver.accepted() == 1)
    await eventually(system.settled)
    worker.send(signal.SIGTERM)
    await eventually(lambda: worker.returncode is not None, timeout_s=30)

    trace_id = sent["id"].replace("-", "")
    shown = await eventually(lambda: len(found := zipkin.trace(trace_id)) >= 5 and found, what="the whole trace")
    by_name = {span["name"]: span for span in shown}
    produced_, consumed, delivered, attempted, settled = (
        by_name[name]
        for name in (
            f"send {system.topic}", f"process {system.topic}", "deliver welcome.crm", "post",
            f"send {system.group}.outcomes",
        )
    )  # fmt: skip
    assert len(shown) == 5
    assert "parentId" not in produced_
    assert [span["kind"] for span in (produced_, consumed, attempted)] == ["PRODUCER", "CONSUMER", "CLIENT"]
    assert consumed["parentId"] == produced_["id"]
    assert delivered["parentId"] == consumed["id"]
    assert attempted["parentId"] == settled["parentId"] == delivered["id"]
    assert attempted["id"] == receiver.seen[-1].headers["traceparent"].split("-")[2]
    assert all(span["tags"]["event.id"] == sent["id"] for span in shown)
    for personal in (EMAIL, "c-7"):
        assert personal not in {tag for span in shown for tag in span["tags"].values()}


def tiers_of(path):
    topics = [span["tags"]["messaging.destination.name"] for span in path if span.get("kind") == "CONSUMER"]
    return [topic.rpartition(".")[2] for topic in reversed(topics) if ".retry." in topic]


def span_id(number):
    return f"{0xA0 + number:016x}"
