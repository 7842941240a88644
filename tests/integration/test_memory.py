"""What is remembered of customers, on a real Kafka: a key enters once, on whichever worker, after any crash."""

from __future__ import annotations

import signal
import uuid

from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import encode, event, step

ONCE = {"once": {"key": "${event.properties.plan}", "per": "30d"}}


def outcomes(system) -> dict[str, tuple[str, str]]:
    return {row.event_id: (row.outcome, row.reason) for row in system.final().values()}


async def test_a_customer_enters_once_a_key_also_on_another_worker(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.prepare()
    assert len(system.broker.partitions(f"{system.group}.memory")) == system.partitions
    worker = system.worker()
    first, again, other = event(1), event(1), event(2)
    different = event(1, properties={"plan": "free", "n": 1})
    keyless = event(3, properties={"n": 3})
    system.feed([first, again, other, different, keyless])
    await eventually(lambda: len(system.final()) == 5)
    assert outcomes(system) == {
        first["id"]: ("delivered", ""), again["id"]: ("skipped", "once"), other["id"]: ("delivered", ""),
        different["id"]: ("delivered", ""), keyless["id"]: ("skipped", "condition_error"),
    }  # fmt: skip
    await eventually(system.settled)
    worker.send(signal.SIGTERM)
    assert worker.wait(40) == 0
    system.worker()
    later = event(1)
    system.feed([later])
    await eventually(lambda: later["id"] in outcomes(system), timeout_s=40)
    assert outcomes(system)[later["id"]] == ("skipped", "once")
    await eventually(system.settled)
    assert receiver.accepted() == 3
    assert system.account()["balanced"] is True
    for record in system.broker.records(f"{system.group}.memory"):
        assert b"pro" not in record.value
        assert b"free" not in record.value


async def test_after_a_crash_the_event_that_entered_enters_again_and_no_other(system, receiver) -> None:
    """Nothing is committed before the crash: all is taken up again by a worker that reads what the first one wrote."""
    receiver.behaviour = Behaviour(latency_ms=60_000)
    system.destination("crm", receiver.url, timeout="60s")
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.prepare()
    worker = system.worker()
    events = [event(number % 10, id=str(uuid.uuid4())) for number in range(40)]
    system.feed([Outgoing(encode(each), key=each["customer"]["id"].encode()) for each in events])
    await eventually(lambda: receiver.deliveries() == 10)
    await eventually(lambda: len(system.broker.records(f"{system.group}.memory")) == 10)
    worker.kill()
    receiver.behaviour = Behaviour()
    system.worker()
    await eventually(lambda: len(system.final()) == 40, timeout_s=60)
    await eventually(system.settled)
    said = outcomes(system)
    assert [said[each["id"]] for each in events] == [("delivered", "")] * 10 + [("skipped", "once")] * 30
    assert system.account()["balanced"] is True


async def test_a_worker_refuses_partitions_that_do_not_belong_together(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.write()
    system.broker.create_topic(system.topic, system.partitions)
    system.broker.create_topic(f"{system.group}.memory", 3)
    made = system.run("topics", "create")
    assert made.returncode == 1
    assert "memory: has 3 partitions, must have 2" in made.stdout
    worker = system.worker()
    await eventually(lambda: worker.returncode is not None, timeout_s=40)
    assert "belong together by their number" in worker.tail()


async def test_a_run_that_waits_is_cancelled_by_an_event_that_comes_meanwhile_on_whichever_worker(
    system, receiver
) -> None:
    """Two workers, so that runs come back on the one that does not own their customer's partition, too."""
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    match = "event.properties.n == trigger.properties.n"
    system.journey("welcome", step("crm", "crm.upsert"), cancel_on=[{"event": "order.placed", "match": match}])
    system.tiers = ["2s", "5s"]
    system.prepare()
    system.worker("--workers", "2")
    begun = [event(number) for number in range(12)]
    system.feed(begun)
    await eventually(lambda: len({row.event_id for row in system.outcomes() if row.outcome == "retrying"}) == 12,
                     timeout_s=60)  # fmt: skip
    bought = [event(number, type="order.placed") for number in range(0, 12, 2)]
    other = [event(number, type="order.placed", properties={"n": 99}) for number in range(1, 12, 2)]
    system.feed([*bought, *other])
    # Nothing is delivered before all that are cancelled ended: an attempt just now need not ask its gates again.
    await eventually(lambda: sum(row.outcome == "skipped" for row in system.final().values()) == 6, timeout_s=60)
    receiver.behaviour = Behaviour()
    await eventually(lambda: sum(row.outcome != "retrying" for row in system.final().values()) == 12, timeout_s=60)
    await eventually(system.settled, timeout_s=40)
    said = outcomes(system)
    assert [said[each["id"]] for each in begun] == [("skipped", "cancelled"), ("delivered", "")] * 6
    assert receiver.accepted() == 6
    assert system.ledger() == {"no_journey": 12}
    assert system.account()["balanced"] is True


async def test_a_customer_is_contacted_no_more_often_than_a_cap_allows(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert", reaches="email"))
    system.hookline = {"caps": [{"category": "service", "channel": "email", "max": 2, "per": "7d"}]}
    system.prepare()
    system.worker()
    sent = [event(1) for _ in range(4)] + [event(2)]
    for number, each in enumerate(sent):
        system.feed([each])
        await eventually(lambda number=number: len(system.final()) == number + 1, timeout_s=40)
    said = outcomes(system)
    assert [said[each["id"]] for each in sent] == [("delivered", "")] * 2 + [("skipped", "cap")] * 2 + [
        ("delivered", "")
    ]
    await eventually(system.settled)
    assert system.account()["balanced"] is True


async def test_two_journeys_of_one_event_do_not_contact_together_what_one_may_alone(system, receiver) -> None:
    system.destination("crm", receiver.url)
    for name in ("welcome", "second"):
        system.journey(name, step("crm", "crm.upsert", reaches="email"))
    system.hookline = {"caps": [{"category": "service", "channel": "email", "max": 1, "per": "7d"}]}
    system.prepare()
    system.worker()
    system.worker()
    sent = [event(number) for number in range(1, 9)]
    system.feed(sent)
    await eventually(
        lambda: [row.outcome == "retrying" for row in system.final().values()] == [False] * 2 * len(sent), timeout_s=60
    )
    ends = [sorted((row.outcome, row.reason) for row in system.final().values() if row.event_id == each["id"])
            for each in sent]  # fmt: skip
    assert ends == [[("delivered", ""), ("skipped", "cap")]] * len(sent)
    await eventually(system.settled)
    assert receiver.accepted() == len(sent)
    assert system.account()["balanced"] is True


async def test_who_is_erased_is_forgotten_here_too(system, receiver) -> None:
    system.destination("crm", receiver.url)
    system.journey("welcome", step("crm", "crm.upsert"), trigger=ONCE)
    system.prepare()
    system.worker()
    system.feed([event(1), event(1, properties={"plan": "free", "n": 1}), event(2)])
    await eventually(lambda: len(system.final()) == 3)
    done = system.run("erase", "c-1")
    assert "Traceback" not in done.stderr

    def left() -> set[bytes]:
        last = {record.key: record.value for record in system.broker.records(f"{system.group}.memory")}
        return {key.partition(b"\0")[0] for key, content in last.items() if content is not None}

    await eventually(lambda: left() == {b"c-2"})
