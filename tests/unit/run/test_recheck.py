"""Before a request is written the gates are asked again, if they were asked a while ago: with a real lane."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import Answer, ConsentSaid, Failure, FailureClass, GatePolicy, Hold, Known, SkipReason
from pipeline.run.asking import GATE_FRESH_NS, Asking
from pipeline.testing.fakes import FakeEndpoint, FakeTables
from tests.unit.run.conftest import DAY, step, until

CONSENT = dataclasses.replace(step(), basis="consent", purpose="marketing", channels=("email",))
SECOND = 1_000


def said(*, granted: bool) -> Known:
    return Known({"email": ConsentSaid("email", granted=granted, at_ms=1)})


class Customer:
    """A lane whose only customer may change their mind."""

    def __init__(self, world, endpoint, **limits) -> None:
        self.world = world
        self.tables = FakeTables()
        self.tables.of["customer-7"] = said(granted=True)
        self.endpoint = endpoint
        self.asking = Asking(GatePolicy(DAY), self.tables)
        self.lane = world.lane(endpoint, again=self.asking.again, **limits)

    def withdraw(self) -> None:
        self.tables.of["customer-7"] = said(granted=False)

    def offer(self, number=1) -> None:
        for _ in range(number):
            (delivery,) = self.world.deliveries(CONSENT)
            delivery.asked_ns = self.world.clock()
            self.lane.offer(delivery)

    def ended(self) -> list[tuple[str, str, int]]:
        return [(row.outcome, row.reason, row.attempts) for row in self.world.outcomes()]


async def test_consent_withdrawn_while_a_delivery_is_queued_means_no_request(world) -> None:
    answers = iter([None, Answer(204), Answer(204)])
    customer = Customer(world, FakeEndpoint(lambda *_: next(answers)), concurrency=1)
    customer.offer(2)
    await until(lambda: len(customer.endpoint.requests) == 1)
    customer.withdraw()
    world.clock.advance(SECOND + 1)
    customer.endpoint.connections[0].abort(FailureClass.CONNECTION)
    await until(lambda: len(world.outcomes()) == 1)
    assert customer.ended() == [("skipped", "consent", 0)]
    assert len(customer.endpoint.requests) == 1


async def test_a_fresh_answer_is_not_asked_for_again(world) -> None:
    customer = Customer(world, FakeEndpoint())
    customer.offer()
    customer.withdraw()
    world.clock.advance(SECOND)
    await until(lambda: len(world.outcomes()) == 1)
    assert customer.ended() == [("delivered", "", 1)]
    assert customer.tables.asked == []


async def test_an_old_answer_is_asked_for_again_and_then_fresh_anew(world) -> None:
    customer = Customer(world, FakeEndpoint(), concurrency=1)
    customer.offer(1)
    world.clock.advance(SECOND + 1)
    await until(lambda: len(world.outcomes()) == 1)
    assert customer.ended() == [("delivered", "", 1)]
    assert customer.tables.asked == ["customer-7"]


async def test_consent_withdrawn_between_attempts_means_no_second_request(world) -> None:
    def withdrawn(_head, _body):
        customer.withdraw()
        return Answer(503)

    customer = Customer(world, FakeEndpoint(withdrawn))
    customer.offer()
    await until(lambda: len(customer.endpoint.requests) == 1)
    await until(lambda: world.clock.advance(100) or len(world.outcomes()) == 1)
    assert customer.ended() == [("skipped", "consent", 1)]
    assert len(customer.endpoint.requests) == 1


async def test_consent_withdrawn_while_connecting_means_no_request_and_no_attempt(world) -> None:
    class Slow(FakeEndpoint):
        async def connect(self):
            customer.withdraw()
            world.clock.advance(SECOND + 1)
            return await super().connect()

    customer = Customer(world, Slow())
    customer.offer()
    await until(lambda: len(world.outcomes()) == 1)
    assert customer.ended() == [("skipped", "consent", 0)]
    assert customer.endpoint.requests == []
    assert customer.lane.stats.attempts == 0


async def test_stale_tables_hold_on_a_retry_topic_without_an_attempt(world) -> None:
    customer = Customer(world, FakeEndpoint())
    customer.offer()
    customer.tables.stale_ms = 60_000
    world.clock.advance(SECOND + 1)
    await until(lambda: len(world.outcomes()) == 1)
    assert customer.ended() == [("retrying", "table_stale", 0)]
    assert [record.topic for record in world.producer.records if "retry" in record.topic] == ["g.retry.10s"]


async def test_a_probe_that_may_not_go_leaves_its_place_to_another(world) -> None:
    customer = Customer(world, FakeEndpoint(lambda *_: Failure(FailureClass.CONNECTION, sent=False)), concurrency=1)
    lane = customer.lane
    customer.offer(4)
    await until(lambda: lane._breaker.state == "open")
    settled = len(world.outcomes())
    customer.endpoint.script = lambda *_: Answer(204)
    await until(lambda: lane.spare() == 1)
    customer.withdraw()
    customer.offer()
    world.clock.advance(SECOND + 1)
    await until(lambda: len(world.outcomes()) > settled)
    assert customer.ended()[-1][:2] == ("skipped", "consent")
    customer.tables.of["customer-7"] = said(granted=True)
    await until(lambda: lane.spare() > 0)  # or more, if what waited for its time was sooner and closed the breaker
    customer.offer()
    await until(lambda: customer.ended()[-1][0] == "delivered")


async def test_a_lane_that_nobody_gave_gates_asks_nothing(world) -> None:
    world.lane(endpoint := FakeEndpoint())
    (delivery,) = world.deliveries(CONSENT)
    world.lanes["crm"].offer(delivery)
    await until(lambda: len(endpoint.requests) == 1)


def test_an_answer_counts_for_a_second():
    assert GATE_FRESH_NS == SECOND * 1_000_000


@pytest.mark.parametrize("gate", [SkipReason.CONSENT, Hold(0, "table_stale")])
def test_a_gate_that_refuses_is_never_mistaken_for_one_that_allows(gate):
    assert gate, "what is asked of several at once looks for any that is not None"
