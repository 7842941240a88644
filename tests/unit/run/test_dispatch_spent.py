"""run/dispatch: a delivery that has used its attempts up is over, and keeps nobody else from going."""

from __future__ import annotations

from pipeline.model import Answer
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import step, until


async def test_aiven_204_what_is_tried_in_vain_is_dead_and_the_next_ones_go(world) -> None:
    endpoint = FakeEndpoint(lambda head, _body: Answer(503 if head.startswith(b"d-1-") else 204))
    lane = world.lane(endpoint, concurrency=1, queue=100)
    for offset in range(5):
        (delivery,) = world.deliveries(step(in_process=(1,), max_attempts=2), offset=None)
        assert delivery.run.flight.record.offset == offset
        lane.offer(delivery)
    await until(lambda: len(world.outcomes()) == 5)
    ended = {row.delivery_id: (row.outcome, row.reason, row.attempts) for row in world.outcomes()}
    assert ended.pop("d-1-crm") == ("dead", "server_error", 2)
    assert set(ended.values()) == {("delivered", "", 1)}
    (letter,) = world.producer.of("g.dead")
    assert letter.header("hookline-delivery-id") == b"d-1-crm"
    await until(lambda: world.tracker.watermark() == 5)
