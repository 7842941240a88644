"""A rolling deployment: this worker finishes what earlier releases handed over, and passes on what a later one did."""

from __future__ import annotations

import asyncio
import json
import zlib
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from tests.support.broker import Outgoing
from tests.support.conditions import eventually
from tests.support.system import System, encode, event, step
from tests.support.told import lines

RECORDED = Path(__file__).parents[1] / "data" / "retry_state"
"""State headers as releases wrote them, of runs that wait for their positions of rolling.events."""
FIRST, SECOND, THIRD = (f"0197b6d2-{digit}c5e-7a3b-8c4d-5e6f7a8b9c0d" for digit in "123")
RECORDED_MS = 1_764_000_000_000
"""When their records came in, as these states have it."""
LATER = json.dumps({"what": "nobody knows yet", "run": {"steps": []}}).encode()
NEWER = b"\x03" + zlib.crc32(LATER).to_bytes(4, "big") + LATER


def story(system: System, url: str) -> None:
    """The journeys whose runs were handed over: a plain one, and one with steps after others."""
    fields = {
        "name": {"at": "/name", "type": "string", "class": "public"},
        "until": {"at": "/until", "type": "timestamp"},
    }
    operations = {
        "upsert": {"path": "/upsert"}, "ask": {"path": "/ask", "response": fields}, "mail": {"path": "/mail"},
        "log": {"path": "/log"},
    }  # fmt: skip
    system.destination("crm", url, operations=operations, retry={"max_age": "3650d"})
    system.journey(
        "story",
        step("stage", "crm.ask", kind="enrich"),
        step("mail", "crm.mail", after="stage", max_age="3650d",
             payload={"name": "${steps.stage.response.name}", "until": "${steps.stage.response.until}"}),
        step("log", "crm.log", after="mail", max_age="3650d", payload={"was": "${steps.mail.outcome}"}),
        trigger={"events": ["story.begun"]},
    )  # fmt: skip


async def test_what_earlier_releases_handed_over_is_finished_and_what_a_later_one_did_is_passed_on(
    tmp_path, kafka_private, receiver
) -> None:
    system = System(tmp_path / "config", kafka_private, "rolling", partitions=1)
    story(system, receiver.url)
    try:
        await asyncio.to_thread(system.prepare)
        first, second, third = event(1, id=FIRST), event(2, id=SECOND, type="story.begun"), event(3, id=THIRD)
        sent = [each | {"time": RECORDED_MS} for each in (first, second, third)]
        assert system.feed(sent) == [(0, 0), (0, 1), (0, 2)]
        await asyncio.to_thread(taken_before, system)
        headers = [(RECORDED / "version-1.bin").read_bytes(), (RECORDED / "version-2.bin").read_bytes(), NEWER]
        system.broker.produce(
            f"{system.group}.retry.1s",
            [Outgoing(encode(each), b"k", (("kept", b"as it was"), ("hookline-run", state)))
             for each, state in zip(sent, headers, strict=True)],
        )  # fmt: skip
        worker = system.worker()
        await eventually(lambda: receiver.deliveries() == 3, timeout_s=60)
        paths = {json.loads(seen.body).get("event_id") or seen.path: seen for seen in receiver.seen}
        assert paths.keys() == {FIRST, "/mail", "/log"}, "what was answered before is not asked for again"
        assert json.loads(paths["/mail"].body) == {"name": "gold", "until": "2030-01-02T00:00:00.000Z"}
        assert json.loads(paths["/log"].body) == {"was": "delivered"}
        final = {(row.journey, row.step): row for row in system.final().values()}
        assert {place: (row.outcome, row.attempts) for place, row in final.items()} == {
            ("welcome", "crm"): ("delivered", 4), ("story", "mail"): ("delivered", 3),
            ("story", "log"): ("delivered", 1),
        }  # fmt: skip
        await eventually(lambda: waits(system) >= 3, timeout_s=40, what="the later release's record goes round")
        rounds = system.broker.records(f"{system.group}.retry.1s")
        passed_on = [each for each in rounds if dict(each.headers).get("hookline-run") == NEWER]
        assert {(each.key, each.value, each.headers) for each in passed_on} == {
            (b"k", encode(sent[2]), (("kept", b"as it was"), ("hookline-run", NEWER)))
        }
        assert system.dead() == []
        assert receiver.snapshot()["requests"] == 3
        assert worker.returncode is None
        assert not lines(worker, "worker_failed")
    finally:
        system.stop()


def taken_before(system: System) -> None:
    """Commit the input as workers of the earlier releases did."""
    consumer = Consumer({**system.broker.settings, "group.id": system.group})
    consumer.commit(offsets=[TopicPartition(system.topic, 0, 3)], asynchronous=False)
    consumer.close()


def waits(system: System) -> int:
    """How often the later release's record was written."""
    stored = system.broker.records(f"{system.group}.retry.1s")
    return sum(dict(each.headers).get("hookline-run") == NEWER for each in stored)
