"""Steps that mark, in real workers on a real Kafka: what one event marks, the customer's next one is judged by."""

from __future__ import annotations

import time

import pytest

from pipeline.core import decode, tables
from pipeline.core.tables import CONSENT, SUPPRESSION
from pipeline.model import Undecodable
from tests.support.conditions import eventually
from tests.support.system import event, step
from tests.support.tables import SHIPPED

READ = [decode.reader(SHIPPED.readers[name]) for name in tables.RECORDS]


def live(system, table: int) -> dict[bytes, dict | None]:
    """The newest value of each key."""
    topic = f"{system.group}.{('consent', 'suppressions')[table]}"
    found = {}
    for record in system.broker.records(topic):
        datum = READ[table](record.value, 10) if record.value else None
        assert not isinstance(datum, Undecodable)
        found[record.key] = datum
    return found


@pytest.fixture
def marking(system, receiver):
    system.destination("crm", receiver.url)
    system.hookline["classes"] = {"properties.ticket": "public", "id": "public", "type": "public",
                                  "properties.n": "public", "properties.plan": "public"}  # fmt: skip
    denied = {"channel": "email", "state": "denied", "at": "${event.time}"}
    system.journey(
        "unsubscribe", {"step": "say", "mark": {"consent": denied}},
        step("tell", "crm.upsert", after="say"), trigger={"events": ["consent.withdrawn"]},
    )  # fmt: skip
    suppress = {"category": "promotional", "id": "ticket:${event.properties.plan}", "at_most": "30d"}
    system.journey("ticket", {"step": "stop", "mark": {"suppress": suppress}}, trigger={"events": ["ticket.opened"]})
    system.journey("closed", {"step": "go", "mark": {"unsuppress": {"id": "ticket:${event.properties.plan}"}}},
                   trigger={"events": ["ticket.closed"]})  # fmt: skip
    system.prepare()
    return system


async def test_marks_are_on_the_topics_before_what_comes_after_them(marking, receiver):
    marking.worker()
    now_ms = int(time.time() * 1_000)
    marking.feed([event(1, type="consent.withdrawn", time=now_ms), event(2, type="ticket.opened")])
    await eventually(lambda: len(receiver.seen) == 1, 30, "other systems are told of the withdrawal")
    assert live(marking, CONSENT) == {b"c-1\0hookline:email": {"said": {"email": {"state": "denied", "at": now_ms}}}}
    await eventually(marking.settled, 30)
    (stands,) = live(marking, SUPPRESSION).items()
    assert stands[0] == b"c-2\0ticket:pro"
    assert (stands[1]["scope"], stands[1]["of"]) == ("category", "promotional")
    assert 29 * 86_400_000 < stands[1]["until"] - now_ms < 31 * 86_400_000
    marking.feed([event(2, type="ticket.closed")])
    await eventually(lambda: live(marking, SUPPRESSION) == {b"c-2\0ticket:pro": None}, 30)
    await eventually(marking.settled, 30)
    assert sorted((row.step, str(row.outcome)) for row in marking.outcomes()) == [
        ("go", "delivered"), ("say", "delivered"), ("stop", "delivered"), ("tell", "delivered"),
    ]  # fmt: skip
    assert marking.account()["balanced"]
