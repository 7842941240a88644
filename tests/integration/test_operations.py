"""Operations through a whole worker: path, query and bodies as they are asked for, contracts both ways, and no leak."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import pytest

from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import SECRET, event, step

CANARY = "hush-4711"
REQUEST = {
    "type": "object", "required": ["plan"], "additionalProperties": False,
    "properties": {"plan": {"enum": ["pro", "free"]}, "n": {"type": "integer"}, "hookline": {"type": "object"}},
}  # fmt: skip
RESPONSE = {"type": "object", "required": ["data"]}
OPERATIONS = {
    "set_stage": {
        "method": "PATCH", "path": "/v3/accounts/{account}/stage", "metadata": "headers_and_body",
        "query": {"expand": "owner & co", "since": "${event.time}", "campaign?": "${event.source.campaign}"},
        "request_schema": "contracts/stage.request.json", "response_schema": "contracts/stage.response.json",
        "response": {"stage": {"at": "/data/stage", "type": "string", "one_of": ["won", "lost"]}},
    },
    "form": {"path": "/form", "body": "form"},
    "line": {"path": "/lines", "body": "ndjson"},
    "forget": {"method": "DELETE", "path": "/v3/contacts/{contact}", "body": "none"},
    "note": {"path": "/notes", "response": {"id": {"at": "/id", "type": "int"}}},
    "refuse": {"path": "/refuse"},
}  # fmt: skip
CUSTOMER = "c/1 ü?#"
STEPS = [
    step("stage", "crm.set_stage", payload={
        "account": "${event.customer.id}", "plan": "${event.properties.plan}", "n": "${event.properties.n}",
    }),
    step("form", "crm.form", payload={"name": "${event.customer.id}", "n": "${event.properties.n}", "a b": "x&y"}),
    step("line", "crm.line", payload={"customer": "${event.customer.id}", "tags": ["a", "${event.properties.plan}"]}),
    step("forget", "crm.forget", payload={"contact": "id-${event.customer.id}"}),
    step("note", "crm.note", payload={"customer": "${event.customer.id}"}),
    step("refuse", "crm.refuse", payload={"customer": "${event.customer.id}"}),
]  # fmt: skip
ANSWERS = {
    "/v3/accounts/c/1 ü?#/stage": (200, b'{"data": {"stage": "won", "phone": "%b"}}' % CANARY.encode()),
    "/notes": (200, b"<html><body>Please sign in, %b</body></html>" % CANARY.encode()),
    "/refuse": (422, b"no such thing: %b " % CANARY.encode() + b"x" * 1_000),
}


@pytest.fixture
async def crm(system):
    """The system with one journey that calls every operation; the receiver verifies each signature."""
    receiver = Receiver(Behaviour(answers=ANSWERS), keep=1_000, secrets=[SECRET])
    await receiver.start()
    system.destination("crm", receiver.url, operations=OPERATIONS, retain_excerpt="64B")
    system.journey("welcome", *STEPS)
    for name, schema in (("request", REQUEST), ("response", RESPONSE)):
        system._put(f"contracts/stage.{name}.json", schema)
    system.hookline["classes"] = {"properties.plan": "public", "properties.n": "public", "source.campaign": "public"}
    system.crm = receiver
    yield system
    await receiver.stop()


def customer(identity: str) -> dict:
    return {"id": identity, "email": None, "phone": None, "timezone": None, "ids": {}}


async def test_every_kind_of_request_and_contract(crm):
    crm.prepare()
    worker = crm.worker()
    good = event(7, customer=customer(CUSTOMER))
    broken = event(8, customer=customer("c-8"), properties={"plan": CANARY, "n": 8})
    crm.feed([good, broken])
    await eventually(lambda: len(crm.final()) == 2 * len(STEPS) and crm.settled(), timeout_s=40)

    requests_are_as_asked_for(crm, good)
    told = {(row.event_id, row.step): (row.outcome, row.reason, row.status) for row in crm.final().values()}
    assert {name: told[good["id"], name] for name in ("stage", "form", "line", "forget", "note", "refuse")} == {
        "stage": ("delivered", "", 200), "form": ("delivered", "", 204), "line": ("delivered", "", 204),
        "forget": ("delivered", "", 204), "note": ("delivered", "contract", 200),
        "refuse": ("rejected", "client_error", 422),
    }  # fmt: skip
    assert told[broken["id"], "stage"] == ("dead", "schema", 0)  # its request would have broken the contract
    sent = {(seen.headers["hookline-event-id"], seen.headers["hookline-step"]) for seen in crm.crm.seen}
    assert (broken["id"], "stage") not in sent
    [note] = [row for row in crm.final().values() if (row.event_id, row.step) == (good["id"], "note")]
    assert [(each.status, each.cls) for each in note.history] == [(200, "contract")]

    letters = {dict(each.headers)["hookline-step"]: dict(each.headers) for each in crm.dead()}
    assert letters[b"stage"]["hookline-detail"] == b"#/plan enum"
    assert letters[b"refuse"]["hookline-excerpt"] == ANSWERS["/refuse"][1][:64]
    account = crm.account()
    assert account["balanced"] is True
    assert account["reasons"]["delivered"] == {"contract": 2}

    nothing_of_a_response_leaks(crm, worker, good)


def requests_are_as_asked_for(crm, good) -> None:
    requests = {
        seen.headers["hookline-step"]: seen for seen in crm.crm.seen
        if seen.headers["hookline-event-id"] == good["id"]
    }  # fmt: skip
    stage = requests["stage"]
    path, _, query = stage.path.partition("?")
    assert (stage.method, path) == ("PATCH", "/v3/accounts/c%2F1%20%C3%BC%3F%23/stage")
    at = stage.headers["hookline-event-time"]
    assert parse_qs(query) == {"expand": ["owner & co"], "since": [at]}
    assert json.loads(stage.body) == {
        "plan": "pro", "n": 7,
        "hookline": {
            "event_id": good["id"], "event_type": "signup.completed", "event_time": at, "journey": "welcome",
            "step": "stage", "delivery_id": stage.delivery_id,
        },
    }  # fmt: skip
    form = requests["form"]
    assert form.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert form.body == b"name=c%2F1+%C3%BC%3F%23&n=7&a+b=x%26y"
    line = requests["line"]
    assert line.headers["Content-Type"] == "application/x-ndjson"
    assert line.body.endswith(b"\n")
    assert json.loads(line.body) == {"customer": CUSTOMER, "tags": ["a", "pro"]}
    forget = requests["forget"]
    assert (forget.method, forget.path, forget.body) == ("DELETE", "/v3/contacts/id-c%2F1%20%C3%BC%3F%23", b"")
    assert crm.crm.snapshot()["bad_signatures"] == 0


def nothing_of_a_response_leaks(crm, worker, good) -> None:
    output = worker.log.read_text(errors="replace")
    logged = [json.loads(text) for text in output.splitlines() if text.startswith("{")]
    breaches = [each for each in logged if each["event"] == "contract_broken"]
    assert {each["detail"] for each in breaches} == {"# json"}
    assert CANARY not in output
    rows = b"".join(record.value or b"" for record in crm.broker.records(f"{crm.group}.outcomes"))
    assert CANARY.encode() not in rows
    masked = crm.run("dead", "show", good["id"])
    assert masked.returncode == 0, masked.stderr
    assert "excerpt" in masked.stdout
    assert CANARY not in masked.stdout
    assert "no such thing" not in masked.stdout
    assert f"no such thing: {CANARY}" in crm.run("dead", "show", good["id"], "--reveal").stdout
    assert CANARY not in crm.run("dead", "list").stdout + crm.run("dead", "list", "--json").stdout
