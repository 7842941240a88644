"""A run that waits is finished by the definition it began with, by a worker whose configuration says something else."""

from __future__ import annotations

import json
import signal

from pipeline.testing.receiver import Behaviour
from tests.support.conditions import eventually
from tests.support.system import event, step


def note(name, **payload):
    return step(name, "crm.upsert", payload={"customer_id": "${event.customer.id}", **payload})


async def test_a_worker_finishes_what_another_configuration_began(system, receiver) -> None:
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    system.destination("gone", receiver.url, breaker={"failures": "100%", "of": 100})
    system.journey(
        "welcome", note("first", wording="old"), note("then", wording="old") | {"after": "first"},
        step("aside", "gone.upsert"),
    )  # fmt: skip
    system.prepare()
    before = system.worker()
    old = event(1)
    system.feed([old])
    await eventually(lambda: {row.step for row in system.outcomes() if row.outcome == "retrying"} >= {"first", "aside"})
    before.send(signal.SIGTERM)
    assert before.wait(40) == 0

    del system.destinations["gone"]
    (system.folder / "destinations/gone.yaml").unlink()
    system.journey("welcome", note("only", wording="new"))
    system.write()
    receiver.behaviour = Behaviour()
    system.worker()
    new = event(2)
    system.feed([new])
    await eventually(lambda: len([each for each in system.final().values() if each.outcome != "retrying"]) == 4)
    await eventually(system.settled)
    final = {(row.event_id, row.step): row for row in system.final().values()}
    assert {key: (row.outcome, row.reason) for key, row in final.items()} == {
        (old["id"], "first"): ("delivered", ""), (old["id"], "then"): ("delivered", ""),
        (old["id"], "aside"): ("dead", "config"), (new["id"], "only"): ("delivered", ""),
    }  # fmt: skip
    sent = [json.loads(each.body) for each in receiver.seen if each.status < 300]
    assert sorted((each["customer_id"], each["wording"]) for each in sent) == [
        ("c-1", "old"), ("c-1", "old"), ("c-2", "new"),
    ]  # fmt: skip
    assert final[old["id"], "first"].journey_hash == final[old["id"], "then"].journey_hash
    assert final[old["id"], "first"].journey_hash != final[new["id"], "only"].journey_hash
    (letter,) = system.dead()
    assert ("hookline-detail", b"operation_removed") in letter.headers
    assert system.account()["balanced"] is True
