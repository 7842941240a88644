"""What waits for export: full requests at once, the rest after a while, nothing without bound, posted by the SDK."""

from __future__ import annotations

import gzip
import io

import pytest

from pipeline.adapters.telemetry import OtelTelemetry, Settings, outbox
from pipeline.adapters.telemetry.outbox import Outbox, Poster
from pipeline.model import Outcome
from pipeline.ports import LaneStats
from tests.support.conditions import wait_until
from tests.support.otlp import OtlpReceiver
from tests.support.settled import PLACES, T0, delivery

LONG_S = 3_600.0


class Posted(Poster):
    """Keeps what it is told to post; `takes` is what the collector would say."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.requests: list[bytes] = []
        self.takes = True

    def post(self, request: bytes) -> bool:
        self.requests.append(request)
        return self.takes


@pytest.fixture
def opened(monkeypatch):
    monkeypatch.setattr(outbox, "BATCH_SPANS", 10)
    made: list[Outbox] = []

    def open_(delay_s: float) -> tuple[Outbox, Posted]:
        poster = Posted()
        made.append(Outbox(poster, lambda spans: b"<" + b"".join(spans) + b">", delay_s))
        return made[-1], poster

    yield open_
    for each in made:
        each.close()


def test_a_full_request_goes_at_once_and_the_rest_at_the_end(opened):
    box, poster = opened(LONG_S)
    for _ in range(6):
        box.put(b"ab", 2)
    assert wait_until(lambda: poster.requests) == [b"<ababababab>"]
    assert (box.handed, box.taken, box.exported) == (12, 10, 10)
    box.close()
    box.close()
    assert poster.requests == [b"<ababababab>", b"<ab>"]
    assert (box.taken, box.exported, box.failed) == (12, 12, 0)


def test_a_few_spans_wait_no_longer_than_they_may(opened):
    box, poster = opened(0.01)
    box.put(b"a", 1)
    assert wait_until(lambda: poster.requests) == [b"<a>"]


def test_what_a_collector_refuses_has_failed(opened):
    box, poster = opened(LONG_S)
    poster.takes = False
    box.put(b"a", 3)
    box.close()
    assert (box.exported, box.failed) == (0, 3)


def test_there_is_room_for_so_many_and_again_once_they_are_taken(opened, monkeypatch):
    monkeypatch.setattr(outbox, "QUEUE_SPANS_MAX", 10)
    box, _ = opened(LONG_S)
    box.put(b"a", 8)
    assert (box.full(2), box.full(3)) == (False, True)
    assert box.dropped == 3
    box.put(b"a", 2)  # a full request: it goes
    assert wait_until(lambda: not box.full(10))


@pytest.mark.parametrize(
    ("said", "delay_s"), [("250", 0.25), (" 250 ", 0.25), ("", 1.0), ("0", 1.0), ("-1", 1.0), ("x", 1.0)]
)
def test_how_long_spans_may_wait_is_said_by_the_environment(said, delay_s):
    assert outbox.delay_s({"OTEL_BSP_SCHEDULE_DELAY": said}) == delay_s


def test_the_sdk_posts_ready_made_requests_by_its_own_settings(monkeypatch):
    """Pins what `Poster` relies on: the SDK's own client, below its encoder."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    with OtlpReceiver() as receiver:
        poster = Poster(f"{receiver.url}/v1/traces")
        assert poster.fits()
        assert poster.post(b"ready-made")
        ((path, body),) = receiver.bodies
        assert (path, gzip.decompress(body)) == ("/v1/traces", b"ready-made")
        receiver.status = 400
        assert not poster.post(b"refused")
        poster.shutdown()


def test_a_release_of_the_sdk_that_is_unknown_is_said_and_costs_spans_only(monkeypatch):
    monkeypatch.setattr(Poster, "fits", lambda _self: False)
    stream = io.BytesIO()
    with OtlpReceiver() as receiver:
        telemetry = OtelTelemetry(Settings("w", PLACES, endpoint=receiver.url), environ={}, stream=stream)
        telemetry.watch("crm", LaneStats())
        assert not telemetry.exports_spans
        telemetry.settled(delivery(), Outcome.DELIVERED, "", T0)
        telemetry.close()
        assert receiver.metrics()
        assert receiver.spans() == []
    assert stream.getvalue().count(b"otlp_exporter_unknown") == 1
