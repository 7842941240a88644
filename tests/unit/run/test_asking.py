"""Asking: what tables and memory say is looked up when asked, put together, and the answer's time is kept."""

from __future__ import annotations

import dataclasses

from pipeline.known import CAP, TABLE_STALE
from pipeline.model import NOTHING, Cap, ConsentSaid, Contact, GatePolicy, Hold, Known, Memory, SkipReason
from pipeline.run.asking import GATE_FRESH_NS, Asking
from pipeline.testing.fakes import FakeMemories, FakeTables
from tests.unit.run.conftest import DAY, step

CONSENT = dataclasses.replace(step(), basis="consent", purpose="marketing", channels=("email",))
GRANTED = Known({"email": ConsentSaid("email", granted=True, at_ms=1)})


def test_without_tables_nothing_is_looked_up(world) -> None:
    asking = Asking(GatePolicy(DAY))
    (delivery,) = world.deliveries(step())
    flight = delivery.run.flight
    assert not asking.looks
    assert asking.known(flight.event, flight) is NOTHING
    assert asking.again(delivery, world.clock()) is None
    assert delivery.asked_ns == world.clock()


def test_tables_and_memory_say_what_is_known_of_one_customer(world) -> None:
    tables, memories = FakeTables(), FakeMemories()
    asking = Asking(GatePolicy(DAY), tables, memories)
    (delivery,) = world.deliveries(step())
    flight = delivery.run.flight
    tables.of[flight.event.customer_id] = GRANTED
    assert asking.looks
    assert asking.known(flight.event, flight) == dataclasses.replace(GRANTED, memory=Memory())
    memories.away = True
    assert asking.known(flight.event, flight) == GRANTED
    assert Asking(GatePolicy(DAY), memories=memories).known(flight.event, flight) == NOTHING


def test_where_no_basis_asks_only_an_erasure_makes_it_look(world) -> None:
    tables = FakeTables()
    asking = Asking(GatePolicy(DAY))
    asking.attach(tables, None, basis_asks=False)
    (delivery,) = world.deliveries(step())
    customer_id = delivery.run.flight.event.customer_id
    assert not asking.looks
    assert asking.again(delivery, world.clock()) is None
    assert tables.asked == [customer_id], "what was begun under another configuration may have a basis that asks"
    assert not asking.tables.erasures
    tables.of["another customer"] = Known({}, erased_ms=5)
    assert asking.tables.erasures
    tables.of[customer_id] = Known({}, erased_ms=5)
    assert asking.again(delivery, world.clock()) is SkipReason.ERASED
    asking.attach(tables, FakeMemories(), basis_asks=False)
    assert asking.looks


def test_asked_again_the_tables_of_now_decide(world) -> None:
    tables = FakeTables()
    asking = Asking(GatePolicy(DAY), tables)
    (delivery,) = world.deliveries(CONSENT)
    world.clock.now_ns += 1
    assert asking.again(delivery, world.clock()) is SkipReason.CONSENT
    assert delivery.asked_ns == world.clock() - 1
    tables.of[delivery.run.flight.event.customer_id] = GRANTED
    assert asking.again(delivery, world.clock()) is None
    assert delivery.asked_ns == world.clock()
    tables.stale_ms = 30_001
    gate = asking.again(delivery, world.clock() + 1)
    assert isinstance(gate, Hold)
    assert gate.why == TABLE_STALE
    assert delivery.asked_ns == world.clock()


def test_past_its_deadline_a_delivery_may_not_go_and_until_then_the_answer_is_fresh_no_longer(world) -> None:
    asking = Asking(GatePolicy(DAY))
    (delivery,) = world.deliveries(step())
    delivery.deadline_ms = world.clock() // 1_000_000 + 300
    assert asking.again(delivery, world.clock()) is None
    assert delivery.asked_ns + GATE_FRESH_NS == delivery.deadline_ms * 1_000_000
    world.clock.advance(299)
    assert asking.again(delivery, world.clock()) is None
    world.clock.advance(1)
    assert asking.again(delivery, world.clock()) is SkipReason.EXPIRED


def test_asked_again_a_delivery_gives_its_place_up_if_another_worker_filled_the_cap_beside_it(world) -> None:
    memories = FakeMemories()
    asking = Asking(GatePolicy(DAY), None, memories)
    mails = dataclasses.replace(step(), reaches="email", caps=(Cap("", "email", 2, DAY),))
    first, second = (world.deliveries(mails)[0] for _ in range(2))
    now_ms = world.clock() // 1_000_000
    assert [asking.again(each, world.clock()) for each in (first, second)] == [None, None]
    memories.of["customer-7"] = Memory(contacts=(Contact("", "email", now_ms, "elsewhere"),))
    gate = asking.again(first, world.clock())
    assert isinstance(gate, Hold)
    assert gate.why == CAP
    assert asking.again(second, world.clock()) is None
    assert len(asking.underway) == 1
