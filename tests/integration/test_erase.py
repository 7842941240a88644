"""`hookline erase` on a real Kafka: nothing is sent any more, others are told, and it may be repeated."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from pipeline.core import tables
from pipeline.core.tables import CONSENT
from pipeline.model import ConsentSaid, Suppress
from pipeline.testing.receiver import Behaviour
from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import event, step

NOW_MS = 1_700_000_000_000


async def erase(system, *arguments: str) -> dict:
    done = await asyncio.to_thread(system.run, "erase", *arguments, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def marks(system, customer: str) -> None:
    """What journeys and another system wrote of a customer."""
    both = f"{system.group}.consent", f"{system.group}.suppressions"
    for mark in (ConsentSaid("email", True, NOW_MS), Suppress("ticket:1", "category", "promotional", "", "", 0)):
        table, key, value = tables.written(customer, mark, NOW_MS)
        system.broker.produce(both[table], [Outgoing(value, key)])
    value = tables.encode(CONSENT, {"said": {"sms": {"state": "denied", "at": NOW_MS}}})
    system.broker.produce(both[CONSENT], [Outgoing(value, customer.encode())])


def live(system, topic: str, customer: str) -> dict[bytes, bytes]:
    newest = {}
    for record in system.broker.records(f"{system.group}.{topic}"):
        if tables.split(record.key)[0] == customer.encode():
            newest[record.key] = record.value
    return {key: value for key, value in newest.items() if value is not None}


@pytest.fixture
def prepared(system, receiver):
    system.destination("crm", receiver.url)
    system.journey("forget", step("crm", "crm.upsert"), basis="legal_obligation",
                   trigger={"events": ["customer.erased"]})  # fmt: skip
    system.prepare()
    return system


async def test_all_there_is_of_a_customer_is_taken_away_and_nobody_elses(prepared):
    marks(prepared, "c-1")
    marks(prepared, "c-12")
    said = await erase(prepared, "c-1")
    assert said["taken_away"] == {"consent": 2, "suppressions": 1, "memory_partitions": 0}
    assert live(prepared, "consent", "c-1") == {}
    assert list(live(prepared, "suppressions", "c-1")) == [b"c-1\0hookline:erased"]
    assert (len(live(prepared, "consent", "c-12")), len(live(prepared, "suppressions", "c-12"))) == (2, 1)
    held = {each["topic"].removeprefix(f"{prepared.group}."): each["for_ms"] for each in said["may_still_hold"]}
    assert held["dead"] == 14 * 86_400_000
    assert held["outcomes"] == 30 * 86_400_000
    assert held["suppressions"] == -1
    assert held["consent"] == 3_600_000 + 86_400_000  # the old values until compaction, tombstones a day more
    assert {"events", "retry.1s"} <= held.keys()


async def test_topics_of_look_ups_and_of_tiers_that_are_gone_are_listed_too(prepared):
    ids = f"{prepared.group}-ids"
    prepared.broker.create_topic(ids, 1, cleanup_policy="compact")
    prepared.hookline["lookups"] = {"ids": {"topic": ids, "fields": {"crm": {"at": "/crm", "type": "string"}}}}
    prepared.tiers = ["2s"]
    prepared.write()
    held = {each["topic"]: each for each in (await erase(prepared, "c-1"))["may_still_hold"]}
    assert (held[ids]["for_ms"], "owner" in held[ids]["what"]) == (-1, True)
    assert f"{prepared.group}.retry.1s" in held


async def test_a_dead_letter_that_is_replayed_is_denied(prepared, receiver):
    receiver.behaviour = Behaviour(answers={"/upsert": (422, b"")})
    prepared.worker()
    gone, stays = event(1), event(2)
    prepared.feed([gone, stays])
    await eventually(lambda: len(prepared.dead()) == 2 and prepared.settled(), 60)
    receiver.behaviour = Behaviour()
    await erase(prepared, "c-1")
    await eventually(lambda: len(receiver.seen) == 3 and prepared.settled(), 60, "other systems are told")
    sent = len(receiver.seen)
    done = await asyncio.to_thread(prepared.run, "dead", "replay", "--json")
    assert json.loads(done.stdout)["count"] == 2, done.stdout + done.stderr
    await eventually(lambda: prepared.settled() and len(receiver.seen) > sent, 60)
    ends = {row.event_id: (str(row.outcome), row.reason) for row in prepared.final().values()}
    assert ends[gone["id"]] == ("skipped", "erased")
    assert ends[stays["id"]] == ("delivered", "")
    assert [json.loads(each.body)["customer_id"] for each in list(receiver.seen)[sent:]] == ["c-2"]
    assert (await asyncio.to_thread(prepared.account))["balanced"]


async def test_an_erasure_may_be_repeated_and_tells_with_one_id(prepared):
    first = await erase(prepared, "c-1")
    again = await erase(prepared, "c-1")
    assert (first["before"], again["before"]) == (False, True)
    assert first["event"]["id"] == again["event"]["id"]
    assert first["erased_at"] == again["erased_at"]
    assert len([r for r in prepared.broker.records(f"{prepared.group}.suppressions") if r.value]) == 1
    other = await erase(prepared, "c-2")
    assert other["event"]["id"] != first["event"]["id"]


async def test_nothing_names_the_customer_unless_it_is_asked_to(prepared):
    plain = await asyncio.to_thread(prepared.run, "erase", "c-secret-1")
    assert plain.returncode == 0, plain.stderr
    assert "c-secret-1" not in plain.stdout + plain.stderr
    assert "it starts forget" in plain.stdout
    assert "c-secret-1" not in json.dumps(await erase(prepared, "c-secret-1"))
    assert (await erase(prepared, "c-secret-1", "--reveal"))["customer"] == "c-secret-1"


async def test_a_dry_run_writes_nothing(prepared):
    marks(prepared, "c-1")
    said = await erase(prepared, "c-1", "--dry-run")
    assert (said["taken_away"]["consent"], said["event"]["published"]) == (2, False)
    assert len(live(prepared, "consent", "c-1")) == 2
    assert prepared.broker.records(prepared.topic) == []


async def test_the_id_may_come_on_standard_input(prepared):
    argv = prepared._argv("erase", "-", "--json")
    done = await asyncio.to_thread(
        subprocess.run, argv, input="c-1\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(live(prepared, "suppressions", "c-1")) == [b"c-1\0hookline:erased"]
    assert sys.executable == argv[0]


@pytest.mark.parametrize("wrong", ["", "a\nb", "a\tb"])
async def test_what_is_no_customer_is_refused(prepared, wrong):
    done = await asyncio.to_thread(prepared.run, "erase", wrong)
    assert (done.returncode, "CUSTOMER" in done.stderr) == (2, True)


async def test_journeys_that_wait_in_vain_are_named(prepared):
    prepared.hookline["events"] = [
        {"topic": prepared.topic, "record": "shop.Other", "id": "${record.id}", "type": "customer.erased",
         "time": "${record.at}", "customer": {"id": "${record.who}"}},
    ]  # fmt: skip
    schema = {"type": "record", "name": "shop.Other", "fields": [
        {"name": "id", "type": "string"}, {"name": "who", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ]}  # fmt: skip
    (prepared.folder / "schemas").mkdir()
    (prepared.folder / "schemas" / "shop.Other.avsc").write_text(json.dumps(schema))
    del prepared.journeys["welcome"]
    (prepared.folder / "journeys" / "welcome.yaml").unlink()
    prepared.write()
    done = await asyncio.to_thread(prepared.run, "erase", "c-1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "publish one yourself" in done.stdout
    assert list(live(prepared, "suppressions", "c-1")) == [b"c-1\0hookline:erased"]


async def test_other_systems_are_told_once_and_nothing_else_is_sent_any_more(prepared, receiver):
    prepared.worker()
    prepared.feed([event(1)])
    await eventually(lambda: len(receiver.seen) == 1, 30)
    await erase(prepared, "c-1")
    await eventually(lambda: len(receiver.seen) == 2, 30, "other systems are told")
    prepared.feed([event(1), event(2)])
    await eventually(prepared.settled, 30)
    outcomes = {row.event_id: (str(row.outcome), row.reason) for row in prepared.outcomes()}
    assert sorted(outcomes.values()) == [
        ("delivered", ""), ("delivered", ""), ("delivered", ""), ("skipped", "erased"),
    ]  # fmt: skip
    assert prepared.account()["balanced"]


async def test_what_workers_remember_is_forgotten(prepared, receiver):
    once = {"key": "${event.properties.plan}", "per": "30d"}
    prepared.journey("trial", step("crm", "crm.upsert"), trigger={"events": ["trial.started"], "once": once})
    prepared.write()
    made = await asyncio.to_thread(prepared.run, "topics", "create")
    assert made.returncode == 0, made.stderr
    prepared.worker()
    prepared.feed([event(1, type="trial.started"), event(2, type="trial.started")])
    await eventually(lambda: live(prepared, "memory", "c-1") and live(prepared, "memory", "c-2"), 30)
    said = await erase(prepared, "c-1")
    assert said["taken_away"]["memory_partitions"] == prepared.partitions
    await eventually(lambda: not live(prepared, "memory", "c-1"), 30, "what is remembered is forgotten")
    assert live(prepared, "memory", "c-2")
