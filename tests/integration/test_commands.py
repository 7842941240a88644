"""The commands on a live system: a worker, one destination that is well and one that refuses everything."""

from __future__ import annotations

import json

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import event, step


async def test_an_on_call_engineer_sees_what_is_wrong_since_when_and_what_waits(system) -> None:
    good, bad, strict = Receiver(Behaviour()), Receiver(Behaviour(unauthorised=True)), Receiver(Behaviour(status=422))
    for receiver in (good, bad, strict):
        await receiver.start()
    system.destination("crm", good.url)
    system.destination("mail", bad.url)
    system.destination("ads", strict.url)
    system.journey("welcome", step("crm", "crm.upsert"), step("mail", "mail.upsert"), step("ads", "ads.upsert"))
    system.tiers = ["1s", "1h"]
    system.prepare()
    system.worker()
    first = event(1)
    system.feed([first, event(2), event(3)])
    await eventually(lambda: len(system.outcomes()) >= 9)

    status = system.run("status", "--json")
    assert status.returncode in (0, 1), status.stderr
    await eventually(lambda: '"open"' in system.run("status", "--json").stdout)
    shown = system.run("status").stdout
    assert "mail" in shown
    assert "auth" in shown

    letters = json.loads(system.run("dead", "list", "--json").stdout)
    assert len(letters["letters"]) == 3
    listed = system.run("dead", "list", "--destination", "ads").stdout
    assert "client_error" in listed
    shown = system.run("dead", "show", first["id"]).stdout
    assert first["id"] in shown
    assert "c1@example.org" not in shown
    assert "c1@example.org" in system.run("dead", "show", first["id"], "--reveal").stdout

    traced = system.run("trace", first["id"])
    assert traced.returncode == 0
    for word in ("crm", "mail", "ads", "delivered", "rejected", "401", "422"):
        assert word in traced.stdout, word
    assert system.run("trace", "00000000-0000-4000-8000-000000000000").returncode == 1

    account = json.loads(system.run("account", "--json").stdout)
    assert account["balanced"] is True
    assert account["waiting"] == 3
    assert account["deliveries"] == {"delivered": 3, "rejected": 3, "retrying": 3}
    for receiver in (good, bad, strict):
        await receiver.stop()
