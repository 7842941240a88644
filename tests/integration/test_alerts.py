"""A whole worker tells a chat of failures: the first at once, then that all is well, and nothing of the event."""

from __future__ import annotations

import pytest

from pipeline.testing.notifier import ChatReceiver
from pipeline.testing.receiver import Behaviour, Receiver
from tests.support.conditions import eventually
from tests.support.system import event, step

PHRASE = "hush-4711"


@pytest.fixture
async def chat():
    with ChatReceiver() as receiver:
        yield receiver


async def test_a_chat_hears_of_failures_and_of_their_end(system, chat):
    receiver = Receiver(Behaviour(answers={"/refuse": (422, PHRASE.encode())}), keep=100)
    await receiver.start()
    system.destination("crm", receiver.url, operations={"upsert": {"path": "/upsert"}, "refuse": {"path": "/refuse"}})
    system.environ["ONCALL"] = f"json://127.0.0.1:{chat.port}/{PHRASE}"
    system.hookline["alerts"] = {"oncall": {"url": "env:ONCALL", "digest": "3s"}}
    system.journey(
        "welcome", step("good", "crm.upsert"), step("bad", "crm.refuse"),
        step("quiet", "crm.refuse", on_failure={"alert": []}), on_failure={"alert": ["oncall"]},
    )  # fmt: skip
    system.prepare()
    worker = system.worker()
    sent = event(1, customer={"id": PHRASE, "email": None, "phone": None, "timezone": None, "ids": {}})
    system.feed([sent])
    try:
        await eventually(lambda: len(chat.received) == 2, timeout_s=60)
    finally:
        await receiver.stop()
    (path, first), (_, last) = chat.received
    assert path == f"/{PHRASE}"
    assert (first["title"], first["type"]) == ("Hookline: 1 delivery failed", "failure")
    assert first["message"].startswith("1 rejected(client_error): welcome.bad to crm\n")
    assert sent["id"] in first["message"]
    assert system.group in first["message"]
    assert (last["title"], last["type"]) == ("Hookline: all is well again", "success")
    assert PHRASE not in str([first, last])
    worker.stop()
    assert PHRASE not in worker.log.read_text()


async def test_a_worker_does_not_start_without_what_it_needs_to_tell(system):
    system.destination("crm", "http://127.0.0.1:9")
    system.hookline["alerts"] = {"oncall": {"url": "env:ONCALL"}}
    system.journey("welcome", step("crm", "crm.upsert"), on_failure={"alert": ["oncall"]})
    system.prepare()
    refused = system.run("run")
    assert refused.returncode == 2
    assert "alerts.oncall.url: env:ONCALL is not set" in refused.stderr
