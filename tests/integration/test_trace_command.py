"""`hookline trace` on a real Kafka, after a real worker: by event ID, by trace ID, by position; and nothing found."""

import json

from pipeline.model import Outcome
from pipeline.testing.receiver import Behaviour
from tests.support.conditions import eventually
from tests.support.system import event


async def test_the_story_of_a_retried_event_is_told_without_any_tracing_backend(system, receiver):
    receiver.behaviour = Behaviour(unavailable=1.0)
    system.destination("crm", receiver.url, breaker={"failures": "100%", "of": 100})
    system.prepare()
    system.worker()
    sent = event(7)
    system.feed([event(1, type="unknown.to.all"), sent, event(8)])
    await eventually(
        lambda: any(row.outcome is Outcome.RETRYING and row.event_id == sent["id"] for row in system.outcomes())
    )
    receiver.behaviour = Behaviour()
    await eventually(lambda: receiver.accepted() == 2, timeout_s=40)
    await eventually(system.settled)

    done = system.run("trace", sent["id"], "--json")
    assert done.returncode == 0, done.stderr
    (story,) = json.loads(done.stdout)["timelines"]
    assert (story["event_id"], story["trace_id"]) == (sent["id"], sent["id"].replace("-", ""))
    (line,) = story["deliveries"]
    assert (line["outcome"], line["destination"]) == ("delivered", "crm")
    whats = [moment["what"] for moment in line["moments"]]
    assert whats.count("attempt") == line["attempts"] >= 3
    assert "handed_over" in whats
    assert whats[-1] == "settled"
    assert [moment["status"] for moment in line["moments"] if moment["what"] == "attempt"][-1] == 204

    drawn = system.run("trace", story["trace_id"])
    assert drawn.returncode == 0
    assert f"event {sent['id']}  signup.completed" in drawn.stdout
    assert "503  server_error" in drawn.stdout
    assert "\x1b[" not in drawn.stdout
    assert "example.org" not in drawn.stdout + done.stdout

    topic, partition, offset = story["position"]
    here = system.run("trace", f"{topic}/{partition}/{offset}", "--json")
    assert json.loads(here.stdout)["timelines"] == [story]


async def test_a_rejected_event_shows_its_dead_letter_and_an_unwanted_one_why_nothing_happened(system, receiver):
    receiver.behaviour = Behaviour(status=422)
    system.destination("crm", receiver.url)
    system.prepare()
    system.worker()
    sent = event(7)
    places = system.feed([event(1, type="unknown.to.all"), sent])
    await eventually(lambda: len(system.dead()) == 1)
    await eventually(system.settled)
    await eventually(system.ledger)

    drawn = system.run("trace", sent["id"])
    assert "rejected (client_error) after 1 attempt" in drawn.stdout
    assert f"{system.group}.dead/" in drawn.stdout

    partition, offset = places[0]
    unwanted = system.run("trace", f"{system.topic}/{partition}/{offset}")
    assert unwanted.returncode == 0
    assert unwanted.stdout.strip().endswith("settled without a delivery: no_journey")

    nothing = system.run("trace", "no-such-event")
    assert nothing.returncode == 1
    assert nothing.stdout == ""
    assert "nothing was settled for no-such-event since" in nothing.stderr
    assert "--since 7d" in nothing.stderr
