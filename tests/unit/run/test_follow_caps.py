"""run/follow, run/settle: what is under way counts against a cap until it ends, whichever way that is."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline.model import Answer, Broken, Cap, Contact, FailureClass, Memory, Refused
from tests.support.gated import Gated
from tests.unit.run.conftest import DAY, retry_record, step, until


def reaching(name, **over):
    """A step that mails, and says in its request which it is: one mail a day is allowed."""
    over = {"render": lambda _datum, _now: name.encode()} | over
    return dataclasses.replace(step(name), reaches="email", caps=(Cap("promotional", "email", 1, DAY),), **over)


class Remembering(Gated):
    """Remembers contacts as run/memory does; the endpoint answers by step."""

    def __init__(self, world, *steps) -> None:
        super().__init__(world, *steps)
        world.settlement.contacted = self._contacted
        self.answers: dict[str, Answer | None] = {}
        self.endpoint.script = lambda _head, body: self.answers.get(body.decode(), Answer(200))

    def _contacted(self, delivery, now_ms) -> None:
        before = self.memories.of.get("c", Memory()).contacts
        self.memories.of["c"] = Memory((*before, Contact("promotional", "email", now_ms, delivery.id)))

    async def by_step(self, number) -> dict[str, tuple[str, str]]:
        await self.ended(number)
        return {row.step: (row.outcome.value, row.reason) for row in self.world.outcomes()}

    async def at_rest(self) -> None:
        await until(lambda: self.world.settlement.unsettled() == 0)
        assert len(self.asking.underway) == 0


async def test_of_two_steps_that_would_reach_the_customer_one_waits_and_is_skipped_once_the_other_did(world) -> None:
    gated = Remembering(world, reaching("a"), reaching("b"))
    gated.take()
    assert await gated.by_step(2) == {"a": ("delivered", ""), "b": ("retrying", "cap")}
    (record,) = gated.handed_over()
    assert record.topic == "g.retry.10s"
    world.clock.advance(10_000)
    gated.resume(record)
    assert (await gated.by_step(3))["b"] == ("skipped", "cap")
    assert [body for _, body in gated.endpoint.requests] == [b"a"]
    await gated.at_rest()


@pytest.mark.parametrize(
    ("over", "ended"),
    [
        ({}, ("rejected", "client_error")),
        ({"render": lambda _datum, _now: Refused(FailureClass.MISSING_FIELD, "x")}, ("dead", "missing_field")),
        ({"deadline": lambda _datum, _now: 1}, ("skipped", "expired")),
    ],
)
async def test_what_did_not_reach_the_customer_takes_no_place_from_another(world, over, ended) -> None:
    gated = Remembering(world, reaching("a", **over), reaching("b"))
    gated.answers["a"] = Answer(400)
    gated.take()
    assert (await gated.by_step(2))["a"] == ended
    if over:  # it never went anywhere, so b need not have waited
        assert gated.handed_over() == []
    else:
        world.clock.advance(10_000)
        gated.resume(gated.handed_over()[0])
    assert (await gated.by_step(3 - bool(over)))["b"] == ("delivered", "")
    await gated.at_rest()


async def test_what_goes_to_a_retry_tier_gives_its_place_up_and_asks_anew(world) -> None:
    gated = Remembering(world, reaching("a"))
    gated.answers["a"] = Answer(503, "60")
    gated.take()
    assert (await gated.by_step(1))["a"][0] == "retrying"
    await gated.at_rest()
    gated.answers["a"] = Answer(200)
    gated.take()
    assert (await gated.by_step(2))["a"] == ("delivered", ""), "another event's, meanwhile"
    world.clock.advance(120_000)
    gated.resume(gated.handed_over()[0])
    assert (await gated.by_step(3))["a"] == ("skipped", "cap")
    await gated.at_rest()


async def test_what_comes_back_from_a_retry_tier_waits_for_what_is_under_way(world) -> None:
    gated = Remembering(world, reaching("a"))
    gated.answers["a"] = None
    gated.take()
    await until(lambda: gated.endpoint.requests)
    gated.resume(retry_record(world, {"a": (1, 0)}))
    assert await gated.ended() == [("retrying", "cap", 1)]
    assert len(gated.asking.underway) == 1
    world.lanes["crm"].abort(lambda _: True)


async def test_one_whose_answer_breaks_its_contract_reached_the_customer_all_the_same(world) -> None:
    gated = Remembering(
        world, reaching("a", default=lambda _datum, _now: {"code": ""}, response=lambda _answer: Broken("x"))
    )
    gated.take()
    assert (await gated.by_step(1))["a"] == ("defaulted", "contract")
    gated.take()
    assert (await gated.by_step(2))["a"] == ("skipped", "cap")


async def test_a_partition_that_moves_takes_its_places_with_it(world) -> None:
    gated = Remembering(world, reaching("a"))
    gated.answers["a"] = None
    gated.take()
    await until(lambda: gated.endpoint.requests)
    assert len(gated.asking.underway) == 1
    world.settlement.forget(world.tracker)
    assert len(gated.asking.underway) == 0
    world.lanes["crm"].abort(lambda _: True)


async def test_before_a_late_attempt_a_delivery_finds_its_own_place_and_goes(world) -> None:
    gated = Remembering(world, dataclasses.replace(reaching("a"), retry=step(in_process=(2_000,)).retry))
    first = iter([Answer(503), Answer(200)])
    gated.endpoint.script = lambda _head, _body: next(first)
    gated.take()
    await until(lambda: world.lanes["crm"]._backlog.delayed)
    assert len(gated.asking.underway) == 1
    world.clock.advance(4_000)
    assert (await gated.by_step(1))["a"] == ("delivered", "")
    await gated.at_rest()
