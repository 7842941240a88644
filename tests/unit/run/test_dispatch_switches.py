"""run/dispatch: what is held back by hand waits, and an operation that is gone is told of."""

from __future__ import annotations

from pipeline.core.switches import Held
from pipeline.model import Answer
from pipeline.testing.fakes import FakeEndpoint
from tests.unit.run.conftest import step, until


async def test_what_is_held_back_waits_without_an_attempt_and_goes_again_after(world) -> None:
    endpoint = FakeEndpoint()
    lane = world.lane(endpoint)
    lane.hold(lambda each: "paused" if each.name == "crm" else "")
    held, other = (*world.deliveries(step()), *world.deliveries(step("other")))
    lane.offer(held)
    lane.offer(other)
    await until(lambda: world.tracker.watermark() == 2)
    assert [(row.step, row.outcome, row.reason, row.attempts) for row in world.outcomes()] == [
        ("crm", "retrying", "paused", 0), ("other", "delivered", "", 1),
    ]  # fmt: skip
    assert len(endpoint.requests) == 1
    lane.hold(None)
    (again,) = world.deliveries(step())
    lane.offer(again)
    await until(lambda: len(endpoint.requests) == 2)


async def test_what_waits_in_the_lane_is_parked_too_and_attempts_under_way_end(world) -> None:
    endpoint = FakeEndpoint(latency_s=0.05)
    lane = world.lane(endpoint, concurrency=1)
    under_way, queued = (*world.deliveries(step()), *world.deliveries(step()))
    lane.offer(under_way)
    await until(lambda: len(endpoint.requests) == 1)
    lane.offer(queued)
    lane.hold(lambda _: "paused")
    await until(lambda: world.tracker.watermark() == 2)
    assert sorted((row.outcome, row.reason) for row in world.outcomes()) == [("delivered", ""), ("retrying", "paused")]
    assert len(endpoint.requests) == 1


async def test_an_attempt_that_fails_during_a_pause_is_not_repeated_here(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: Answer(503), latency_s=0.02)
    lane = world.lane(endpoint)
    (delivery,) = world.deliveries(step(in_process=(1, 1)))
    lane.offer(delivery)
    await until(lambda: len(endpoint.requests) == 1)
    lane.hold(lambda _: "paused")
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason, row.attempts, len(endpoint.requests)) == ("retrying", "paused", 1, 1)


async def test_held_back_past_its_age_it_is_dead(world) -> None:
    lane = world.lane(FakeEndpoint())
    lane.hold(lambda _: "paused")
    (delivery,) = world.deliveries(step())
    delivery.expires_ms = 1
    lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 1)
    (row,) = world.outcomes()
    assert (row.outcome, row.reason) == ("dead", "expired")


async def test_nothing_parked_is_asked_for_while_something_is_held_back(world) -> None:
    lane = world.lane(FakeEndpoint())
    assert lane.spare() > 0
    lane.hold(lambda _: "")
    assert lane.spare() == 0


async def test_a_gone_operation_is_told_of_and_that_delivery_rejected(world) -> None:
    lane = world.lane(FakeEndpoint(lambda _h, _b: Answer(410)))
    gone: list[str] = []
    lane.disabled = lambda delivery: gone.append(delivery.id)
    for policy in ({410: "disable"}, {}):
        (delivery,) = world.deliveries(step(on_status=policy))
        lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 2)
    assert gone == ["d-0-crm"]
    assert [row.outcome for row in world.outcomes()] == ["rejected", "rejected"]


async def test_a_reset_closes_the_breaker(world) -> None:
    endpoint = FakeEndpoint(lambda _h, _b: Answer(401))
    lane = world.lane(endpoint)
    (refused,) = world.deliveries(step())
    lane.offer(refused)
    await until(lambda: lane.stats.state == "open")
    endpoint.script = lambda _h, _b: Answer(204)
    lane.reset()
    assert (lane.stats.state, lane.takes()) == ("closed", True)
    (delivery,) = world.deliveries(step())
    lane.offer(delivery)
    await until(lambda: world.tracker.watermark() == 2)
    assert world.outcomes()[-1].outcome == "delivered"


async def test_a_drop_ends_what_waits_for_its_turn_or_its_time_and_nothing_else(world) -> None:
    endpoint = FakeEndpoint(latency_s=0.05)
    lane = world.lane(endpoint, concurrency=1)
    under_way, queued, delayed, other = (*(world.deliveries(step())[0] for _ in range(4)),)
    lane.offer(under_way)
    await until(lambda: len(endpoint.requests) == 1)
    delayed.due_ms = world.clock() // 1_000_000 + 9_000
    for each in (queued, delayed, other):
        lane.offer(each)
    lane.drop(lambda each: each is not other)
    await until(lambda: world.tracker.watermark() == 4)
    ended = {row.delivery_id: (row.outcome, row.reason) for row in world.outcomes()}
    assert ended == {
        under_way.id: ("delivered", ""), other.id: ("delivered", ""),
        queued.id: ("skipped", "dropped"), delayed.id: ("skipped", "dropped"),
    }  # fmt: skip


async def test_a_release_waits_while_the_whole_destination_is_held_and_not_for_a_journey(world) -> None:
    lane = world.lane(FakeEndpoint())
    lane.hold(Held(whole=True, disabled=frozenset(), journeys=frozenset()))
    assert not lane.takes()
    lane.hold(Held(whole=False, disabled=frozenset(), journeys=frozenset({"other"})))
    assert lane.takes()
