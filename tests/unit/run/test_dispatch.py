"""run/dispatch: every delivery offered comes back to settle exactly once, whatever the endpoint does."""

from __future__ import annotations

import asyncio
import dataclasses
from itertools import cycle

import pytest

from pipeline.core import contract
from pipeline.model import Answer, Failure, FailureClass
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import step, until


async def test_delivers(world) -> None:
    endpoint = FakeEndpoint()
    lane = world.lane(endpoint)
    (delivery,) = world.deliveries(step())
    lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.attempts, row.status) == ("delivered", 1, 204)
    ((head, _),) = endpoint.requests
    assert head.startswith(b"d-0-crm 00-" + b"a" * 32)


def reading(status=200, body=b'{"id": 7}', **over):
    """A step that keeps `id` of the answer, and the endpoint that gives it."""
    read = contract.reader(None, [contract.Field("id", ("id",), "int")])
    return dataclasses.replace(step(), response=read, keep_bytes=64, **over), FakeEndpoint(
        lambda _h, _b: Answer(status, "", body)
    )


async def test_declared_fields_of_the_answer_are_kept_on_the_delivery(world) -> None:
    asking, endpoint = reading()
    lane = world.lane(endpoint)
    (delivery,) = world.deliveries(asking)
    lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 1)
    assert delivery.response == {"id": 7}
    (row,) = world.outcomes()
    assert (row.outcome, row.reason, row.history, lane.stats.failures) == ("delivered", "", (), {})


@pytest.mark.parametrize("body", [b"<html>Sign in, hush</html>", b'{"id": "hush"}', b"{}", b'{"id": 7' + b" " * 64])
async def test_an_answer_that_breaks_the_contract_is_delivered_and_counted(world, body) -> None:
    asking, endpoint = reading(body=body)
    lane = world.lane(endpoint)
    (delivery,) = world.deliveries(asking)
    lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason, row.status, row.attempts) == ("delivered", "contract", 200, 1)
    assert [(each.status, each.cls) for each in row.history] == [(200, "contract")]
    assert (lane.stats.failures, lane.stats.state, delivery.response) == ({"contract": 1}, "closed", None)
    ((level, name, fields),) = world.telemetry.lines
    assert (level, name, fields["class"]) == ("warning", "contract_broken", "contract")
    assert "hush" not in str(fields)
    assert [told[1:] for told in world.telemetry.told] == [("delivered", "contract")]
    assert world.producer.of("g.dead") == []


async def test_what_on_status_calls_delivered_promises_no_content(world) -> None:
    asking, endpoint = reading(409, b"known already", retry=step(on_status={409: "delivered"}).retry)
    world.lane(endpoint).offer(world.deliveries(asking)[0])
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason) == ("delivered", "")


async def test_the_beginning_of_an_error_response_is_kept_in_the_dead_letter_where_asked_for(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: Answer(422, "", b"no such account"))
    lane = world.lane(endpoint)
    lane.offer(world.deliveries(dataclasses.replace(step("a"), keep_bytes=7, excerpt_bytes=7))[0])
    lane.offer(world.deliveries(step("b"))[0])
    await until(lambda: world.tracker.watermark() == 2)
    letters = [dict(each.headers) for each in world.producer.of("g.dead")]
    assert {each["hookline-step"]: each.get("hookline-excerpt") for each in letters} == {b"a": b"no such", b"b": None}


async def test_connections_are_reused_and_bounded_by_concurrency(world) -> None:
    endpoint = FakeEndpoint()
    lane = world.lane(endpoint, concurrency=2, queue=1_000)
    for _ in range(200):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 200)
    assert len(endpoint.connections) <= 2


async def test_short_trouble_is_retried_in_process_with_the_same_delivery_id(world) -> None:
    answers = iter([Answer(503), Answer(503), Answer(200)])
    endpoint = FakeEndpoint(lambda _h, _b: next(answers))
    lane = world.lane(endpoint)
    lane.offer(world.deliveries(step(in_process=(1, 1)))[0])
    while world.tracker.watermark() == 0:
        world.clock.advance(2)
        await asyncio.sleep(0.005)
    (row,) = world.outcomes()
    assert (row.outcome, row.attempts) == ("delivered", 3)
    assert [(each.status, each.cls) for each in row.history] == [
        (503, "server_error"),
        (503, "server_error"),
        (200, ""),
    ]
    assert {head.split()[0] for head, _ in endpoint.requests} == {b"d-0-crm"}
    assert len({head.split()[1] for head, _ in endpoint.requests}) == 3


async def test_longer_trouble_goes_to_a_retry_tier(world) -> None:
    lane = world.lane(FakeEndpoint(lambda _h, _b: Answer(503)))
    lane.offer(world.deliveries(step(in_process=()))[0])
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason, row.attempts) == ("retrying", "server_error", 1)
    assert len(world.producer.of("g.retry.10s")) == 1


async def test_a_deadline_ends_an_exchange_that_never_answers(world) -> None:
    lane = world.lane(FakeEndpoint(lambda _h, _b: None), timeout_ms=50)
    lane.offer(world.deliveries(step(in_process=()))[0])
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason) == ("retrying", "timeout")


async def test_401_opens_the_breaker_parks_and_dead_letters_nothing(world) -> None:
    lane = world.lane(FakeEndpoint(lambda _h, _b: Answer(401)), concurrency=1)
    for _ in range(8):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 8)
    assert {(row.outcome, row.reason, row.attempts) for row in world.outcomes()} == {("retrying", "auth", 0)}
    assert world.producer.of("g.dead") == []
    assert lane.stats.state == "open"
    assert lane.stats.attempts == 1


async def test_a_dead_endpoint_opens_the_breaker_and_a_probe_closes_it(world) -> None:
    endpoint = FakeEndpoint()
    endpoint.down = Failure(FailureClass.CONNECTION, sent=False)
    lane = world.lane(endpoint, concurrency=1)
    for _ in range(4):
        lane.offer(world.deliveries(step(in_process=()))[0])
    await until(lambda: lane.stats.state == "open")
    lane.offer(world.deliveries(step())[0])
    assert [row.outcome for row in world.outcomes()] == ["retrying"] * 5
    endpoint.down = None
    lane._breaker._until_s = 0.0  # the time open has passed
    lane.offer(world.deliveries(step())[0])
    await until(lambda: lane.stats.state == "closed")
    assert world.outcomes()[-1].outcome == "delivered"


async def test_a_lane_parks_only_what_is_past_its_age_as_dead(world) -> None:
    lane = world.lane(FakeEndpoint(lambda _h, _b: Answer(401)))
    (delivery,) = world.deliveries(step())
    delivery.expires_ms = world.clock() // 1_000_000
    lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason) == ("dead", "expired")


async def test_draining_hands_over_what_has_not_started(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: None)
    lane = world.lane(endpoint, concurrency=1, timeout_ms=60_000)
    first, second = world.deliveries(step())[0], world.deliveries(step())[0]
    lane.offer(first)
    lane.offer(second)
    await until(lambda: len(endpoint.requests) == 1)
    lane.drain()
    (row,) = world.outcomes()
    assert (row.delivery_id, row.outcome, row.reason, row.attempts) == ("d-1-crm", "retrying", "", 0)
    lane.abort(lambda _: True)
    await until(lambda: world.tracker.watermark() == 2)
    assert world.outcomes()[-1].reason == "timeout"
    lane.offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 3)


async def test_a_rate_is_kept(world) -> None:
    endpoint = FakeEndpoint()
    lane = world.lane(endpoint, rate_per_s=20.0, queue=100)
    started = asyncio.get_running_loop().time()
    for _ in range(30):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: world.tracker.watermark() == 30)
    # A burst of one second's worth, then 20 a second: the last 10 need half a second at least.
    assert asyncio.get_running_loop().time() - started >= 0.45


async def test_a_full_queue_that_drains_holds_consumption_back(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: None)
    lane = world.lane(endpoint, concurrency=1, queue=3, timeout_ms=60_000)
    assert not lane.holds()
    for _ in range(4):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: len(endpoint.requests) == 1)
    assert lane.holds()


async def test_a_full_queue_that_does_not_drain_parks_what_comes_on_top(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: None)
    lane = world.lane(endpoint, concurrency=1, queue=3, timeout_ms=60_000)
    for _ in range(4):
        lane.offer(world.deliveries(step())[0])
    await until(lambda: not lane.holds() and lane.full())
    lane.offer(world.deliveries(step())[0])
    (row,) = world.outcomes()
    assert (row.delivery_id, row.outcome, row.attempts) == ("d-4-crm", "retrying", 0)


async def test_a_stale_connection_is_replaced_without_counting_a_failure(world) -> None:
    answers = iter(
        [Answer(200), Failure(FailureClass.CONNECTION, sent=True, detail="closed_before_answer"), Answer(200)]
    )
    endpoint = FakeEndpoint(lambda _h, _b: next(answers))
    lane = world.lane(endpoint, concurrency=1)
    for number in (1, 2):
        lane.offer(world.deliveries(step())[0])
        await until(lambda number=number: world.tracker.watermark() == number)
    assert [(row.outcome, row.attempts) for row in world.outcomes()] == [("delivered", 1), ("delivered", 1)]
    assert lane.stats.failures == {}


async def test_an_exception_of_ours_stops_the_worker(world) -> None:
    def broken(_head, _body):
        raise ZeroDivisionError

    lane = world.lane(FakeEndpoint(broken))
    lane.offer(world.deliveries(step())[0])
    await until(lambda: bool(world.errors))
    assert isinstance(world.errors.pop(), ZeroDivisionError)
    assert world.tracker.watermark() == 0


@pytest.mark.parametrize("seed", range(20))
async def test_each_delivery_is_settled_exactly_once_in_any_weather(world, seed) -> None:
    world.dice.seed(seed)
    weather = cycle(
        world.dice.choices(
            [
                Answer(200),
                Answer(204),
                Answer(422),
                Answer(503),
                Answer(401),
                Failure(FailureClass.CONNECTION, sent=True),
            ],
            k=17,
        )
    )
    lane = world.lane(FakeEndpoint(lambda _h, _b: next(weather)), concurrency=3, queue=50)
    for _ in range(120):
        lane.offer(world.deliveries(step("one", in_process=()))[0])
        lane.offer(world.deliveries(step("two", in_process=()))[0])
        if lane.full():
            await asyncio.sleep(0.002)
    await until(lambda: not lane._backlog and lane.stats.attempts and len(world.outcomes()) == 240)
    assert len({row.delivery_id for row in world.outcomes()}) == 240
